"""What follows from the covariates of a sample alone, without a look at its ASVs (torch-free).

It is kernel ridge regression on the covariates of known samples, as `kernel_ridge` fits it. So
what a model predicts can be set against it: what it says more comes from the ASVs.

Shapes: N known samples, n others, K numbers of covariates, C outputs.
"""

from dataclasses import dataclass, fields

import numpy as np

from q2_aam.core.model.stored_samples import kernel_ridge
from q2_aam.core.model.stored_samples.mean_similarity import covariate_similarity
from q2_aam.core.model.stored_samples.similarity import euclidean_distance, median_distance

MOST = 2000
"""Known samples that are learnt from, at most: the time grows with the cube of their number."""


@dataclass(frozen=True, eq=False)
class Known:
    """Samples whose target is known.

    Parameters
    ----------
    covariates : ndarray of shape (N, K)
    target : ndarray of shape (N,)
        Learnt values, or numbers of classes.
    groups : ndarray of shape (N,), optional
        Number of the group of each sample: samples of a group do not tell of each other how well
        others are predicted.
    weights : ndarray of shape (N,), optional
        How much each sample counts.
    """

    covariates: np.ndarray
    target: np.ndarray
    groups: np.ndarray | None = None
    weights: np.ndarray | None = None

    def at_most(self, n: int) -> "Known":
        """Take so many of the samples, always the same ones."""
        if len(self.target) <= n:
            return self
        rows = np.sort(np.random.default_rng(0xC0).permutation(len(self.target))[:n])
        arrays = ((f.name, getattr(self, f.name)) for f in fields(self))
        return Known(**{name: None if x is None else x[rows] for name, x in arrays})


def predict_from_covariates(
    known: Known, others: np.ndarray, factors: np.ndarray | None = None
) -> np.ndarray:
    """Predict from covariates alone.

    Parameters
    ----------
    known : Known
    others : ndarray of shape (n, K)
        Covariates of the samples to predict.
    factors : ndarray of shape (C,), optional
        What the share of each class is multiplied with; None for a numeric target.

    Returns
    -------
    ndarray of shape (n, C)
        Learnt values (C = 1), or shares of the classes.
    """
    known = known.at_most(MOST)
    its, others = known.covariates.astype(float), others.astype(float)
    scale = median_distance(euclidean_distance(its, its))
    inside, across = (covariate_similarity(x, its, scale) for x in (its, others))
    learnt_with = known.groups, known.weights
    if factors is None:
        fitted = kernel_ridge.fit_numbers(inside, known.target.astype(float), *learnt_with)
        return fitted.numbers(across)[:, None]
    return kernel_ridge.fit_classes(inside, known.target, factors, *learnt_with).shares(across)
