"""Scores of predictions, their bootstrap intervals, and what constants score (torch-free).

A bootstrap sample is a count of how often each sample was drawn, so every score here is computed
from counts: one pass over arrays that were sorted once, instead of a thousand sorts.

n samples, K classes, R bootstrap samples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from q2_aam.core.evaluation import classification_curves

REGRESSION = ("r2", "mae", "rmse", "pearson", "spearman")
CLASSIFICATION = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc", "log_loss", "ece")
BOOTSTRAPS, FEWEST_BOOTSTRAPS = 1000, 200
BOOTSTRAP_WORK = 2 * 10**8
"""Numbers gone through by all bootstrap samples together, beyond which there are fewer of them."""

LEAST_PROBABILITY = 2.0**-52
"""What a probability of zero counts as in the log loss, so that it stays finite."""


@dataclass(frozen=True)
class Score:
    """A score, its interval, and what a constant prediction scores.

    Parameters
    ----------
    value : float
        NaN where the score is not defined, such as the R² of a single sample.
    low, high : float
        95% percentile bootstrap interval; NaN for fewer than two samples.
    baseline : float
        The score of the best constant prediction; NaN where it is not defined.
    """

    value: float
    low: float
    high: float
    baseline: float


@dataclass(frozen=True)
class ClassScores:
    """How one class is recognised.

    Parameters
    ----------
    name : str
    n_true, n_predicted : int
        Samples of the class, and samples taken for it.
    precision, recall, f1 : float
        In 0–1; 0 where there is nothing to divide by.
    auc, average_precision : Score
        Of telling the class from all others by its probability.
    """

    name: str
    n_true: int
    n_predicted: int
    precision: float
    recall: float
    f1: float
    auc: Score
    average_precision: Score


@dataclass(frozen=True)
class ClassificationReport:
    """All scores of a classification.

    Parameters
    ----------
    overall : dict of str to Score
        By the names in `CLASSIFICATION`.
    by_class : list of ClassScores
        In the order of the confusion matrix.
    confusion : DataFrame of shape (K, K)
        Counts; rows are true classes, columns predicted ones.
    calibration : DataFrame
        See `classification_curves.calibration`.
    """

    overall: dict[str, Score]
    by_class: list[ClassScores]
    confusion: pd.DataFrame
    calibration: pd.DataFrame


def bootstrap(statistic: Callable, n: int, replicates: int, seed: int):
    """Compute percentile intervals of several statistics at once.

    Parameters
    ----------
    statistic : callable
        Takes how often each sample counts, ndarray of shape (n,); returns ndarray of shape (m,).
    n, replicates, seed : int

    Returns
    -------
    low, high : ndarray of shape (m,)
        The 2.5th and 97.5th percentile over the bootstrap samples in which the statistic is
        defined; NaN if there is none.

    References
    ----------
    .. [1] Efron B, Tibshirani RJ. An Introduction to the Bootstrap. Chapman & Hall; 1993, ch. 13.
    """
    rng = np.random.default_rng(seed)
    drawn = np.array(
        [
            statistic(np.bincount(rng.integers(n, size=n), minlength=n).astype(float))
            for _ in range(replicates)
        ]
    )
    undefined = np.isnan(drawn).all(axis=0)
    drawn[:, undefined] = 0.0  # nanpercentile would warn
    low, high = np.nanpercentile(drawn, [2.5, 97.5], axis=0)
    low[undefined] = high[undefined] = np.nan
    return low, high


def replicates_for(work: int) -> int:
    """Return how many bootstrap samples to draw when one goes through so many numbers."""
    return int(np.clip(BOOTSTRAP_WORK // max(work, 1), FEWEST_BOOTSTRAPS, BOOTSTRAPS))


def _scored(statistic, n, baselines, work, seed) -> list[Score]:
    values = statistic(np.ones(n))
    if n < 2:
        low = high = np.full(len(values), np.nan)
    else:
        low, high = bootstrap(statistic, n, replicates_for(work), seed)
    columns = zip(values, low, high, baselines, strict=True)
    return [Score(*map(float, row)) for row in columns]


def regression_scores(true, predicted, seed: int = 0) -> dict[str, Score]:
    """Score predictions of a number.

    Parameters
    ----------
    true, predicted : array_like of shape (n,)
        Finite numbers.
    seed : int

    Returns
    -------
    dict of str to Score
        By the names in `REGRESSION`: coefficient of determination, mean absolute error, root mean
        squared error, Pearson's and Spearman's correlation. The baselines are those of
        predicting, for each sample, the mean of the true values (R², RMSE) or their median (MAE).

    Raises
    ------
    ValueError
        If there is no sample, or a value is not finite.
    """
    true, predicted = np.asarray(true, dtype=float), np.asarray(predicted, dtype=float)
    if not len(true) or not (np.isfinite(true).all() and np.isfinite(predicted).all()):
        raise ValueError(
            f"Scores need at least one sample and finite numbers, found {len(true)} samples; "
            "leave out those without a value."
        )
    baselines = _constant_regression(true)
    statistic = regression_statistic(true, predicted)
    scores = _scored(statistic, len(true), baselines, len(true), seed)
    return dict(zip(REGRESSION, scores, strict=True))


def _constant_regression(true):
    r2 = 0.0 if np.ptp(true) else np.nan
    return [r2, np.abs(true - np.median(true)).mean(), true.std(), np.nan, np.nan]


def regression_statistic(true: np.ndarray, predicted: np.ndarray) -> Callable:
    """Return a function from how often each sample counts to the scores in `REGRESSION`."""
    true_ranks, predicted_ranks = _ranker(true), _ranker(predicted)
    absolute, squared = np.abs(true - predicted), (true - predicted) ** 2

    def statistic(counts):
        n = counts.sum()
        values = true[counts > 0]
        spread = _sum_of_squares(true, counts) if np.ptp(values) else np.nan
        return np.array(
            [
                1 - counts @ squared / spread,
                counts @ absolute / n,
                np.sqrt(counts @ squared / n),
                _correlation(true, predicted, counts),
                _correlation(true_ranks(counts), predicted_ranks(counts), counts),
            ]
        )

    return statistic


def _sum_of_squares(x, counts):
    return counts @ (x - counts @ x / counts.sum()) ** 2


def _correlation(x, y, counts) -> float:
    """Return Pearson's correlation of samples that count so often; NaN if either is constant."""
    drawn = counts > 0
    if not (np.ptp(x[drawn]) and np.ptp(y[drawn])):
        return np.nan
    n = counts.sum()
    x, y = x - counts @ x / n, y - counts @ y / n
    return float(counts @ (x * y) / np.sqrt((counts @ x**2) * (counts @ y**2)))


