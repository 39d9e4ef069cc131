"""Predicting from which ASVs a sample has: extremely randomized trees (torch-free).

Trees choose the ASVs that tell of the target, which a comparison of whole samples cannot. They are
grown by scikit-learn on the abundances of ASVs, and kept as plain arrays, which are read without
it, whichever release of it made them.

Where such trees split is drawn between the least and the greatest value, so the scale matters.
Half of them are grown on relative abundances, which see what is abundant, and half on their
fourth roots, which see what is rare. Covariates stand beside the ASVs, as they are.

Shapes: N samples, V ASVs of a vocabulary, K numbers of covariates, T trees, P
nodes of all trees together, C classes.

References
----------
.. [1] Geurts, P., Ernst, D., & Wehenkel, L. (2006). Extremely randomized trees. Machine Learning,
   63, 3-42.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix, hstack

from q2_aam.core.data import progress

POWERS = (2.0, 0.5)
"""What trees are grown on, as powers of square roots of relative abundances."""

TREES_OF_EACH = 100
"""Trees of each power."""

SHARE_OF_FEATURES = 0.3
"""Share of the ASVs that are tried at a split."""

LEAST_IN_LEAF = 2
"""Samples in a leaf at least, where numbers are predicted; of classes one is enough."""

LEAST_PREVALENCE = 2
"""Samples that have an ASV at least; one that a single sample has tells nothing of others."""

MOST_FEATURES = 5000
"""ASVs that trees look at: the most prevalent ones."""

MOST_TRIED, FEWEST_TRIED = 500, 50
"""ASVs that are tried at a split at most, and at least where there are so many."""

WORK = 600_000
"""Samples times ASVs tried at a split, at most: with more samples, fewer ASVs are tried."""

MOST_STEPS = 100
"""Splits on the way to a leaf at most."""

SAMPLES_AT_A_TIME, TREES_AT_A_TIME = 256, 10


@dataclass(frozen=True, eq=False)
class Trees:
    """Binary trees, one after the other, the nodes of each in depth-first order.

    A sample goes from a node to the next one if its value is at most the threshold, and otherwise
    as many nodes further as ``skip`` says.

    Parameters
    ----------
    feature : ndarray of shape (P,), int32
        Number of an ASV in the vocabulary, or of a covariate behind them.
    threshold : ndarray of shape (P,), float32
        Square root of its relative abundance, or value of the covariate.
    skip : ndarray of shape (P,), int32
        Nodes between this one and its right child; 0 in a leaf.
    value : ndarray of shape (P,), float32
        What a node predicts: the target, or the number of a class.
    sizes : ndarray of shape (T,), int32
        Nodes of each tree; the sum is P.
    """

    feature: np.ndarray
    threshold: np.ndarray
    skip: np.ndarray
    value: np.ndarray
    sizes: np.ndarray

    def numbers(self, roots: csr_matrix) -> np.ndarray:
        """Predict numbers (N,) from what `side_by_side` gives: what the trees say on average."""
        return self._values(roots).mean(axis=1)

    def shares(self, roots: csr_matrix, class_factors: np.ndarray) -> np.ndarray:
        """Return which share of the trees is for each class (N, C), as `class_factors` weigh them.

        Parameters
        ----------
        roots : csr_matrix of shape (N, V + K)
            As `side_by_side` gives it.
        class_factors : ndarray of shape (C,)
            What votes for a class are multiplied with, before the shares are made to sum to one.
        """
        said = np.clip(self._values(roots), 0, len(class_factors) - 1).astype(np.int64)
        votes = np.zeros((len(said), len(class_factors)))
        np.add.at(votes, (np.arange(len(said))[:, None], said), 1.0)
        weighed = votes * class_factors
        return weighed / weighed.sum(axis=1, keepdims=True)

    def _values(self, roots: csr_matrix) -> np.ndarray:
        """Return what each tree predicts, (N, T)."""
        parts = [
            self.value[self._leaves(roots[start : start + SAMPLES_AT_A_TIME])]
            for start in range(0, roots.shape[0], SAMPLES_AT_A_TIME)
        ]
        return np.concatenate(parts).astype(float)

    def _leaves(self, roots: csr_matrix) -> np.ndarray:
        dense, rows = roots.astype(np.float32).toarray(), np.arange(roots.shape[0])[:, None]
        first = np.cumsum(self.sizes) - self.sizes
        node = np.broadcast_to(first, (len(rows), len(first)))
        for _ in range(MOST_STEPS):
            skip = self.skip[node]
            if not skip.any():
                break
            right = dense[rows, self.feature[node]] > self.threshold[node]
            onwards = node + np.where(right, skip, np.minimum(skip, 1))
            # Whatever a damaged model points to, no node is beyond the last.
            node = np.minimum(onwards, len(self.skip) - 1)
        return node


def side_by_side(roots: csr_matrix, covariates: np.ndarray | None) -> csr_matrix:
    """Put the covariates (N, K) of samples, if there are any, behind their ASVs (N, V)."""
    if covariates is None:
        return roots
    return csr_matrix(hstack([roots, csr_matrix(covariates.astype(float))]))


def grow(
    roots: csr_matrix,
    target: np.ndarray,
    *,
    covariates: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    classes: bool = False,
    trees_of_each: int = TREES_OF_EACH,
    seed: int = 0,
    threads: int = 1,
) -> Trees:
    """Grow trees that predict a target from the abundances of ASVs.

    Parameters
    ----------
    roots : csr_matrix of shape (N, V)
        Square roots of relative abundances.
    target : ndarray of shape (N,)
        Numbers, or numbers of classes.
    covariates : ndarray of shape (N, K), optional
    weights : ndarray of shape (N,), optional
        How much each sample counts.
    classes : bool
        Whether the target is categorical.
    trees_of_each : int
        Trees of each power, a multiple of `TREES_AT_A_TIME`.
    seed : int
        Of the random draws.
    threads : int
        Processors to use; the result does not depend on it.
    """
    features, n_asvs = _told_by(roots), roots.shape[1]
    seen = roots[:, features].astype(np.float32).toarray()
    beside = np.zeros((len(target), 0)) if covariates is None else covariates
    features = np.concatenate([features, n_asvs + np.arange(beside.shape[1])])
    options = {
        "max_features": _tried(len(target), len(features)),
        "max_depth": MOST_STEPS,
        "n_jobs": threads,
    }
    parts = []
    with progress.part("Growing trees", len(POWERS) * trees_of_each) as done:
        for power in POWERS:
            both = np.concatenate([seen**power, beside], axis=1, dtype=np.float32)
            known = both, target, weights
            for tree, numbers in _forest(known, classes, trees_of_each, seed, options):
                parts.append(_nodes(tree, numbers, power, seen.shape[1]))
                done(1)
    feature, threshold, skip, value = (
        np.concatenate(arrays) for arrays in zip(*parts, strict=True)
    )
    sizes = np.array([len(part[0]) for part in parts], dtype=np.int32)
    return Trees(features[feature].astype(np.int32), threshold, skip, value, sizes)


def _tried(n_samples: int, n_features: int) -> int:
    """Return how many ASVs are tried at a split, so that time does not run away."""
    most = min(MOST_TRIED, max(WORK // n_samples, FEWEST_TRIED))
    return max(1, min(int(SHARE_OF_FEATURES * n_features), most))


def _forest(known, classes, n_trees, seed, options):
    """Grow the trees of one power; yield each with its numbers of classes, or None."""
    # A fitted tree is large where there are many classes, so few are held at a time.
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    rng = np.random.RandomState(seed)
    for _ in range(n_trees // TREES_AT_A_TIME):
        if classes:
            some = ExtraTreesClassifier(TREES_AT_A_TIME, random_state=rng, **options)
        else:
            some = ExtraTreesRegressor(
                TREES_AT_A_TIME, min_samples_leaf=LEAST_IN_LEAF, random_state=rng, **options
            )
        some.fit(*known)
        numbers = some.classes_ if classes else None
        yield from ((tree.tree_, numbers) for tree in some.estimators_)


def _told_by(roots: csr_matrix) -> np.ndarray:
    """Choose the ASVs that trees look at."""
    prevalence = np.bincount(roots.indices, minlength=roots.shape[1])
    order = np.argsort(-prevalence, kind="stable")[:MOST_FEATURES]
    often = order[prevalence[order] >= LEAST_PREVALENCE]
    return np.sort(often if len(often) else order)


def _nodes(tree, numbers: np.ndarray | None, power: float, n_asvs: int) -> tuple[np.ndarray, ...]:
    """Turn a tree of scikit-learn into the arrays of `Trees`, with its own numbers of ASVs.

    What comes after the ASVs was not raised to the power.
    """
    left, right = tree.children_left, tree.children_right
    place, leaf = np.arange(len(left)), left < 0
    if not (leaf | (left == place + 1)).all():
        raise RuntimeError("This release of scikit-learn does not keep trees depth first.")
    skip = np.where(leaf, 0, right - place).astype(np.int32)
    said = tree.value[:, 0, 0] if numbers is None else numbers[tree.value[:, 0].argmax(axis=1)]
    feature, threshold = (np.where(leaf, 0, x) for x in (tree.feature, tree.threshold))
    is_asv = feature < n_asvs
    threshold[is_asv] **= 1 / power
    return feature, _not_above(threshold), skip, said.astype(np.float32)


def _not_above(values: np.ndarray) -> np.ndarray:
    """Round to single precision downwards, so that no such number changes its side."""
    single = values.astype(np.float32)
    return np.where(single > values, np.nextafter(single, np.float32(-np.inf)), single)
