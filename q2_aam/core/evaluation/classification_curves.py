"""Curves of a classification: ROC, precision and recall, calibration (torch-free)."""

import numpy as np
import pandas as pd

CALIBRATION_BINS = 10


def bin_of(confidence: np.ndarray) -> np.ndarray:
    """Return which of `CALIBRATION_BINS` equal parts of 0–1 each probability is in."""
    return np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)


def calibration(confidence: np.ndarray, correct: np.ndarray) -> pd.DataFrame:
    """Compare how sure predictions were with how often they were right.

    Parameters
    ----------
    confidence : ndarray of shape (n,)
        Probability of the most probable class, in 0–1.
    correct : ndarray of bool of shape (n,)

    Returns
    -------
    DataFrame
        One row for each of `CALIBRATION_BINS` equal parts of 0–1 that has samples: `least`,
        `most`, `n`, `confidence` (mean), `accuracy`, and `low`, `high`, its 95% Wilson interval.

    References
    ----------
    .. [1] Wilson EB. Probable inference, the law of succession, and statistical inference.
       J Am Stat Assoc 1927; 22: 209–212.
    """
    rows = pd.DataFrame(
        {"bin": bin_of(confidence), "confidence": confidence, "accuracy": correct.astype(float)}
    ).groupby("bin")
    table = rows.mean()
    table["n"] = rows.size()
    table["low"], table["high"] = wilson(table["accuracy"], table["n"])
    table["least"] = table.index / CALIBRATION_BINS
    table["most"] = (table.index + 1) / CALIBRATION_BINS
    order = ["least", "most", "n", "confidence", "accuracy", "low", "high"]
    return table[order].reset_index(drop=True)


def wilson(share, n, z=1.959964):
    """Return the ends of the 95% Wilson interval of a share among n, both arrays or numbers."""
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return middle - half, middle + half


def roc_curve(is_class, chance, points: int = 100) -> pd.DataFrame:
    """Return the ROC curve of a class: `false_positive_rate` and `true_positive_rate`.

    Parameters
    ----------
    is_class : ndarray of bool of shape (n,)
        With at least one of each.
    chance : ndarray of shape (n,)
    points : int
        At most so many rows are returned.
    """
    from sklearn import metrics

    false_positives, true_positives, _ = metrics.roc_curve(is_class, chance)
    return _thin(
        {"false_positive_rate": false_positives, "true_positive_rate": true_positives}, points
    )


def precision_recall_curve(is_class, chance, points: int = 100) -> pd.DataFrame:
    """Return the precision-recall curve of a class: `recall` and `precision`, as `roc_curve`."""
    from sklearn import metrics

    precision, recall, _ = metrics.precision_recall_curve(is_class, chance)
    return _thin({"recall": recall[::-1], "precision": precision[::-1]}, points)


def _thin(columns, points) -> pd.DataFrame:
    """Keep points at even distances along the curve; at even ranks, its steep parts would go."""
    table = pd.DataFrame(columns)
    length = np.append(0, np.abs(np.diff(table, axis=0)).sum(axis=1).cumsum())
    kept = np.searchsorted(length, np.linspace(0, length[-1], points))
    return table.iloc[np.unique([0, *kept, len(table) - 1])].reset_index(drop=True)
