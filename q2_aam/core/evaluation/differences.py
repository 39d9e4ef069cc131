"""How two predictions of the same samples differ in their scores (torch-free).

Both are scored on the same bootstrap samples. So what makes a sample hard for both does not widen
the interval of their difference.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from q2_aam.core.evaluation.scores import (
    CLASSIFICATION,
    REGRESSION,
    bootstrap,
    classification_statistic,
    coded,
    regression_statistic,
    replicates_for,
)

LOWER_IS_BETTER = frozenset(("mae", "rmse", "log_loss", "ece"))
BETTER, WORSE, ALIKE = "better", "worse", "alike"


def check_same_samples(name: str, sample_ids: pd.Index, found: pd.Index) -> None:
    """Refuse a baseline that does not predict each sample once.

    Parameters
    ----------
    name : str
        What predicted, for the message, such as 'random forest'.
    sample_ids : pandas.Index
        Samples that the model predicted.
    found : pandas.Index
        Samples that the baseline predicted; there may be more.

    Raises
    ------
    ValueError
        Naming a sample.
    """
    missing = sample_ids.difference(found)
    if len(missing) or not found.is_unique:
        twice = found[found.duplicated()]
        said = f"'{missing[0]}' has none" if len(missing) else f"'{twice[0]}' has more than one"
        raise ValueError(
            f"The predictions of the {name} are not of the same samples: of the "
            f"{len(sample_ids)} samples that the model predicted, {said}. Let both predict the "
            "same table."
        )


@dataclass(frozen=True)
class Difference:
    """The score of a model minus that of a baseline, on the same samples.

    Parameters
    ----------
    value : float
        NaN where one of the scores is not defined.
    low, high : float
        95% percentile interval of the paired bootstrap; NaN for fewer than two samples.
    """

    value: float
    low: float
    high: float

    def verdict(self, score: str) -> str:
        """Say whether the model is 'better' or 'worse' by a score, or 'alike'.

        It is 'alike' if the interval has zero in it, or if there is no interval.
        """
        low, high = self.low, self.high
        if score in LOWER_IS_BETTER:
            low, high = -high, -low
        if low > 0:
            return BETTER
        return WORSE if high < 0 else ALIKE


def regression_differences(true, model, baseline, seed: int = 0) -> dict[str, Difference]:
    """Compare two predictions of a number.

    Parameters
    ----------
    true, model, baseline : array_like of shape (n,)
        Finite numbers, in the same order of samples.
    seed : int

    Returns
    -------
    dict of str to Difference
        By the names in `scores.REGRESSION`.

    References
    ----------
    .. [1] Efron B, Tibshirani RJ. An Introduction to the Bootstrap. Chapman & Hall; 1993, ch. 8.
    """
    true, model, baseline = (np.asarray(each, dtype=float) for each in (true, model, baseline))
    pair = regression_statistic(true, model), regression_statistic(true, baseline)
    return _differences(pair, REGRESSION, len(true), len(true), seed)


def classification_differences(
    true: Sequence[str],
    model: tuple[Sequence[str], pd.DataFrame],
    baseline: tuple[Sequence[str], pd.DataFrame],
    seed: int = 0,
) -> dict[str, Difference]:
    """Compare two predictions of a class.

    Parameters
    ----------
    true : sequence of str, of length n
    model, baseline : tuple
        The predicted classes, a sequence of length n, and the probabilities, a DataFrame with a
        row for each sample in the same order. The two may know different classes.
    seed : int

    Returns
    -------
    dict of str to Difference
        By the names in `scores.CLASSIFICATION`.
    """
    statistics, work = [], 0
    for predicted, probabilities in (model, baseline):
        names, t, p, chances = coded(true, predicted, probabilities)
        statistics.append(classification_statistic(t, p, chances, len(names)))
        work += chances.size + len(t)
    return _differences(statistics, CLASSIFICATION, len(true), work, seed)


def _differences(pair: Sequence[Callable], names, n: int, work: int, seed: int):
    def difference(counts):
        model, baseline = (statistic(counts)[: len(names)] for statistic in pair)
        return model - baseline

    values = difference(np.ones(n))
    low = high = np.full(len(values), np.nan)
    if n > 1:
        low, high = bootstrap(difference, n, replicates_for(work), seed)
    rows = zip(values, low, high, strict=True)
    return dict(zip(names, (Difference(*map(float, row)) for row in rows), strict=True))
