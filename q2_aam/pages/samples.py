"""What the evaluations share: predicted samples and their true values, notes, tables of scores."""

import numpy as np
import pandas as pd

from q2_aam.core.data.metadata import with_values
from q2_aam.core.evaluation.scores import BOOTSTRAPS, Score
from q2_aam.pages.frame import Table, count, interval, number

MAX_POINTS = 2000
FEW_SAMPLES = 20
MANY_APART = 5
"""Samples from which on it is remarkable that all predictions lie apart from the true values."""


def true_values(
    predictions: pd.Series, column: pd.Series, missing_samples: str, *, numeric: bool = False
) -> pd.Series:
    """Return the true values of the predicted samples, in their order.

    Raises
    ------
    ValueError
        If a sample is predicted twice, or samples lack values and may not.
    """
    if not predictions.index.is_unique:
        twice = predictions.index[predictions.index.duplicated()][0]
        raise ValueError(
            f"The predictions have sample '{twice}' more than once; evaluate one prediction a "
            "sample."
        )
    return with_values(list(predictions.index), column, missing_samples, numeric=numeric)


def notes_on(n_predicted: int, n_true: int) -> list[str]:
    """Say what a reader must know about the samples."""
    notes = []
    if n_true < n_predicted:
        notes.append(
            f"{count(n_predicted - n_true, 'predicted sample')} without a true value "
            f"{'is' if n_predicted - n_true == 1 else 'are'} left out."
        )
    if n_true < FEW_SAMPLES:
        notes.append(
            f"With only {count(n_true, 'sample')}, scores and their intervals say little."
        )
    return notes


def right_column(column: str) -> str:
    """Ask whether the true values are of the column that was predicted."""
    return f"Check that {column} is the column that was predicted, in the same units."


def drawn(n: int, seed: int) -> np.ndarray:
    """Choose which samples a chart shows: all, or a random part of many."""
    if n <= MAX_POINTS:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, MAX_POINTS, replace=False))


def how_many(n: int) -> str:
    """Say, for a chart, that not all samples are shown, if so."""
    return (
        f" Shown are {MAX_POINTS:,} of {n:,} samples, drawn at random." if n > MAX_POINTS else ""
    )


def score_table(caption: str, scores: dict[str, Score], labels: dict[str, str], baseline: str):
    """Return a table with a score a row."""
    rows = [
        [labels[name], number(s.value), interval(s.low, s.high), number(s.baseline)]
        for name, s in scores.items()
    ]
    return Table(caption, ["Score", "Value", "95% interval", baseline], rows)


def score_frame(scores: dict[str, Score]) -> pd.DataFrame:
    """Return the scores as a table for download."""
    rows = [(n, s.value, s.low, s.high, s.baseline) for n, s in scores.items()]
    names = ["score", "value", "low", "high", "constant prediction"]
    return pd.DataFrame(rows, columns=names).set_index("score")


INTERVALS = (
    f"Intervals are 95% percentile intervals of {BOOTSTRAPS:,} bootstrap samples (fewer "
    "if there are very many samples and classes). They say how much a score would vary with other "
    "samples of the same kind. They do not say how well the model does in another population. "
    "They are too narrow if samples belong together, such as several samples of one person."
)