def _ranker(values):
    """Return a function from counts to average ranks, so that values are sorted only once."""
    _, place = np.unique(values, return_inverse=True)

    def ranks(counts):
        tied = np.bincount(place, weights=counts)
        return (np.cumsum(tied) - (tied - 1) / 2)[place]

    return ranks


def classification_scores(
    true: Sequence[str], predicted: Sequence[str], probabilities: pd.DataFrame, seed: int = 0
) -> ClassificationReport:
    """Score predictions of a class.

    Macro averages are over the classes that occur, as in scikit-learn: F1 over those true or
    predicted, balanced accuracy over those true, AUC over those that some but not all samples
    have. A true class without a column of probabilities counts as having had probability zero.

    Parameters
    ----------
    true, predicted : sequence of str, of length n
    probabilities : DataFrame of shape (n, K)
        Columns are class names; rows are in the order of `true` and are scaled to a sum of one.
    seed : int

    Returns
    -------
    ClassificationReport
        The baselines are those of predicting the commonest class for every sample, with the
        classes' shares as probabilities.

    Raises
    ------
    ValueError
        If there is no sample, or the probabilities are negative, not finite, or all zero.

    References
    ----------
    .. [1] Naeini MP, Cooper GF, Hauskrecht M. Obtaining well calibrated probabilities using
       Bayesian binning. AAAI 2015: 2901–2907 (expected calibration error).
    """
    names, t, p, chances = coded(true, predicted, probabilities)
    statistic = classification_statistic(t, p, chances, len(names))
    baselines = _constant_classification(t, len(names))
    work = len(t) * (chances.shape[1] + 1)
    scores = _scored(statistic, len(t), baselines, work, seed)
    table = _confusion(t, p, np.ones(len(t)), len(names)).astype(int)
    m, k = len(CLASSIFICATION), len(names)
    return ClassificationReport(
        dict(zip(CLASSIFICATION, scores, strict=False)),
        _by_class(names, table, scores[m : m + k], scores[m + k :]),
        pd.DataFrame(table, index=names, columns=names),
        classification_curves.calibration(chances.max(axis=1), chances.argmax(axis=1) == t),
    )


def coded(true: Sequence[str], predicted: Sequence[str], probabilities: pd.DataFrame):
    """Return names of classes, the places in them of what is true and predicted, and chances.

    Parameters
    ----------
    true, predicted : sequence of str, of length n
    probabilities : DataFrame of shape (n, K)

    Returns
    -------
    names : list of str
        First the K that have probabilities.
    true, predicted : ndarray of int, shape (n,)
    chances : ndarray of shape (n, K)
        Each row has the sum one.

    Raises
    ------
    ValueError
        If there is no sample, or the probabilities are negative, not finite, or all zero.
    """
    chances = _shares(probabilities)
    known = list(map(str, probabilities.columns))
    names = known + sorted((set(true) | set(predicted)) - set(known))
    code = {name: i for i, name in enumerate(names)}
    t, p = (np.array([code[name] for name in labels]) for labels in (true, predicted))
    return names, t, p, chances


