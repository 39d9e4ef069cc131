"""Warnings that are kept."""

import logging
import threading
from dataclasses import dataclass

from q2_aam.core.data import messages

log = logging.getLogger("q2_aam.core.anything")


@dataclass(frozen=True)
class Made:
    """What is made."""

    warnings: tuple = ()


@messages.keeps_warnings
def make(*said):
    for text in said:
        log.warning(text)
    log.info("a step")
    return Made()


def test_warnings_are_kept_once_each_in_order():
    assert make("b", "a", "b").warnings == ("b", "a")
    assert make().warnings == ()
    assert not logging.getLogger("q2_aam").handlers


def test_warnings_that_are_no_matter_of_the_model_are_not_kept(caplog):
    with messages.kept() as said:
        log.warning("a run of another name", extra=messages.PASSING)
    assert said == []
    assert caplog.messages == ["a run of another name"]


def test_warnings_are_bounded():
    kept = make(*map(str, range(200)), "x" * 5000).warnings
    assert len(kept) == messages.MOST
    assert make("x" * 5000).warnings == ("x" * 1999 + "…",)


def test_warnings_of_other_threads_are_theirs():
    made = []
    with messages.kept() as said:
        log.warning("mine")
        thread = threading.Thread(target=lambda: made.append(make("another's")))
        thread.start()
        thread.join()
    assert said == ["mine"]
    assert made == [Made(("another's",))]


def test_warnings_are_still_shown_where_logging_is_not_set_up(monkeypatch, capsys):
    monkeypatch.setattr(logging.getLogger("q2_aam"), "propagate", False)
    make("seen")
    assert capsys.readouterr().err == "seen\n"
