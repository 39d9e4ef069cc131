"""Metadata columns that a model reads beside the ASVs of a sample (torch-free).

A covariate becomes numbers: the value of a numeric column in standard deviations from the mean of
the training samples, and one number for each category of a categorical column. All of them are 0
where a value is missing, or where a category was not learnt. So an unknown number is taken for the
mean, and an unknown category for none.

Shapes: n samples, K numbers of all covariates side by side.
"""

import logging
import math
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from q2_aam.core.data.metadata import LARGEST, counted, listed
from q2_aam.core.data.missing_words import are_missing
from q2_aam.core.data.splits.grouped_split import name_of
from q2_aam.core.data.target import check_text
from q2_aam.core.options.strict_json import require_keys

log = logging.getLogger(__name__)

MOST_COVARIATES, MOST_CATEGORIES = 50, 100
FARTHEST = 4.0
"""Standard deviations from the mean at which a number is cut off: what is farther was hardly seen
in training."""
ROUNDING = 1e-12
"""Of the mean; a smaller standard deviation is that of one value, by rounding."""


@dataclass(frozen=True)
class NumericCovariate:
    """A numeric column and its scale in the training samples."""

    name: str
    mean: float
    deviation: float

    def __post_init__(self):
        check_text(self.name, "name of a covariate")
        for what in ("mean", "deviation"):
            value = getattr(self, what)
            if type(value) not in (int, float) or not math.isfinite(value):
                raise ValueError(
                    f"The {what} of covariate '{self.name}' must be a finite number, found "
                    f"{value!r}."
                )
        if self.deviation <= 0:
            raise ValueError(f"The deviation of covariate '{self.name}' must be above 0.")

    width = 1

    @classmethod
    def fit(cls, column: pd.Series) -> "NumericCovariate":
        """Take mean and standard deviation of the values that are there."""
        values = column.dropna()
        mean, deviation = float(values.mean()), float(values.std(ddof=0))
        if deviation <= ROUNDING * abs(mean):
            _warn_of_constant(column.name, f"{values.iloc[0]:g}")
            deviation = abs(mean) or 1.0
        return cls(str(column.name), mean, deviation)

    def encode(self, column: pd.Series) -> np.ndarray:
        """Return standard deviations from the mean, (n, 1); 0 where a value is missing."""
        found = (column.to_numpy(dtype=float) - self.mean) / self.deviation
        return np.clip(np.nan_to_num(found, nan=0.0), -FARTHEST, FARTHEST)[:, None]


@dataclass(frozen=True)
class CategoricalCovariate:
    """A categorical column and the categories that the training samples have."""

    name: str
    categories: tuple[str, ...]

    def __post_init__(self):
        check_text(self.name, "name of a covariate")
        for category in self.categories:
            check_text(category, f"category of covariate '{self.name}'")
        n = len(set(self.categories))
        if n != len(self.categories) or not 0 < n <= MOST_CATEGORIES:
            raise ValueError(
                f"The categories of covariate '{self.name}' must be 1 to {MOST_CATEGORIES} "
                "different ones."
            )

    @property
    def width(self) -> int:
        """Numbers that it becomes: one for each category."""
        return len(self.categories)

    @classmethod
    def fit(cls, column: pd.Series) -> "CategoricalCovariate":
        """List the categories, sorted."""
        categories = tuple(sorted(set(column.dropna())))
        if len(categories) > MOST_CATEGORIES:
            raise ValueError(
                f"Covariate '{column.name}' has {len(categories)} categories in "
                f"{len(column)} training samples, such as '{categories[0]}', and at most "
                f"{MOST_CATEGORIES} are read: {_way_out(categories)}, or leave the covariate out."
            )
        if len(categories) == 1:
            _warn_of_constant(column.name, categories[0])
        return cls(str(column.name), categories)

    def encode(self, column: pd.Series) -> np.ndarray:
        """Return 1 for the category of a sample and 0 for the others, (n, width)."""
        unknown = column.notna() & ~column.isin(self.categories)
        if unknown.any():
            log.warning(
                "%d samples have categories of covariate '%s' that the model has not learnt: %s. "
                "They are taken as unknown. It has learnt %s.",
                int(unknown.sum()), self.name, counted(column[unknown]), listed(self.categories),
                extra={"kind": self.name},
            )  # fmt: skip
        names = np.array(self.categories, dtype=object)
        return (column.to_numpy(dtype=object)[:, None] == names).astype(float)


