"""Mixing predictions of several kinds, in the proportion that validation samples recommend.

A few dozen validation samples say little about a proportion: what they recommend is one opinion,
and what one would do without them is another, worth `PRIOR_SAMPLES` of them.

Shapes: N samples, C outputs (one value, or a probability for each class).
"""

import numpy as np

PRIOR_SAMPLES = 100
"""Validation samples that would weigh as much as what is believed without any."""

STANDARD_ERRORS = 2.0
"""From so many standard errors on a difference counts as shown."""

SHARES = np.linspace(0, 1, 21)
LEAST_PROBABILITY = 1e-9


def mix(first, second, share):
    """Mix predictions (N, C), or tensors of them, with the share (N,) of the second."""
    return first + share[:, None] * (second - first)


def even_share(first, second, target, factors=None) -> float:
    """Choose the share of the second of two predictions that are believed to be equally good.

    The parameters and what is returned are those of `trusted_share`.
    """
    losses = _losses(first, second, np.ones(len(target)), target, factors).mean(axis=1)
    return _weighed(SHARES[losses.argmin()], 0.5, len(target))


def trusted_share(first, second, known, target, factors=None) -> float:
    """Choose the share of the second of two predictions, of which the first is flattered.

    The validation samples have chosen the epoch of the network that makes the first one. So the
    second is believed to be the better, unless they show that it is not: what is believed is the
    largest share with which the loss is less than `STANDARD_ERRORS` above the least.

    Parameters
    ----------
    first, second : ndarray of shape (N, C)
        What each predicts: values (C = 1) or probabilities.
    known : ndarray of shape (N,)
        Share of the reads that the second can use; it counts in proportion.
    target : ndarray of shape (N,)
        Learnt values or numbers of classes.
    factors : ndarray of shape (C,), optional
        Weight of each class; None for values.

    Returns
    -------
    float
        From 0 to 1. The loss is the squared error, or the negative log-likelihood of classes.
    """
    losses = _losses(first, second, known, target, factors)
    best = losses.mean(axis=1).argmin()
    worse = losses - losses[best]
    error = worse.std(axis=1) / np.sqrt(len(target))
    believed = SHARES[np.flatnonzero(worse.mean(axis=1) <= STANDARD_ERRORS * error).max()]
    return _weighed(SHARES[best], believed, len(target))


def _weighed(found: float, believed: float, n: int) -> float:
    return float((n * found + PRIOR_SAMPLES * believed) / (n + PRIOR_SAMPLES))


def _losses(first, second, known, target, factors) -> np.ndarray:
    """Return the loss of each sample by share of the second prediction, (shares, N)."""
    mixed = (mix(first, second, share * known) for share in SHARES)
    if factors is None:
        return np.stack([np.square(said[:, 0] - target) for said in mixed])
    rows = np.arange(len(target))
    likely = np.stack([said[rows, target] for said in mixed])
    return -factors[target] * np.log(np.maximum(likely, LEAST_PROBABILITY))
