"""The target of fine-tuning: its scale in training and back, or its classes (torch-free)."""

import math
from dataclasses import asdict, dataclass, fields

import numpy as np

from q2_aam.core.options.config import RegressionConfig
from q2_aam.core.options.option import option_infos
from q2_aam.core.options.strict_json import require_keys

TRANSFORMS = option_infos(RegressionConfig)["target_transform"].choices
MAX_LEARNT = 1e15
"""Largest value to learn, far below the root of what single precision holds (3e38)."""
MAX_NAME = 1000
PREDICTION = "prediction"
"""Name of predictions. Under the name of the column, they could not stand beside it in a table."""
MAX_CLASSES, MAX_TEXT = 50_000, 300_000
"""Number of classes and characters of all together, so that a model's config.json stays small."""


@dataclass(frozen=True)
class NumericTarget:
    """A numeric metadata column and the scale in which it is learnt.

    The learnt value is ``(f(y) - shift) / scale`` with f the identity, or ``log(1 + y)`` for the
    log transforms. Predictions are limited to the range of the column, if it has one: what is
    outside is nearer to any true value once it is moved to the limit.

    Parameters
    ----------
    column : str
        Name of the metadata column.
    transform : {'none', 'minmax', 'zscore', 'log-minmax', 'log-zscore'}
        How shift and scale were chosen.
    shift, scale : float
        In the units of the column, or of its logarithm.
    minimum, maximum : float, optional
        Least and greatest value that the column can have.
    """

    column: str
    transform: str = "none"
    shift: float = 0.0
    scale: float = 1.0
    minimum: float | None = None
    maximum: float | None = None

    def __post_init__(self):
        check_text(self.column, "name of the metadata column")
        self._check_limits()
        if self.transform not in TRANSFORMS:
            raise ValueError(
                f"The transform of column '{self.column}' must be one of {', '.join(TRANSFORMS)}; "
                f"found {self.transform!r}."
            )
        for name in ("shift", "scale"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ValueError(f"The {name} of the target must be a number, found {value!r}.")
        if not (math.isfinite(self.shift) and math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(
                f"The values of column '{self.column}' have shift {self.shift!r} and scale "
                f"{self.scale!r}; both must be finite and the scale above 0, so use units in "
                "which the values are neither huge nor nearly equal."
            )

    def _check_limits(self) -> None:
        for limit in (self.minimum, self.maximum):
            if limit is not None and (
                isinstance(limit, bool)
                or not isinstance(limit, (int, float))
                or not math.isfinite(limit)
            ):
                raise ValueError(
                    f"The limits of column '{self.column}' must be finite numbers, found "
                    f"{limit!r}."
                )
        if None not in (self.minimum, self.maximum) and self.minimum >= self.maximum:
            raise ValueError(f"The minimum of column '{self.column}' is not below its maximum.")

    @classmethod
    def fit(cls, column, values, transform, minimum=None, maximum=None) -> "NumericTarget":
        """Choose shift and scale from the training samples' values.

        Raises
        ------
        ValueError
            If the values are all the same, or negative under a log transform.
        """
        values = np.asarray(values, dtype=float)
        if len(np.unique(values)) < 2:
            raise ValueError(
                f"Metadata column '{column}' has the same value ({values[0]:g}) in all "
                f"{len(values)} training samples, so there is nothing to learn; choose a column "
                "that varies."
            )
        if transform.startswith("log-"):
            if values.min() < 0:
                raise ValueError(
                    f"Metadata column '{column}' has negative values (the least is "
                    f"{values.min():g}), which target_transform '{transform}' cannot take; choose "
                    f"'{transform.removeprefix('log-')}'."
                )
            values = np.log1p(values)
        shift, scale = 0.0, 1.0
        if transform.endswith("minmax"):
            shift, scale = values.min(), np.ptp(values)
        elif transform.endswith("zscore"):
            shift, scale = values.mean(), values.std()
        target = cls(column, transform, float(shift), float(scale), minimum, maximum)
        largest = np.abs(target.to_learnt(values)).max() if transform == "none" else 0
        if largest > MAX_LEARNT:
            raise ValueError(
                f"Metadata column '{column}' has values up to {largest:g}, too large to be learnt "
                "as they are; choose another target_transform, such as 'zscore'."
            )
        return target

    def to_learnt(self, values) -> np.ndarray:
        """Convert values of the column into the scale of training."""
        values = np.asarray(values, dtype=float)
        if self.transform.startswith("log-"):
            values = np.log1p(values)
        return (values - self.shift) / self.scale

    def to_units(self, learnt) -> np.ndarray:
        """Convert learnt values back into the units of the column, within its limits."""
        values = self.to_units_without_limits(learnt)
        if self.minimum is None and self.maximum is None:
            return values
        return np.clip(values, self.minimum, self.maximum)

    def to_units_without_limits(self, learnt) -> np.ndarray:
        """Convert learnt values back into the units of the column, wherever they lie."""
        values = np.asarray(learnt, dtype=float) * self.scale + self.shift
        return np.expm1(values) if self.transform.startswith("log-") else values

    def to_dict(self) -> dict:
        """Return the fields as a dictionary of JSON values; limits only where there are any."""
        return {n: value for n, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, values: dict) -> "NumericTarget":
        """Restore a target from what `to_dict` returned.

        Raises
        ------
        ValueError
            If a key is unknown or missing, or a value is not of its kind or out of range.
        """
        if isinstance(values, dict):
            values = {"minimum": None, "maximum": None} | values
        require_keys(values, [f.name for f in fields(cls)], "the target")
        return cls(**values)


@dataclass(frozen=True)
class CategoricalTarget:
    """A categorical metadata column and its classes, in the order of the model's outputs."""

    column: str
    classes: tuple[str, ...]

    def __post_init__(self):
        check_text(self.column, "name of the metadata column")
        for name in self.classes:
            check_text(name, f"class of column '{self.column}'")
        if len(set(self.classes)) < max(2, len(self.classes)):
            raise ValueError(
                f"The classes of column '{self.column}' must be two or more different ones, found "
                f"{', '.join(map(repr, self.classes[:5]))}."
            )
        if len(self.classes) > MAX_CLASSES or sum(map(len, self.classes)) > MAX_TEXT:
            raise ValueError(
                f"The {len(self.classes)} classes of column '{self.column}', such as "
                f"'{self.classes[0][:40]}', are more than {MAX_CLASSES} or have more than "
                f"{MAX_TEXT} characters in all; choose a column of categories, not of identifiers "
                "or free text."
            )

    @classmethod
    def fit(cls, column, values) -> "CategoricalTarget":
        """List the classes of the training samples, sorted.

        Raises
        ------
        ValueError
            If there are fewer than two.
        """
        classes = tuple(sorted(set(values)))
        if len(classes) < 2:
            raise ValueError(
                f"Metadata column '{column}' has only one class ('{classes[0]}') in the training "
                "samples, so there is nothing to tell apart; choose a column with two or more."
            )
        return cls(column, classes)

    def to_learnt(self, values) -> np.ndarray:
        """Convert class names into their indices."""
        index = {name: i for i, name in enumerate(self.classes)}
        return np.array([index[value] for value in values], dtype=np.int64)

    def to_dict(self) -> dict:
        """Return the fields as a dictionary of JSON values."""
        return {"column": self.column, "classes": list(self.classes)}

    @classmethod
    def from_dict(cls, values: dict) -> "CategoricalTarget":
        """Restore a target from what `to_dict` returned.

        Raises
        ------
        ValueError
            If a key is unknown or missing, or a value is not of its kind.
        """
        require_keys(values, ("column", "classes"), "the target")
        if not isinstance(values["classes"], list):
            raise ValueError("The classes of the target must be a list.")
        return cls(values["column"], tuple(values["classes"]))


def check_text(value, what: str) -> None:
    """Refuse what a table of predictions could not hold."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME:
        raise ValueError(
            f"The {what} must be text of 1 to {MAX_NAME} characters, found {str(value)[:40]!r}."
        )
    if any(ord(c) < 32 or ord(c) == 127 for c in value):
        raise ValueError(
            f"The {what} has a control character such as a tab or a line break: {value[:40]!r}; "
            "rename it."
        )
