"""Quantiles of a numeric target: which are asked for, and how they are made to hold (torch-free).

The quantiles that a network learns hold for the samples it was trained on. Samples that it has not
seen tell how far each must be moved so that the promised share of values lies below it: split
conformal prediction with quantiles, in its form for either tail by itself [2]_.

n samples, Q quantiles.

References
----------
.. [1] Koenker R, Bassett G. Regression quantiles. Econometrica 46, 33-50 (1978).
.. [2] Romano Y, Patterson E, Candès EJ. Conformalized quantile regression. Advances in Neural
   Information Processing Systems 32 (2019).
"""

import math
from itertools import pairwise

import numpy as np
import pandas as pd

MEDIAN = 0.5
MOST = 25
MAX_TEXT = 1000
PREFIX = "quantile-"
ROUNDING = 1e-9


def parse(text: str) -> tuple[float, ...]:
    """Read a list of quantiles.

    Parameters
    ----------
    text : str
        Such as '0.05,0.5,0.95'.

    Returns
    -------
    tuple of float
        Increasing, between 0 and 1; the median and numbers on both sides of it are among them.

    Raises
    ------
    ValueError
        If the text is anything else.
    """
    try:
        if len(text) > MAX_TEXT:
            raise ValueError("too long")
        return checked(tuple(float(part) for part in text.split(",")))
    except ValueError as error:
        raise ValueError(
            f"quantiles must be 3 to {MOST} increasing numbers between 0 and 1, separated by "
            "commas, with 0.5 and numbers on both sides of it, such as '0.05,0.5,0.95'; found "
            f"{text[:60]!r}"
        ) from error


def checked(levels: tuple[float, ...]) -> tuple[float, ...]:
    """Return quantiles as they are.

    Raises
    ------
    ValueError
        If they are not as `parse` describes.
    """
    increasing = all(low < high for low, high in pairwise(levels))
    inside = all(0 < level < 1 for level in levels)
    if not (increasing and inside and MEDIAN in levels[1:-1] and len(levels) <= MOST):
        raise ValueError("not increasing, outside of 0 to 1, or without a median in the middle")
    return levels


def names(levels: tuple[float, ...]) -> list[str]:
    """Name a column for each quantile: 'quantile-0.05'."""
    return [f"{PREFIX}{level}" for level in levels]


def levels_of(columns) -> tuple[float, ...]:
    """Return the quantiles that columns are named after; see `names`.

    Raises
    ------
    ValueError
        If a column has another name, or they are not as `parse` describes.
    """
    return checked(tuple(float(str(name).removeprefix(PREFIX)) for name in columns))


def fewest_samples(levels: tuple[float, ...]) -> int:
    """Return how many samples it takes to calibrate the outermost of these quantiles.

    With n samples the next one is below all of them with a chance of 1 / (n + 1), so no smaller
    quantile can be told apart.
    """
    outermost = min(levels[0], 1 - levels[-1])
    return math.ceil(1 / outermost - 1 - ROUNDING)


def corrections(predicted: np.ndarray, true: np.ndarray, levels: tuple[float, ...]) -> np.ndarray:
    """Return what must be added to each quantile so that it holds for other samples of the kind.

    Of n samples whose values are known and of the next one, each is as likely as any other to be
    the one farthest beyond its predicted quantile; so moving the quantile by the score of rank
    ``ceil((n + 1) (1 - level))`` leaves the next value below it with at most the chance it should
    have, and likewise above. Where that rank is more than n, the greatest score has to do.

    Parameters
    ----------
    predicted : ndarray of shape (n, Q)
        Quantiles, for samples that the model was not fitted to.
    true : ndarray of shape (n,)
        In the same scale.
    levels : tuple of float

    Returns
    -------
    ndarray of shape (Q,)
        Negative for a lower quantile that is too high; zero for the median.
    """
    found = np.zeros(len(levels))
    for i, level in enumerate(levels):
        if level == MEDIAN:
            continue
        side = np.sign(level - MEDIAN)
        scores = np.sort(side * (true - predicted[:, i]))
        rank = math.ceil((len(true) + 1) * max(level, 1 - level) - ROUNDING)
        found[i] = side * scores[min(rank, len(true)) - 1]
    return found


def coverage(predicted: np.ndarray, true: np.ndarray, levels: tuple[float, ...]) -> pd.DataFrame:
    """Compare how many values lie between two quantiles with how many should.

    Parameters
    ----------
    predicted : ndarray of shape (n, Q)
    true : ndarray of shape (n,)
    levels : tuple of float

    Returns
    -------
    DataFrame
        A row for the outermost pair of quantiles, then the next within, as long as there is one
        on either side of the median: `low`, `high`, `nominal` (their difference), `covered`,
        `below` and `above` (shares of the values), `mean_width` and `median_width`.
    """
    middle, rows = levels.index(MEDIAN), []
    for i in range(min(middle, len(levels) - 1 - middle)):
        lower, upper = predicted[:, i], predicted[:, -1 - i]
        below, above = (true < lower).mean(), (true > upper).mean()
        rows.append(
            {
                "low": levels[i],
                "high": levels[-1 - i],
                "nominal": levels[-1 - i] - levels[i],
                "covered": 1 - below - above,
                "below": below,
                "above": above,
                "mean_width": (upper - lower).mean(),
                "median_width": np.median(upper - lower),
            }
        )
    return pd.DataFrame(rows)
