"""The warnings of a run: kept for the model that it makes, and true of the samples a user gave."""

import functools
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

import pandas as pd

LOGGER = "q2_aam"
CORE = f"{LOGGER}.core"
MOST, LONGEST = 100, 2000
"""Warnings that are kept at most, and characters of each."""
EACH = "each"
"""Given as ``kind`` in ``extra`` with a warning that a pipeline says of each part of the samples.
Other kinds tell warnings apart that have one form: a pipeline says each once."""
PASSING = {"passing": True}
"""Given as ``extra`` with a warning that is no matter of the model, which does not keep it."""


@dataclass(frozen=True, eq=False)
class Whole:
    """All samples that the user of a pipeline gave, of which an action in it has a part.

    Parameters
    ----------
    n_samples : int
        Samples that have a value.
    classes : pandas.Series, optional
        Their classes, if the target is categorical.
    cross_validated : bool
        Whether each of them is held out once.
    """

    n_samples: int
    classes: pd.Series | None = None
    cross_validated: bool = False


_WHOLE: ContextVar[Whole | None] = ContextVar("whole", default=None)


@contextmanager
def part_of_a_whole() -> Iterator[None]:
    """Forget at the end what `set_whole` says within."""
    token = _WHOLE.set(None)
    try:
        yield
    finally:
        _WHOLE.reset(token)


def set_whole(whole: Whole) -> None:
    """Say of which samples those are a part that actions get from here on."""
    _WHOLE.set(whole)


def whole() -> Whole | None:
    """Return of which samples those here are a part; None if they are all."""
    return _WHOLE.get()


_KINDS: ContextVar[set | None] = ContextVar("kinds", default=None)
"""Kinds of warnings that the models of an ensemble have said; None outside of it."""


@contextmanager
def each_kind_once() -> Iterator[None]:
    """Let `is_repeated` tell which warnings within were said before, in whatever numbers."""
    token = _KINDS.set(set())
    try:
        yield
    finally:
        _KINDS.reset(token)


def is_repeated(record: logging.LogRecord) -> bool:
    """Tell whether a warning of this kind was said since `each_kind_once`, and note that it is."""
    kinds = _KINDS.get()
    if kinds is None:
        return False
    kind = record.msg, getattr(record, "kind", None)
    known = kind in kinds
    kinds.add(kind)
    return known


class _Keeper(logging.Handler):
    """Keeps the warnings of one thread."""

    def __init__(self, alone: bool):
        super().__init__(logging.WARNING)
        self.said: list[str] = []
        self._thread, self._alone = threading.get_ident(), alone

    def emit(self, record):
        """Keep a warning; where nobody else shows it, do what logging does then."""
        text, mine = record.getMessage(), record.thread == self._thread
        text = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
        passing = getattr(record, "passing", False)
        if mine and not passing and text not in self.said and len(self.said) < MOST:
            self.said.append(text)
        if self._alone and logging.lastResort is not None:
            logging.lastResort.handle(record)


@contextmanager
def kept() -> Iterator[list[str]]:
    """Keep the warnings that are said within, each once.

    Yields
    ------
    list of str
        It grows with each warning.
    """
    logger = logging.getLogger(LOGGER)
    keeper = _Keeper(alone=not logger.hasHandlers())
    logger.addHandler(keeper)
    try:
        yield keeper.said
    finally:
        logger.removeHandler(keeper)


def keeps_warnings(make):
    """Let a function put what it warns of into the model that it makes.

    Parameters
    ----------
    make : callable
        Returns a dataclass that has `warnings`. They may name samples, so with the option
        `keep_sample_ids` off there are none.
    """

    @functools.wraps(make)
    def made(*inputs, **options):
        with kept() as warnings:
            model = make(*inputs, **options)
        if not options.get("keep_sample_ids", True):
            return model
        return replace(model, warnings=tuple(warnings))

    return made
