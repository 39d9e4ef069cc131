"""Sums over the branches under samples, without a visit to every branch (torch-free).

The branches between the features of a sample and the root are a subtree. Take its features in the
order of the tree: each adds the branches on its path from the root, less those on the path of the
fork where it parts from the feature before it. So a sum over all branches of a sample needs two
sums along paths for each feature, however deep the tree, and the sums along paths can be computed
once for all samples.

Shapes: N samples, F features, E branches, K values of a branch.
"""

import numpy as np
from scipy.sparse import csr_matrix


class Subtrees:
    """The subtrees of samples in one phylogeny.

    Parameters
    ----------
    tips : ndarray of shape (F,), int64
        The branch that ends in each feature.
    parent : ndarray of shape (E,), int64
        The branch above each, or -1 below the root. A branch comes before those below it, and
        these come together.
    """

    def __init__(self, tips: np.ndarray, parent: np.ndarray):
        self._parent = parent
        order = np.argsort(tips)
        self._tips = tips[order]
        self._rank = np.empty_like(order)
        self._rank[order] = np.arange(len(order))
        self._forks = _range_minima(_forks(self._tips[:-1], self._tips[1:], self._parent))
        self._widths = np.frexp(np.arange(len(order) + 1))[1] - 1  # log2, rounded down

    def sum_paths(self, values: np.ndarray) -> None:
        """Replace the values of each branch by their sums from the root to it.

        Parameters
        ----------
        values : ndarray of shape (E, K), dtype float64
            Changed in place, as there may be hundreds of MiB of it.
        """
        for level in _levels(self._parent)[1:]:
            values[level] += values[self._parent[level]]

    def sums(self, counts: csr_matrix, path_sums: np.ndarray) -> np.ndarray:
        """Sum values over the branches under each sample.

        Parameters
        ----------
        counts : csr_matrix of shape (N, F)
            Without stored zeros or doubles.
        path_sums : ndarray of shape (E, K)
            Values as `sum_paths` leaves them.

        Returns
        -------
        ndarray of shape (N, K)
        """
        n, width = counts.shape[0], len(path_sums)
        row = np.repeat(np.arange(n), np.diff(counts.indptr))
        rank = np.sort(row * counts.shape[1] + self._rank[counts.indices]) - row * counts.shape[1]
        fork = self._forks_between(rank[:-1], rank[1:])
        fork[row[1:] != row[:-1]] = -1
        forked = fork >= 0  # the root's own sum is zero
        below = np.concatenate([[0, 0], np.cumsum(forked)])[: len(rank) + 1]
        tips = csr_matrix((np.ones(len(rank)), self._tips[rank], counts.indptr), (n, width))
        forks = csr_matrix(
            (np.ones(below[-1]), fork[forked], below[counts.indptr]), shape=(n, width)
        )
        return tips @ path_sums - forks @ path_sums

    def _forks_between(self, first: np.ndarray, last: np.ndarray) -> np.ndarray:
        """Return the branch above the fork of features by their ranks, or -1 for the root."""
        level = self._widths[np.maximum(last - first, 1)]
        return np.minimum(
            self._forks[level, first], self._forks[level, np.maximum(last - 2**level, 0)]
        )


def _forks(a: np.ndarray, b: np.ndarray, parent: np.ndarray) -> np.ndarray:
    """Return the lowest branch above both of each pair of branches, or -1 for the root."""
    a, b = a.copy(), b.copy()
    apart = np.flatnonzero(a != b)
    while len(apart):  # what is above comes first, so the later of the two climbs
        first, last = np.minimum(a[apart], b[apart]), np.maximum(a[apart], b[apart])
        a[apart], b[apart] = first, parent[last]
        apart = apart[first != parent[last]]
    return a


def _range_minima(values: np.ndarray) -> np.ndarray:
    """Return the minima of runs of 1, 2, 4, … values, one width a row, by where a run begins."""
    rows = [np.append(values, -1)]
    width = 1
    while 2 * width <= len(values):
        row = rows[-1].copy()
        row[:-width] = np.minimum(row[:-width], row[width:])
        rows.append(row)
        width *= 2
    return np.stack(rows)


def _levels(parent: np.ndarray) -> list[np.ndarray]:
    """Group branches by their number of branches above."""
    depth, above = (parent >= 0).astype(np.int64), parent.copy()
    while (above >= 0).any():  # each round counts twice as far
        on = above >= 0
        depth[on] += depth[above[on]]
        above[on] = above[above[on]]
    order = np.argsort(depth, kind="stable")
    return np.split(order, np.cumsum(np.bincount(depth))[:-1])
