"""Temporary directories, and a message that helps where there is no room for them."""

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """Make a directory for a while.

    Yields
    ------
    Path

    Raises
    ------
    ValueError
        If there is no place for it, or no room in it.
    """
    try:
        directory = tempfile.TemporaryDirectory(prefix="q2-aam-")
    except OSError as error:
        raise ValueError(_no_temporary_files(error)) from error
    with directory as name:
        try:
            yield Path(name)
        except OSError as error:
            if error.errno not in NO_ROOM | READ_ONLY:
                raise
            raise ValueError(_no_temporary_files(error)) from error


def _no_temporary_files(error: OSError) -> str:
    return (
        f"There is no room to write temporary files ({error.strerror}). Nothing of the run is "
        "kept. Set TMPDIR to a directory with room that you can write to; to be able to resume a "
        "run, set Q2_AAM_RUN_DIR to such a directory."
    )
