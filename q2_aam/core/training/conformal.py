"""Conformal calibration: quantiles that hold for samples that were not trained on.

The quantiles that a network learns hold for its training samples. The validation samples tell how
far each quantile must be moved, so that the promised share of values lies below it: split
conformal prediction with quantiles, in its form for either tail by itself [1]_.

Shapes: n samples, Q quantiles.

References
----------
.. [1] Romano Y, Patterson E, Candès EJ. Conformalized quantile regression. Advances in Neural
   Information Processing Systems 32 (2019).
"""

import math

import numpy as np

from q2_aam.core.options.quantile_levels import MEDIAN

ROUNDING = 1e-9


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
