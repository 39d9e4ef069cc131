"""What an option is: a dataclass field with a range and a meaning, validated in one place."""

import dataclasses
import math
import types
import typing
from dataclasses import dataclass, field
from typing import Any


def option(default, help, *, low=None, high=None, choices=None):
    """Declare one option of a configuration dataclass.

    Parameters
    ----------
    default : int, float, bool, str or None
        The default value; None is allowed only where the annotation says so.
    help : str
        One or two sentences for users: the meaning, the unit, and when to change it.
    low, high : number, optional
        Inclusive bounds.
    choices : tuple of str, optional
        The allowed values.
    """
    bounds = {"help": help, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata=bounds)


@dataclass(frozen=True)
class OptionInfo:
    """What is known of one option: its type, default, range and help text."""

    name: str
    type: type
    optional: bool
    default: Any
    help: str
    low: float | None
    high: float | None
    choices: tuple[str, ...] | None

    def problem(self, value) -> str | None:
        """Say what is wrong with a value, or None if it is acceptable."""
        if value is None:
            return None if self.optional else f"{self.name} must be given"
        if not _is_of_type(value, self.type):
            return f"{self.name} must be of type {self.type.__name__}, found {value!r}"
        if self.choices is not None and value not in self.choices:
            return f"{self.name} must be one of {', '.join(self.choices)}; found {value!r}"
        if self.type is float and not math.isfinite(value):
            return f"{self.name} must be a finite number, found {value!r}"
        if self.low is not None and value < self.low:
            return f"{self.name} must be at least {self.low}, found {value!r}"
        if self.high is not None and value > self.high:
            return f"{self.name} must be at most {self.high}, found {value!r}"
        return None


def _is_of_type(value, expected: type) -> bool:
    if expected is bool:
        return isinstance(value, bool)
    if expected is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if expected is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, expected)


def option_infos(config_class) -> dict[str, OptionInfo]:
    """List the options of a configuration class by name, in the order of definition."""
    hints = typing.get_type_hints(config_class)
    infos = {}
    for f in dataclasses.fields(config_class):
        hint, optional = hints[f.name], False
        if isinstance(hint, types.UnionType):
            hint = next(a for a in typing.get_args(hint) if a is not types.NoneType)
            optional = True
        infos[f.name] = OptionInfo(f.name, hint, optional, f.default, **f.metadata)
    return infos


class OptionError(ValueError):
    """Options that cannot be used; says all that is wrong with them in one message.

    Parameters
    ----------
    problems : list of str
        One clause each.
    """

    def __init__(self, problems: list[str]):
        self.problems = list(problems)
        super().__init__(f"Invalid options: {'; '.join(self.problems)}.")


class Config:
    """Base of the configuration dataclasses: validation and JSON."""

    def __post_init__(self):
        problems = [
            problem
            for name, info in option_infos(type(self)).items()
            if (problem := info.problem(getattr(self, name))) is not None
        ]
        if not problems:
            problems = list(self._contradictions())
        if problems:
            raise OptionError(problems)

    def _contradictions(self):
        """Yield one sentence for each impossible combination of otherwise valid values."""
        return ()

    def to_dict(self) -> dict[str, Any]:
        """Return the options as a dictionary of JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]):
        """Build the configuration from a dictionary, refusing unknown and missing keys.

        Raises
        ------
        ValueError
            If a key is unknown or missing, or a value is out of range.
        """
        known = set(option_infos(cls))
        unknown, missing = sorted(set(values) - known), sorted(known - set(values))
        if unknown or missing:
            parts = [f"unknown keys {unknown}"] * bool(unknown)
            parts += [f"missing keys {missing}"] * bool(missing)
            raise ValueError(f"{cls.__name__} has {' and '.join(parts)}.")
        return cls(**values)

    @classmethod
    def unchecked(cls, options: dict[str, Any]):
        """Build the configuration from those of the given options that it knows, sound ones.

        Contradictions between them are left to whoever calls.
        """
        config = object.__new__(cls)
        for name, info in option_infos(cls).items():
            object.__setattr__(config, name, options.get(name, info.default))
        return config
