"""The directory of a run: found again by what the run is, used by one process at a time.

Torch-free. A run is known by a fingerprint of its inputs and options, so the same call finds its
own checkpoints, and a changed one cannot continue from another's.
"""

import fcntl
import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

log = logging.getLogger(__name__)


def fingerprint(*parts) -> str:
    """Return a digest of arrays, texts, bytes, paths (their content) and JSON values."""
    digest = hashlib.sha256()
    for part in parts:
        for kind, data in _pieces(part):
            digest.update(f"{kind}:{len(data)}:".encode())
            digest.update(data)
    return digest.hexdigest()


def _pieces(part) -> Iterator[tuple[str, bytes]]:
    if isinstance(part, np.ndarray) and part.dtype != object:
        yield f"{part.dtype.str}{part.shape}", np.ascontiguousarray(part).tobytes()
    elif isinstance(part, Path):
        yield "file", hashlib.sha256(part.read_bytes()).digest()
    elif isinstance(part, bytes):
        yield "bytes", part
    else:
        yield "json", json.dumps(part, sort_keys=True, default=str).encode()


@contextmanager
def run_directory(root: str | Path | None, action: str, digest: str) -> Iterator[Path | None]:
    """Open the directory of a run under a root, for this process alone.

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
        If the directory cannot be written, or another process is at work in it.
    """
    if root is None:
        yield None
        return
    root = Path(root)
    place = root / f"{action}-{digest[:16]}"
    others = sorted(path.name for path in root.glob(f"{action}-*") if path != place)
    if others and not place.exists():
        log.warning(
            "Inputs or options differ from those of the run in %s, so this one starts afresh in "
            "%s.",
            root / others[-1],
            place,
        )
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
        yield place
