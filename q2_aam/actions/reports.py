"""How the messages of an action reach its user: at once, once, and without --verbose too.

QIIME 2 sends what an action writes into a file, unless --verbose is given, and removes this file
where the action succeeds. So the warnings in it are said again when the process ends, as the
standard error stream is itself again by then.
"""

import atexit
import functools
import logging
import os
import sys
import threading
from contextlib import contextmanager, suppress
from contextvars import ContextVar

from q2_aam.actions.threads import within_slots
from q2_aam.core.data import messages

_SAID: ContextVar[set | None] = ContextVar("said", default=None)
"""The kinds of warnings that a pipeline has said; None outside of pipelines."""


class _Reporter(logging.Handler):
    """Writes messages on the standard error stream, and remembers warnings that a file took."""

    def __init__(self):
        super().__init__()
        self.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
        self.users = 0
        self._hidden: list[tuple] = []

    def emit(self, record):
        """Write a message; a pipeline says each kind of warning once."""
        from q2_aam.core.data import progress

        if record.levelno >= logging.WARNING:
            if _was_said(record) or messages.is_repeated(record):
                return
            self._remember(self.format(record))
        progress.say(self.format(record))

    def _remember(self, text: str) -> None:
        # Only the command line of QIIME 2 hides what is written.
        place = _place_of_stderr()
        if place is None or "q2cli" not in sys.modules or "--quiet" in sys.argv:
            return
        if not self._hidden:
            atexit.register(self._say_again, os.getpid())
        self._hidden.append((text, place))

    def _say_again(self, process: int) -> None:
        """Write the warnings that went elsewhere than the standard error stream goes now."""
        if process != os.getpid():
            return
        now = _place_of_stderr()
        texts = dict.fromkeys(text for text, place in self._hidden if place != now)
        with suppress(OSError, ValueError):
            sys.stderr.writelines(f"{text}\n" for text in texts)


_REPORTER, _LOCK = _Reporter(), threading.Lock()


def _was_said(record) -> bool:
    """Tell whether a pipeline has said this, and note that now it has."""
    said = _SAID.get()
    if said is None:
        return False
    # What an action says of a part of the samples it says of other parts in other numbers.
    of_action = record.name.startswith(messages.CORE)
    own = getattr(record, "kind", None)
    kind = (record.msg, own) if of_action and own != messages.EACH else record.getMessage()
    known = kind in said
    said.add(kind)
    return known


def _place_of_stderr() -> tuple[int, int] | None:
    """Return which file the standard error stream is; None if it is none."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


@contextmanager
def reporting():
    """Let the core's messages reach the user, show how far long parts are, and keep to slots."""
    from q2_aam.core.data import progress

    logger = logging.getLogger(messages.LOGGER)
    with _LOCK:
        _REPORTER.users += 1
        if _REPORTER.users == 1:
            _REPORTER.level_before = logger.level
            logger.addHandler(_REPORTER)
            logger.setLevel(logging.INFO)
    try:
        with within_slots(), progress.shown():
            yield
    finally:
        with _LOCK:
            _REPORTER.users -= 1
            if _REPORTER.users == 0:
                logger.removeHandler(_REPORTER)
                logger.setLevel(_REPORTER.level_before)


def reports_as_one(pipeline):
    """Let a pipeline and the actions in it report together: each kind of warning once.

    Where QIIME 2 runs the actions in other processes, each of them reports by itself.
    """

    @functools.wraps(pipeline)
    def reported(*inputs, **parameters):
        token = _SAID.set(set())
        try:
            with reporting(), messages.part_of_a_whole():
                return pipeline(*inputs, **parameters)
        finally:
            _SAID.reset(token)

    return reported
