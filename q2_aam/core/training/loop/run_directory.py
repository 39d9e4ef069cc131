"""The directory of a run: found again by what the run is, used by one process at a time.

Torch-free. A run is known by a fingerprint of its inputs and options, so the same call finds its
own checkpoints, and a changed one cannot continue from another's.
"""

import fcntl
import logging
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from q2_aam.core.data import messages
from q2_aam.core.data.temporary_files import NO_ROOM, READ_ONLY

log = logging.getLogger(__name__)

PARTIAL = ".*.ckpt.*"
"""Checkpoints that a killed process had not finished writing."""
INTERRUPTED = "interrupted.ckpt"
"""Where an epoch was left by a process that was asked to end."""
FINISHED = "finished.txt"
"""Is there if the run in a directory has come to its end."""
KEPT_DAYS = 7
"""A finished run is removed after so many days, by the next run under the same root."""
OF_A_RUN = re.compile(r"[a-z-]+-[0-9a-f]{16}")
"""Name of the directory of a run."""
A_MOMENT = 0.2
"""Seconds."""
_told: set[Path] = set()
"""Unfinished runs that this process has told of."""


@contextmanager
def run_directory(root: str | Path | None, action: str, digest: str) -> Iterator[Path | None]:
    """Open the directory of a run under a root, for this process alone.

    A run that is stopped, or for which there is no room, ends with a message that says how to go
    on. A run that ends is marked as finished, and finished runs of long ago are removed.

    Parameters
    ----------
    root : path, optional
        Without it there is no directory, and nothing is kept.
    action : str
        What is run, for example 'pretrain'.
    digest : str
        Fingerprint of its inputs and options.

    Yields
    ------
    Path or None
        ``root/action-digest``, made if need be.

    Raises
    ------
    ValueError
        If the directory cannot be written, or another process is at work in it, or the run was
        asked to end.
    """
    place = None if root is None else Path(root) / f"{action}-{digest[:16]}"
    with nullcontext() if place is None else _locked(place, action):
        try:
            yield place
            _mark_as_finished(place)
        except OSError as error:
            if error.errno not in NO_ROOM | READ_ONLY:
                raise
            raise ValueError(_cannot_write(error, place)) from error
        except (SystemExit, KeyboardInterrupt) as stop:
            message = f"The run was stopped before its end. {_how_to_go_on(place)}"
            # In the loop, Lightning turns both SIGTERM and Ctrl-C into SystemExit.
            if KeyboardInterrupt in (type(stop), type(stop.__context__)):
                log.warning(message)
                raise KeyboardInterrupt(message) from stop
            raise ValueError(message) from stop


@contextmanager
def _locked(place: Path, action: str) -> Iterator[None]:
    """Make a directory and keep other processes out of it."""
    _tidy(place)
    _tell_of_unfinished(place, action)
    try:
        place.mkdir(parents=True, exist_ok=True)
        lock = (place / ".lock").open("w")
    except OSError as error:
        raise ValueError(
            f"The run directory {place} cannot be written ({error.strerror}); set Q2_AAM_RUN_DIR "
            "to a directory that you can write to, or unset it."
        ) from error
    with lock:
        problem = _lock(lock)
        if isinstance(problem, BlockingIOError):
            time.sleep(A_MOMENT)  # another run may have asked whether this one is at work
            problem = _lock(lock)
        if isinstance(problem, BlockingIOError):
            raise ValueError(
                f"Another process is at work on the same run in {place}; wait for it, or set "
                "Q2_AAM_RUN_DIR to another directory."
            ) from problem
        if problem is not None:
            log.warning(
                "The file system of %s has no locks (%s), so q2-aam cannot see whether another "
                "process is at work on the same run. Do not run the same command twice at the "
                "same time.",
                place.parent, problem.strerror, extra=messages.PASSING,
            )  # fmt: skip
        if (place / FINISHED).exists():
            (place / FINISHED).unlink()
        for path in place.glob(PARTIAL):
            path.unlink(missing_ok=True)
        yield


