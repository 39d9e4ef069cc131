"""Mixing what several parts predict, in the proportion that validation samples recommend.

A few dozen validation samples say little about a proportion. So the parts are also believed to be
equally good, and that belief weighs as much as `PRIOR_SAMPLES` validation samples.

Shapes: N samples, C outputs (one value, or a probability for each class).
"""

from itertools import product

import numpy as np

PRIOR_SAMPLES = 100
"""Validation samples that would weigh as much as what is believed without any."""

STEPS = 24
"""Weights are tried in steps of one part in so many."""

LEAST_PROBABILITY = 1e-9

EVEN = (1 / 3, 1 / 3, 1 / 3)
"""Weights of the network, kernel ridge regression and trees where nothing is known of them."""


def mix(by_network, by_ridge, by_trees, known, weights):
    """Mix predictions (N, C), arrays or tensors.

    The last two parts know ASVs that are stored and no others, so they count in proportion to
    `known` (N,), the share of the reads that they know, and the network counts for the rest.
    """
    _, ridge, trees = weights
    known = known[:, None]
    return (
        by_network
        + known * ridge * (by_ridge - by_network)
        + known * trees * (by_trees - by_network)
    )


def ensemble_weights(
    parts, known, target, factors=None, sample_weights=None
) -> tuple[float, float, float]:
    """Choose the weights of the network, kernel ridge regression and trees.

    Parameters
    ----------
    parts : sequence of three ndarray of shape (N, C)
        What each predicts of the validation samples: values (C = 1) or probabilities.
    known : ndarray of shape (N,)
        Share of the reads that the last two can use.
    target : ndarray of shape (N,)
        Learnt values or numbers of classes.
    factors : ndarray of shape (C,), optional
        Weight of each class; None for values.
    sample_weights : ndarray of shape (N,), optional
        How much each sample counts; 1 on average.

    Returns
    -------
    tuple of float
        They sum to 1. The weights of least squared error, or of least negative log-likelihood of
        classes, averaged with `EVEN`.
    """
    tried = [
        (i / STEPS, j / STEPS, (STEPS - i - j) / STEPS)
        for i, j in product(range(STEPS + 1), repeat=2)
        if i + j <= STEPS
    ]
    counted = np.ones(len(target)) if sample_weights is None else sample_weights
    losses = np.array([_loss(mix(*parts, known, w), target, factors, counted) for w in tried])
    # Of weights that are as good as each other, the nearest to even ones.
    best = np.flatnonzero(np.isclose(losses, losses.min(), rtol=1e-9, atol=0))
    uneven = [np.square(np.subtract(tried[i], EVEN)).sum() for i in best]
    found = np.array(tried[best[int(np.argmin(uneven))]])
    n = len(target)
    weights = (n * found + PRIOR_SAMPLES * np.array(EVEN)) / (n + PRIOR_SAMPLES)
    return tuple(float(w) for w in weights)


def _loss(said: np.ndarray, target: np.ndarray, factors, counted: np.ndarray) -> float:
    if factors is None:
        return float((counted * np.square(said[:, 0] - target)).mean())
    likely = np.maximum(said[np.arange(len(target)), target], LEAST_PROBABILITY)
    return float(-(counted * factors[target] * np.log(likely)).mean())
