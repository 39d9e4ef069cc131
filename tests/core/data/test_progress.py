"""Bars and lines of long parts."""

import sys

import pytest
from terminal import Terminal

from q2_aam.core.data import progress


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that is set by hand."""
    times = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: times[0])
    return times


def work(clock, seconds, n=10):
    with progress.part("Encoding ASVs", n) as done:
        for _ in range(n):
            clock[0] += seconds
            done(1)


def test_parts_are_silent_unless_they_are_to_be_shown(clock, capsys):
    work(clock, 100)
    with progress.shown(), progress.shown(False):
        work(clock, 100)
    assert capsys.readouterr().err == ""


def test_long_parts_write_a_line_now_and_then(clock, capsys):
    with progress.shown():
        work(clock, 0.4)
        assert capsys.readouterr().err == ""
        work(clock, 12)
    assert capsys.readouterr().err.splitlines() == [
        "Encoding ASVs: 10% of 10, about 1:48 left",
        "Encoding ASVs: 40% of 10, about 1:12 left",
        "Encoding ASVs: 70% of 10, about 0:36 left",
    ]


def test_long_parts_have_a_bar_on_a_terminal_that_is_gone_afterwards(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(progress, "DELAY", 0.0)
    with progress.shown(), progress.part("Growing trees", 200) as done:
        done(200)
        progress.say("above the bar")
    assert any(text.startswith("Growing trees: 100%|") for text in terminal.written)
    assert max(map(len, terminal.written)) < 80
    assert terminal.screen == ["above the bar", ""]


def test_a_part_within_another_leaves_no_trace(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(progress, "DELAY", 0.0)
    outer = progress.bar("Epoch", 2, "Epoch |{bar}|")
    with progress.shown(), progress.part("Encoding ASVs", 64) as done:
        done(64)
        progress.say("above both")
    outer.update(2)
    outer.close()
    progress.say("after both")
    assert any(text.startswith("Encoding ASVs: 100%|") for text in terminal.written)
    assert [line for line in terminal.screen if line] == ["above both", "after both"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0:00"), (59.6, "1:00"), (312, "5:12"), (3912, "1:05:12"), (-1, "0:00")],
)
def test_duration(seconds, said):
    assert progress.duration(seconds) == said
