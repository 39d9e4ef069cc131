"""What follows from the covariates of a sample alone, without a look at its ASVs (torch-free).

It is kernel ridge regression on the covariates of known samples, as `kernel_ridge` fits it. So
what a model predicts can be set against it: what it says more comes from the ASVs.

Shapes: N known samples, n others, K numbers of covariates, C outputs.
"""

import numpy as np

from q2_aam.core.model.stored_samples import kernel_ridge
from q2_aam.core.model.stored_samples.mean_similarity import covariate_similarity
from q2_aam.core.model.stored_samples.similarity import euclidean_distance, median_distance


def predict_from_covariates(
    known: np.ndarray, target: np.ndarray, others: np.ndarray, factors: np.ndarray | None = None
) -> np.ndarray:
    """Predict from covariates alone.

    Parameters
    ----------
    known : ndarray of shape (N, K)
        Covariates of samples whose target is known.
    target : ndarray of shape (N,)
        Learnt values, or numbers of classes.
    others : ndarray of shape (n, K)
        Covariates of the samples to predict.
    factors : ndarray of shape (C,), optional
        What the share of each class is multiplied with; None for a numeric target.

    Returns
    -------
    ndarray of shape (n, C)
        Learnt values (C = 1), or shares of the classes.
    """
    known, others = known.astype(float), others.astype(float)
    scale = median_distance(euclidean_distance(known, known))
    inside = covariate_similarity(known, known, scale)
    across = covariate_similarity(others, known, scale)
    if factors is None:
        fitted = kernel_ridge.fit_numbers(inside, target.astype(float))
        return fitted.numbers(across)[:, None]
    return kernel_ridge.fit_classes(inside, target, factors).shares(across)