KINDS = {"numeric": NumericCovariate, "categorical": CategoricalCovariate}


@dataclass(frozen=True)
class Covariates:
    """All covariates of a model, in the order in which they were given.

    Parameters
    ----------
    columns : tuple of NumericCovariate or CategoricalCovariate
    score : float, optional
        R squared, or accuracy of classes, of what follows from the covariates alone on the
        validation samples.
    """

    columns: tuple[NumericCovariate | CategoricalCovariate, ...]
    score: float | None = None

    def __post_init__(self):
        n = len({column.name for column in self.columns})
        if n != len(self.columns) or not 0 < n <= MOST_COVARIATES:
            raise ValueError(
                f"There must be 1 to {MOST_COVARIATES} covariates of different names, found "
                f"{len(self.columns)}: {listed(column.name for column in self.columns)}."
            )
        if self.score is not None and not (
            type(self.score) in (int, float) and -1e300 <= self.score <= 1
        ):
            raise ValueError(f"The score of covariates is at most 1, found {self.score!r}.")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def widths(self) -> tuple[int, ...]:
        """Numbers that each column becomes; their sum is K."""
        return tuple(column.width for column in self.columns)

    @classmethod
    def fit(cls, frame: pd.DataFrame) -> "Covariates":
        """Learn the scales and categories of training samples.

        Parameters
        ----------
        frame : pandas.DataFrame
            A row for each training sample, as from `read_covariates`.
        """
        empty = [name for name in frame if frame[name].isna().all()]
        if empty:
            raise ValueError(
                f"Covariate '{empty[0]}' has no value in any of the {len(frame)} training "
                "samples: give more of it, or leave it out."
            )
        return cls(tuple(_kind_of(frame[name]).fit(frame[name]) for name in frame))

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """Turn the columns of samples into numbers.

        Parameters
        ----------
        frame : pandas.DataFrame
            A row for each sample; may have other columns too.

        Returns
        -------
        ndarray of shape (n, K), float32

        Raises
        ------
        ValueError
            If a column is missing, or has words where numbers were learnt.
        """
        absent = [name for name in self.names if name not in frame.columns]
        if absent:
            raise ValueError(
                f"The metadata has no column '{absent[0]}'. The model was trained with "
                f"{len(self.names)} covariates ({listed(self.names)}): give the metadata of the "
                "samples with all of these columns."
            )
        parts = [column.encode(_as_learnt(column, frame[column.name])) for column in self.columns]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def to_dict(self) -> dict:
        """Return everything as JSON values."""
        kinds = {made_by: kind for kind, made_by in KINDS.items()}
        columns = [{"kind": kinds[type(column)]} | asdict(column) for column in self.columns]
        for column in columns:
            if "categories" in column:
                column["categories"] = list(column["categories"])
        return {"columns": columns, "score": self.score}

    @classmethod
    def from_dict(cls, values: dict) -> "Covariates":
        """Restore what `to_dict` returned.

        Raises
        ------
        ValueError
            If a key is unknown or missing, or a value is not of its kind.
        """
        require_keys(values, ("columns", "score"), "covariates")
        if not isinstance(values["columns"], list):
            raise ValueError("The columns of the covariates must be a list.")
        return cls(tuple(_column_of(column) for column in values["columns"]), values["score"])


def _column_of(values) -> NumericCovariate | CategoricalCovariate:
    kind = values.get("kind") if isinstance(values, dict) else None
    if kind == "numeric":
        require_keys(values, ("kind", "name", "mean", "deviation"), "a covariate")
        return NumericCovariate(values["name"], values["mean"], values["deviation"])
    if kind != "categorical":
        raise ValueError(f"The kind of a covariate must be one of {', '.join(KINDS)}.")
    require_keys(values, ("kind", "name", "categories"), "a covariate")
    if not isinstance(values["categories"], list):
        raise ValueError("The categories of a covariate must be a list.")
    return CategoricalCovariate(values["name"], tuple(values["categories"]))


