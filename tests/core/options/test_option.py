"""What an option accepts, and how configurations check themselves."""

import json
from dataclasses import dataclass

import pytest

from q2_aam.core.options.option import Config, OptionError, option, option_infos


@dataclass(frozen=True)
class Sample(Config):
    """A configuration with an option of each kind."""

    n: int = option(3, "How many.", low=1, high=5)
    share: float = option(0.5, "Which part.", low=0.0, high=1.0)
    on: bool = option(False, "Whether.")
    kind: str = option("a", "Which.", choices=("a", "b"))
    most: float | None = option(None, "At most.", low=0.1)

    def _contradictions(self):
        if self.n / (self.share or 1) > 8:
            yield "n is too large for share"


INFOS = option_infos(Sample)


def test_option_infos_are_in_the_order_of_definition():
    assert list(INFOS) == ["n", "share", "on", "kind", "most"]
    most = INFOS["most"]
    assert (most.type, most.optional, most.default) == (float, True, None)
    assert (INFOS["n"].type, INFOS["n"].optional, INFOS["n"].help) == (int, False, "How many.")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 1),
        ("n", 5),
        ("share", 0),
        ("share", 1.0),
        ("on", True),
        ("kind", "b"),
        ("most", None),
        ("most", 0.1),
        ("most", 10**6),
    ],
)
def test_problem_none_of_sound_values(name, value):
    assert INFOS[name].problem(value) is None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("n", 0, "n must be at least 1, found 0"),
        ("n", 6, "n must be at most 5, found 6"),
        ("n", 2.0, "n must be of type int, found 2.0"),
        ("n", True, "n must be of type int, found True"),
        ("n", None, "n must be given"),
        ("share", float("nan"), "share must be a finite number, found nan"),
        ("share", float("inf"), "share must be a finite number, found inf"),
        ("share", True, "share must be of type float, found True"),
        ("share", "0.5", "share must be of type float, found '0.5'"),
        ("on", 1, "on must be of type bool, found 1"),
        ("kind", "c", "kind must be one of a, b; found 'c'"),
        ("kind", 1, "kind must be of type str, found 1"),
        ("most", 0.0, "most must be at least 0.1, found 0.0"),
    ],
)
def test_problem_names_option_value_and_what_was_expected(name, value, message):
    assert INFOS[name].problem(value) == message


def test_config_tells_all_problems_at_once():
    with pytest.raises(OptionError, match=r"n must be at least 1.*; kind must be one") as caught:
        Sample(n=0, kind="c")
    assert len(caught.value.problems) == 2


def test_config_tells_contradictions_of_sound_values():
    with pytest.raises(OptionError, match=r"Invalid options: n is too large for share\."):
        Sample(n=5, share=0.5)


def test_from_dict_restores_what_to_dict_gave():
    config = Sample(n=2, share=0.25, on=True, kind="b", most=1.5)
    assert Sample.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, r"Sample has unknown keys \['extra'\]"),
        ({"n": None}, "n must be given"),
        ({"n": 0}, "n must be at least 1"),
    ],
)
def test_from_dict_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        Sample.from_dict({**Sample().to_dict(), **change})


def test_from_dict_refuses_missing_keys():
    with pytest.raises(ValueError, match=r"Sample has missing keys \['kind', 'n'\]"):
        Sample.from_dict({"share": 0.5, "on": False, "most": None})


def test_unchecked_takes_defaults_for_what_is_not_given():
    assert Sample.unchecked({"n": 5, "other": 1}) == Sample.unchecked({"n": 5})
    assert Sample.unchecked({"n": 2}) == Sample(n=2)
    assert list(Sample.unchecked({"n": 5})._contradictions()) == ["n is too large for share"]
