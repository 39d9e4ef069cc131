"""The directory of a run: found again by what the run is, used by one process at a time.

Torch-free. A run is known by a fingerprint of its inputs and options, so the same call finds its
own checkpoints, and a changed one cannot continue from another's.
"""

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from q2_aam.core.data import messages
from q2_aam.core.data.temporary_files import NO_ROOM, READ_ONLY

log = logging.getLogger(__name__)

PARTIAL = ".*.ckpt.*"
"""Checkpoints that a killed process had not finished writing."""
INTERRUPTED = "interrupted.ckpt"
"""Where an epoch was left by a process that was asked to end."""


@contextmanager
def run_directory(root: str | Path | None, action: str, digest: str) -> Iterator[Path | None]:
    """Open the directory of a run under a root, for this process alone.

    A run that is stopped, or for which there is no room, ends with a message that says how to go
    on.

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
    _tell_of_others(place, action)
    try:
        place.mkdir(parents=True, exist_ok=True)
        lock = (place / ".lock").open("w")
    except OSError as error:
        raise ValueError(
            f"The run directory {place} cannot be written ({error.strerror}); set Q2_AAM_RUN_DIR "
            "to a directory that you can write to, or unset it."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ValueError(
                f"Another process is at work on the same run in {place}; wait for it, or set "
                "Q2_AAM_RUN_DIR to another directory."
            ) from error
        for path in place.glob(PARTIAL):
            path.unlink(missing_ok=True)
        yield


def _tell_of_others(place: Path, action: str) -> None:
    others = [path for path in place.parent.glob(f"{action}-*") if path != place]
    if others and not place.exists():
        log.warning(
            "Inputs or options differ from those of the run in %s, so this run starts from the "
            "beginning in %s.",
            max(others),
            place,
            extra=messages.PASSING,
        )


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