def read_covariates(
    frame: pd.DataFrame, sample_ids, target: str | None = None, *, learnt: bool = False
) -> pd.DataFrame:
    """Take the covariates of some samples, and see whether they can be used.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns of numbers or of text, a row a sample id.
    sample_ids : sequence of str
    target : str, optional
        Name of the column that is predicted.
    learnt : bool
        Whether a model knows which columns are numbers, so that nothing is to be guessed.

    Returns
    -------
    pandas.DataFrame
        A row for each of the samples, in their order. Missing values are NaN, also where a sample
        has no row, or a word such as 'not applicable' (`missing_words`).

    Raises
    ------
    ValueError
        If a sample id occurs twice, or none of the samples is there, or the target is among the
        columns, or a number is not finite.
    """
    if not frame.index.is_unique:
        twice = frame.index[frame.index.duplicated()][0]
        raise ValueError(f"The metadata of the covariates has sample id '{twice}' twice.")
    if target is not None and target in frame.columns:
        raise ValueError(
            f"Column '{target}' is to be predicted, so it cannot be a covariate too: leave it out."
        )
    rows = frame.reindex(list(sample_ids))
    absent = [name for name in sample_ids if name not in frame.index]
    if len(absent) == len(sample_ids):
        found = f"such as '{frame.index[0]}'" if len(frame) else "none"
        raise ValueError(
            f"None of the table's {len(absent)} samples, such as '{absent[0]}', is in the "
            f"metadata of the covariates ({found}): give the metadata of these samples."
        )
    columns = {name: _without_words(rows[name], learnt) for name in rows}
    for name, column in columns.items():
        _check_column(name, column)
    return pd.DataFrame(columns, index=rows.index)


def _kind_of(column: pd.Series):
    is_number = pd.api.types.is_numeric_dtype(column) and column.dtype != bool
    return NumericCovariate if is_number else CategoricalCovariate


def _without_words(column: pd.Series, learnt: bool) -> pd.Series:
    """Empty the cells that have a word for a missing value; write other names as text."""
    if _kind_of(column) is NumericCovariate:
        return column.astype(float)
    named = column.map(name_of, na_action="ignore").astype(object)
    numbers = None if learnt else _numbers_beside_words(named)
    if numbers is not None:
        return numbers
    return named.mask(are_missing(named, numeric=False) | named.isna(), None)


def _numbers_beside_words(column: pd.Series) -> pd.Series | None:
    """Return the numbers of a column that is text because of words for a missing value alone."""
    words = are_missing(column, numeric=True)
    numbers = pd.to_numeric(column.mask(words, None), errors="coerce")
    if not words.any() or (numbers.isna() & column.notna() & ~words).any():
        return None
    log.warning(
        "Covariate '%s' has numbers, and words for a missing value: %s. It is read as numbers.",
        column.name, counted(column[words]), extra={"kind": column.name},
    )  # fmt: skip
    return numbers.astype(float)


def _check_column(name: str, column: pd.Series) -> None:
    if _kind_of(column) is NumericCovariate:
        wrong = column[column.abs() > LARGEST]
        if len(wrong):
            raise ValueError(
                f"Covariate '{name}' has {len(wrong)} values that are not finite or beyond "
                f"{LARGEST:g}, such as that of sample '{wrong.index[0]}': correct or empty them."
            )
    missing = int(column.isna().sum())
    if missing:
        log.warning(
            "%d of %d samples have no value of covariate '%s', such as '%s'. They are taken as "
            "unknown.",
            missing, len(column), name, column.index[column.isna()][0], extra={"kind": name},
        )  # fmt: skip


def _as_learnt(covariate, column: pd.Series) -> pd.Series:
    """Bring a column into the kind that was learnt: QIIME 2 may read another one this time."""
    if isinstance(covariate, CategoricalCovariate):
        return column.map(name_of, na_action="ignore").astype(object)
    column = column.mask(are_missing(column, numeric=True), None)
    numbers = pd.to_numeric(column, errors="coerce")
    words = column[numbers.isna() & column.notna()]
    if len(words):
        raise ValueError(
            f"Covariate '{covariate.name}' was learnt as numbers, and {len(words)} samples have "
            f"text, such as '{str(words.iloc[0])[:40]}' of sample '{words.index[0]}': correct or "
            "empty these cells."
        )
    return numbers


def _way_out(categories: tuple[str, ...]) -> str:
    if pd.to_numeric(pd.Series(categories), errors="coerce").notna().all():
        return "make the column numeric"
    return "put rare ones together"


def _warn_of_constant(name, value: str) -> None:
    log.warning(
        "Covariate '%s' has the same value (%s) in all training samples, so it tells nothing.",
        name, value, extra={"kind": name},
    )  # fmt: skip
