"""How far a long part of a run is: a bar on a terminal, lines of text elsewhere (torch-free)."""

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tqdm import tqdm

WIDEST = 100
"""Characters of a bar at most; a narrower terminal has narrower bars."""

SOON, EVERY = 5.0, 30.0
"""Seconds until the first line of a part, and between lines, where there is no terminal."""

DELAY = 1.0
"""Seconds before a part has a bar on a terminal."""

_SHOWN: ContextVar[bool] = ContextVar("shown", default=False)


@contextmanager
def shown(on: bool = True) -> Iterator[None]:
    """Show on the standard error stream how far the long parts are that run within.

    Parameters
    ----------
    on : bool
        True shows them, False hides them. Afterwards it is as it was before.
    """
    token = _SHOWN.set(on)
    try:
        yield
    finally:
        _SHOWN.reset(token)


def is_terminal() -> bool:
    """Tell whether someone watches the standard error stream on a terminal."""
    return sys.stderr.isatty()


def bar(what: str, total: int, bar_format: str, delay: float = 0.0) -> tqdm:
    """Make a bar that fits the terminal, and that is gone when it is closed.

    Parameters
    ----------
    what : str
        Its name.
    total : int
        Steps until it is full.
    bar_format : str
        As tqdm takes it.
    delay : float
        Seconds before it is shown at all.
    """
    columns = shutil.get_terminal_size().columns
    return tqdm(
        desc=what, total=total, bar_format=bar_format, delay=delay, leave=False,
        file=sys.stderr, ncols=max(min(columns, WIDEST) - 1, 10), smoothing=0,
    )  # fmt: skip


@contextmanager
def part(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far a part of a run is, unless it is over at once.

    Parameters
    ----------
    what : str
        What is done with what, such as 'Encoding ASVs'.
    total : int
        How many of them there are.

    Yields
    ------
    callable
        To be called with how many more are done.
    """
    if not _SHOWN.get() or not total:
        yield lambda n: None
        return
    meter = _bar_of_part(what, total) if is_terminal() else Lines(what, total)
    try:
        yield meter.update
    finally:
        meter.close()


def _bar_of_part(what: str, total: int) -> tqdm:
    counts = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]"
    return bar(what, total, counts, DELAY)


class Lines:
    """A line of text now and then, where there is no terminal for a bar.

    Parameters
    ----------
    what : str
    total : int
    first, every : float
        Seconds until the first line, and between lines.
    """

    def __init__(self, what: str, total: int, first: float = SOON, every: float = EVERY):
        self.what, self.total, self.every = what, total, every
        self._began, self._done = time.monotonic(), 0
        self._next = self._began + first

    def update(self, n: int = 1) -> None:
        """Count n more, and write a line if it is time for one."""
        self._done += n
        now = time.monotonic()
        if now < self._next or self._done >= self.total:
            return
        self._next = now + self.every
        left = (now - self._began) * (self.total / max(self._done, 1) - 1)
        share = 100 * self._done / self.total
        say(f"{self.what}: {share:.0f}% of {self.total}, about {duration(left)} left")

    def close(self) -> None:
        """End it: nothing is left to be said."""


def say(line: str) -> None:
    """Write a line on the standard error stream, above any bar."""
    with tqdm.external_write_mode(file=sys.stderr):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def duration(seconds: float) -> str:
    """Write a time as minutes and seconds, such as 5:12, or with hours, such as 1:05:12."""
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