def _shares(probabilities: pd.DataFrame) -> np.ndarray:
    chances = probabilities.to_numpy(dtype=float)
    sums = chances.sum(axis=1, keepdims=True)
    if not len(chances) or not np.isfinite(chances).all() or (chances < 0).any() or not sums.all():
        raise ValueError(
            f"The probabilities of {len(chances)} samples and {chances.shape[1]} classes must be "
            "finite, at least 0, and not all 0 in any sample."
        )
    return chances / sums


def classification_statistic(t, p, chances, n_classes: int) -> Callable:
    """Return a function from how often each sample counts to scores.

    Those in `CLASSIFICATION` come first, then the ROC AUC and the average precision of each class.
    """
    n = len(t)
    known = t < chances.shape[1]
    of_truth = np.where(known, chances[np.arange(n), np.where(known, t, 0)], 0.0)
    surprise = -np.log(np.maximum(of_truth, LEAST_PROBABILITY))
    bins = classification_curves.bin_of(chances.max(axis=1))
    excess = (chances.argmax(axis=1) == t) - chances.max(axis=1)
    rankings = [_ranking(chances[:, c], t == c) for c in range(chances.shape[1])]
    none = [(np.nan, np.nan)] * (n_classes - len(rankings))

    def statistic(counts):
        total = counts.sum()
        areas = np.array([ranking(counts) for ranking in rankings] + none)
        overall = _of_confusion(_confusion(t, p, counts, n_classes))
        defined = areas[~np.isnan(areas[:, 0]), 0]
        overall.append(defined.mean() if len(defined) else np.nan)
        overall.append(counts @ surprise / total)
        overall.append(np.abs(np.bincount(bins, weights=counts * excess)).sum() / total)
        return np.concatenate([overall, areas[:, 0], areas[:, 1]])

    return statistic


def _confusion(t, p, counts, k):
    return np.bincount(t * k + p, weights=counts, minlength=k * k).reshape(k, k)


def _of_confusion(table) -> list[float]:
    """Return accuracy, balanced accuracy and macro F1."""
    right, true, predicted = np.diag(table), table.sum(axis=1), table.sum(axis=0)
    occurs, seen = true > 0, true + predicted > 0
    f1 = 2 * right[seen] / (true + predicted)[seen]
    return [right.sum() / table.sum(), (right[occurs] / true[occurs]).mean(), f1.mean()]


def _ranking(chance, is_class):
    """Return a function from counts to ROC AUC and average precision of one class."""
    _, place = np.unique(-chance, return_inverse=True)  # most probable first
    positive = is_class.astype(float)

    def areas(counts):
        hits = np.bincount(place, weights=counts * positive)
        both = np.bincount(place, weights=counts)
        n_hits, n = hits.sum(), both.sum()
        if n_hits in (0, n):
            return np.nan, np.nan
        true_positives, taken = np.cumsum(hits), np.cumsum(both)
        misses = both - hits
        auc = misses @ (true_positives - hits / 2) / (n_hits * (n - n_hits))
        precision = true_positives / np.maximum(taken, 1)  # 0 / 0 only before the first sample
        return auc, hits @ precision / n_hits

    return areas


def _constant_classification(t, n_classes):
    sizes = np.bincount(t, minlength=n_classes)
    shares = sizes / len(t)
    occurring = shares[shares > 0]
    largest, n_occurring = occurring.max(), len(occurring)
    f1 = 2 * largest / (1 + largest) / n_occurring
    auc = np.nan if n_occurring < 2 else 0.5
    overall = [largest, 1 / n_occurring, f1, auc, -(occurring @ np.log(occurring)), 0.0]
    mixed = (shares > 0) & (shares < 1)
    return [*overall, *np.where(mixed, 0.5, np.nan), *np.where(mixed, shares, np.nan)]


def _by_class(names, table, aucs, precisions) -> list[ClassScores]:
    true, predicted = table.sum(axis=1), table.sum(axis=0)
    return [
        ClassScores(
            name,
            int(true[i]),
            int(predicted[i]),
            float(table[i, i] / max(predicted[i], 1)),
            float(table[i, i] / max(true[i], 1)),
            float(2 * table[i, i] / max(true[i] + predicted[i], 1)),
            aucs[i],
            precisions[i],
        )
        for i, name in enumerate(names)
    ]
