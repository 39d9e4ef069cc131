"""Mixing predictions of several kinds, in the proportion that validation samples recommend.

A few dozen validation samples say little about a proportion: what they recommend is one opinion,
and what one would do without them is another, worth `PRIOR_SAMPLES` of them.

Shapes: N samples, C outputs (one value, or a probability for each class).
"""

import numpy as np
from scipy.stats import t as student

PRIOR_SAMPLES = 100
"""Validation samples that would weigh as much as what is believed without any."""

CONFIDENCE = 0.975
"""With which a loss must be the greater (Student's t, one-sided) to count as shown."""

SHARES = np.linspace(0, 1, 21)
LEAST_PROBABILITY = 1e-9


def mix(first, second, share):
    """Mix predictions (N, C), or tensors of them, with the share (N,) of the second."""
    return first + share[:, None] * (second - first)


def ensemble_weight(first, second, target, factors=None) -> float:
    """Choose the share of the second of two predictions that are believed to be equally good.

    Parameters and result are those of `cautious_ensemble_weight`; both predictions use all reads.
    """
    losses = _losses(first, second, np.ones(len(target)), target, factors)
    return _weighed(losses, 0.5)


def cautious_ensemble_weight(first, second, known, target, factors=None) -> float:
    """Choose the share of the second of two predictions, of which the first is flattered.

    The validation samples have chosen the epoch of the network that makes the first one. So the
    second is believed to be the better, unless they show that it is not: what is believed is the
    largest share whose loss is not significantly above the least.

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
    losses, n = _losses(first, second, known, target, factors), len(target)
    if n == 1:  # one sample shows nothing
        return _weighed(losses, 1.0)
    worse = losses - losses[losses.mean(axis=1).argmin()]
    error = worse.std(axis=1, ddof=1) / np.sqrt(n)
    significant = worse.mean(axis=1) > student.ppf(CONFIDENCE, n - 1) * error
    return _weighed(losses, SHARES[~significant].max())


def _weighed(losses: np.ndarray, believed: float) -> float:
    """Average the share with the least loss and the one believed; of equals take the nearest."""
    means, n = losses.mean(axis=1), losses.shape[1]
    least = SHARES[np.isclose(means, means.min(), rtol=1e-9, atol=0)]
    found = least[np.abs(least - believed).argmin()]
    return float((n * found + PRIOR_SAMPLES * believed) / (n + PRIOR_SAMPLES))


def _losses(first, second, known, target, factors) -> np.ndarray:
    """Return the loss of each sample by share of the second prediction, (shares, N)."""
    mixed = (mix(first, second, share * known) for share in SHARES)
    if factors is None:
        return np.stack([np.square(said[:, 0] - target) for said in mixed])
    rows = np.arange(len(target))
    likely = np.stack([said[rows, target] for said in mixed])
    return -factors[target] * np.log(np.maximum(likely, LEAST_PROBABILITY))
