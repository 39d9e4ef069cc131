"""The target of fine-tuning: its scale in training and back, or its classes (torch-free)."""

from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class NumericTarget:
    """A numeric metadata column and the scale in which it is learnt.

    The learnt value is ``(f(y) - shift) / scale`` with f the identity, or ``log(1 + y)`` for the
    log transforms.

    Parameters
    ----------
    column : str
        Name of the metadata column.
    transform : {'none', 'minmax', 'zscore', 'log-minmax', 'log-zscore'}
        How shift and scale were chosen.
    shift, scale : float
        In the units of the column, or of its logarithm.
    """

    column: str
    transform: str = "none"
    shift: float = 0.0
    scale: float = 1.0

    @classmethod
    def fit(cls, column, values, transform) -> "NumericTarget":
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
        return cls(column, transform, float(shift), float(scale))

    def to_learnt(self, values) -> np.ndarray:
        """Convert values of the column into the scale of training."""
        values = np.asarray(values, dtype=float)
        if self.transform.startswith("log-"):
            values = np.log1p(values)
        return (values - self.shift) / self.scale

    def to_units(self, learnt) -> np.ndarray:
        """Convert learnt values back into the units of the column."""
        values = np.asarray(learnt, dtype=float) * self.scale + self.shift
        return np.expm1(values) if self.transform.startswith("log-") else values

    def to_dict(self) -> dict:
        """Return the fields as a dictionary of JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class CategoricalTarget:
    """A categorical metadata column and its classes, in the order of the model's outputs."""

    column: str
    classes: tuple[str, ...]

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