def _lock(file) -> OSError | None:
    """Lock a file for this process; return why it cannot be, or None.

    A `BlockingIOError` says that another process has it. Any other error says that the file
    system has no locks of this kind, as Lustre and NFS may be mounted. Then a lock of the other
    kind is tried, which processes on several machines see where there is one.
    """
    problem = None
    for kind in (fcntl.flock, fcntl.lockf):
        try:
            kind(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return None
        except BlockingIOError as error:
            return error
        except OSError as error:
            problem = problem or error
    return problem


def _mark_as_finished(place: Path | None) -> None:
    if place is None:
        return
    with suppress(OSError):  # the model is there, and what follows needs no mark
        (place / FINISHED).write_text(
            f"This run was finished on {time.strftime('%Y-%m-%d at %H:%M')}. Its model holds the "
            "files of TensorBoard as well.\n"
            f"The next run in {place.parent} after {KEPT_DAYS} days removes this directory. Until "
            "then, the same command gives the same model at once.\n"
        )


def _runs(root: Path) -> list[Path]:
    """List the directories of runs under a root."""
    if not root.is_dir():
        return []
    return sorted(p for p in root.iterdir() if OF_A_RUN.fullmatch(p.name) and p.is_dir())


def _tidy(place: Path) -> None:
    """Remove the other finished runs under the same root, if they ended long ago."""
    long_ago = time.time() - KEPT_DAYS * 24 * 3600
    with suppress(OSError):
        for run in _runs(place.parent):
            mark = run / FINISHED
            if run != place and mark.is_file() and mark.stat().st_mtime < long_ago:
                log.info("Removing %s: the run in it was finished long ago.", run)
                shutil.rmtree(run, ignore_errors=True)


def _tell_of_unfinished(place: Path, action: str) -> None:
    """Say that a run which could have been meant was left, and that it is another one."""
    if place.exists():
        return
    for run in _runs(place.parent):
        if not run.name.startswith(f"{action}-") or (run / FINISHED).exists() or run in _told:
            continue
        if not any(run.glob("*.ckpt")) or _is_at_work(run):
            continue
        _told.add(run)
        log.warning(
            "Inputs or options differ from those of the unfinished run in %s, so this run starts "
            "from the beginning in %s.",
            run,
            place,
            extra=messages.PASSING,
        )


def _is_at_work(run: Path) -> bool:
    """Whether another process has the lock of a run."""
    try:
        with (run / ".lock").open("r+") as file:
            return isinstance(_lock(file), BlockingIOError)
    except OSError:
        return False


def _cannot_write(error: OSError, place: Path | None) -> str:
    where = f" {error.filename}" if error.filename else ""
    if error.errno in NO_ROOM:
        return f"There is no room to write{where} ({error.strerror}). {_how_to_go_on(place)}"
    return (
        f"The run cannot write{where} ({error.strerror}); set Q2_AAM_RUN_DIR to a "
        "directory that you can write to; if you do not use Q2_AAM_RUN_DIR, set TMPDIR."
    )


def _how_to_go_on(place: Path | None) -> str:
    if place is None:
        return (
            "Nothing of the run is kept, because it has no run directory. To be able to resume a "
            "run, set Q2_AAM_RUN_DIR to a directory with room before you start it."
        )
    if (place / INTERRUPTED).exists():
        return (
            f"The run is kept in {place} as it was after its last step. To resume it, run the "
            "same command with the same Q2_AAM_RUN_DIR."
        )
    if any(place.glob("*.ckpt")):
        return (
            f"The run is kept in {place} as it was after its last complete epoch. To resume it, "
            "run the same command with the same Q2_AAM_RUN_DIR."
        )
    return (
        f"No epoch was complete, so nothing in {place} can be resumed: the same command starts "
        "from the beginning."
    )
