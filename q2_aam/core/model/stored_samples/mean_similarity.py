"""How alike samples are in all that is known of them: ASVs, embedding, covariates (torch-free).

Shapes: n and N samples, D embedding width, K numbers of covariates.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from q2_aam.core.model.stored_samples import similarity
from q2_aam.core.model.stored_samples.similarity import Composition
from q2_aam.core.model.tensor_shapes import N_SCALES


@dataclass(frozen=True, eq=False)
class Seen:
    """Samples as they are compared.

    Parameters
    ----------
    composition : Composition
    embeddings : ndarray of shape (n, D), float64
    covariates : ndarray of shape (n, K), float64, optional
    """

    composition: Composition
    embeddings: np.ndarray
    covariates: np.ndarray | None = None

    @classmethod
    def of(cls, composition: Composition, embeddings, covariates) -> "Seen":
        """Bring what is known of samples into double precision."""
        covariates = None if covariates is None else covariates.astype(float)
        return cls(composition, embeddings.astype(float), covariates)


def mean_similarity(a: Seen, b: Seen, scales: np.ndarray) -> np.ndarray:
    """Measure how alike samples are, from 0 to 1.

    Of the ASVs, the mean A of six similarities, each a positive definite kernel: exp(-d/s) of the
    Bray-Curtis dissimilarity, of the sum of absolute differences and of the Euclidean distance of
    Hellinger-transformed abundances, of the distance of their logarithms and of the distance of
    the embeddings, and the Jaccard similarity of the ASVs present.

    With covariates, whose similarity C is exp(-d/s) of their Euclidean distance, it is
    (A + C + A · C) / 3: regression on it adds up what follows from the ASVs, from the covariates,
    and from both together. It is A where the scale of covariates is 0.

    Parameters
    ----------
    a, b : Seen
        n and N samples.
    scales : ndarray of shape (N_SCALES,) or (N_SCALES + 1,)
        The s of the distances, that of covariates last.

    Returns
    -------
    ndarray of shape (n, N)
    """
    total = similarity.jaccard_similarity(a.composition, b.composition)
    for distance, scale in zip(_of_asvs(a, b), scales[:N_SCALES], strict=True):
        total += np.exp(-distance / scale)
    total /= N_SCALES + 1
    if a.covariates is None or scales[N_SCALES] == 0:
        return total
    beside = covariate_similarity(a.covariates, b.covariates, scales[N_SCALES])
    return (total + beside + total * beside) / 3


def covariate_similarity(a: np.ndarray, b: np.ndarray, scale: float) -> np.ndarray:
    """Measure how alike covariates (n, K) and (N, K) are, (n, N): exp(-d/s)."""
    return np.exp(-similarity.euclidean_distance(a, b) / scale)


def distances(a: Seen, b: Seen) -> Iterator[np.ndarray]:
    """Yield the distances (n, N) that have scales, one after the other: each takes much memory."""
    yield from _of_asvs(a, b)
    if a.covariates is not None:
        yield similarity.euclidean_distance(a.covariates, b.covariates)


def _of_asvs(a: Seen, b: Seen) -> Iterator[np.ndarray]:
    yield from similarity.abundance_distances(a.composition, b.composition)
    yield similarity.hellinger_distance(a.composition, b.composition)
    yield similarity.log_distance(a.composition, b.composition)
    yield similarity.euclidean_distance(a.embeddings, b.embeddings)
