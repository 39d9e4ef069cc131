"""Phylogenetic targets of given samples, computed exactly (torch-free).

Shapes: N, A, B samples, R reference samples, F features, E branches.

With presence x_i of a sample on branches of length l, what samples i and j share is the sum of
l x_i x_j, and what a sample has in total is the sum of l x_i; so a rectangle of unweighted UniFrac
distances is one product of sparse matrices [2]_, [4]_.

References
----------
.. [1] Lozupone C, Knight R (2005). UniFrac: a new phylogenetic method for comparing microbial
   communities. Appl Environ Microbiol 71:8228-8235.
.. [2] McDonald D et al. (2018). Striped UniFrac: enabling microbiome analysis at unprecedented
   scale. Nat Methods 15:847-848.
.. [3] Lozupone CA et al. (2007). Quantitative and qualitative beta diversity measures lead to
   different insights into factors that structure microbial communities. Appl Environ Microbiol
   73:1576-1585.
.. [4] Faith DP (1992). Conservation evaluation and phylogenetic diversity. Biol Conserv 61:1-10.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import biom
import h5py
import numpy as np
from scipy.sparse import csr_matrix

from q2_aam.core.data.temporary_files import temporary_directory
from q2_aam.core.phylogeny.branches import BranchTable, pruned_newick
from q2_aam.core.phylogeny.path_sums import Subtrees

ROWS_AT_A_TIME = 1024
MAX_PATH_SUMS = 2**25
"""Numbers that are kept at most, 256 MiB, to compare samples with references the faster."""


class UniFracTargets:
    """UniFrac distances, or Faith's phylogenetic diversity, of given samples.

    Parameters
    ----------
    branches : BranchTable
    metric : {'unweighted', 'weighted_normalized', 'faith_pd'}
        Unweighted UniFrac [1]_ is the share of the branch length under two samples that leads to
        only one of them. Weighted normalized UniFrac [3]_ is the sum over branches of l |p - q|
        over that of l (p + q), with p and q the shares of the samples' reads below a branch.
        Faith PD [4]_ is the branch length under a sample, the root's own branch not counted.
    references : csr_matrix of shape (R, F), optional
        Counts of the samples to compare with; without it, samples are compared with each other.

    Notes
    -----
    A sample without reads, or under which all lengths are zero, has a diversity of 0; its
    distance is 0 to another such and 1 to all others.
    """

    def __init__(
        self,
        branches: BranchTable,
        metric: str = "unweighted",
        references: csr_matrix | None = None,
    ):
        self.branches, self.metric, self.references = branches, metric, references
        self._reference_side = None if references is None else self._on_branches(references)
        self._subtrees = None
        if self._sums_pay():
            self._subtrees = Subtrees(branches.tips, branches.parent)
            self._path_sums = self._values()
            self._subtrees.sum_paths(self._path_sums)

    def __call__(self, counts: csr_matrix) -> np.ndarray:
        """Compute the targets of samples.

        Parameters
        ----------
        counts : csr_matrix of shape (B, F)

        Returns
        -------
        ndarray of float32, of shape (B, R), or (B, B) without references, or (B,) for faith_pd
        """
        if self.metric != "faith_pd" and self.references is None:
            mine = self._on_branches(counts)
            return self._distances(mine, mine)
        starts = range(0, max(counts.shape[0], 1), ROWS_AT_A_TIME)
        return np.concatenate([self._targets(counts[i : i + ROWS_AT_A_TIME]) for i in starts])

    def between(self, a: csr_matrix, b: csr_matrix) -> np.ndarray:
        """Compute the distances of samples a (A, F) to samples b (B, F), as (A, B) float32."""
        return self._distances(self._on_branches(a), self._on_branches(b))

    def _sums_pay(self) -> bool:
        """Whether sums along paths can be kept, which need no visit to each branch of a sample."""
        if self.metric == "faith_pd":
            return True
        if self.metric == "weighted_normalized" or self.references is None:
            return False
        return (1 + self.references.shape[0]) * len(self.branches.lengths) <= MAX_PATH_SUMS

    def _values(self) -> np.ndarray:
        """Return what is summed over the branches of a sample, (E, 1 + R).

        That is a branch's length, and its length as far as it leads to a reference.
        """
        lengths, side = self.branches.lengths, self._reference_side
        values = np.zeros((len(lengths), 1 if side is None else 1 + side.shape[0]))
        values[:, 0] = lengths
        if side is not None:
            column = np.repeat(np.arange(1, values.shape[1]), np.diff(side.indptr))
            values[side.indices, column] = lengths[side.indices]
        return values

    def _targets(self, counts: csr_matrix) -> np.ndarray:
        """Return distances to the references (B, R), or diversities (B,)."""
        if self._subtrees is None:
            return self._distances(self._on_branches(counts), self._reference_side)
        counts = _reads(counts)
        sums = self._subtrees.sums(counts, self._path_sums)
        if self.metric == "faith_pd":
            return sums[:, 0].astype(np.float32)
        total = sums[:, :1] + (self._reference_side @ self.branches.lengths)
        shared = sums[:, 1:]
        return _ratio(total - 2 * shared, total - shared)

    def _on_branches(self, counts) -> csr_matrix:
        """Return presence, or the share of the reads, of samples on branches (N, E)."""
        counts = _reads(counts)
        if self.metric == "weighted_normalized":
            totals = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1)
            shares = csr_matrix(counts, dtype=np.float64, copy=True)
            shares.data /= np.repeat(totals, np.diff(shares.indptr))
            return csr_matrix(shares @ self.branches.above)
        present = csr_matrix((np.ones(counts.nnz), counts.indices, counts.indptr), counts.shape)
        on_branches = csr_matrix(present @ self.branches.above)
        on_branches.data[:] = 1
        return on_branches

    def _distances(self, a: csr_matrix, b: csr_matrix) -> np.ndarray:
        lengths = self.branches.lengths
        total = (a @ lengths)[:, None] + (b @ lengths)[None]
        if self.metric == "weighted_normalized":
            # |p - q| = p + q - 2 min(p, q)
            return _ratio(total - 2 * _shared_shares(a, b, lengths), total)
        weighed = csr_matrix((lengths[a.indices], a.indices, a.indptr), a.shape)
        shared = (weighed @ b.T).toarray()
        return _ratio(total - 2 * shared, total - shared)


def _reads(counts: csr_matrix) -> csr_matrix:
    """Leave stored zeros out, which are no reads, and add up what is stored twice."""
    if counts.has_canonical_format and counts.data.all():
        return counts
    counts = counts.copy()
    counts.sum_duplicates()
    counts.eliminate_zeros()
    return counts


def _ratio(apart: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return distances (A, B) as float32."""
    distances = np.divide(apart, whole, out=np.zeros_like(whole), where=whole > 0)
    return np.clip(distances, 0, 1).astype(np.float32)


def _shared_shares(a: csr_matrix, b: csr_matrix, lengths) -> np.ndarray:
    """Sum l min(p, q) over branches for each pair, (A, B); only branches of a count."""
    by_branch = b.tocsc()
    shared = np.zeros((a.shape[0], b.shape[0]))
    for i in range(a.shape[0]):
        span = slice(a.indptr[i], a.indptr[i + 1])
        columns = a.indices[span]
        others = by_branch[:, columns].toarray()  # (B, branches of sample i)
        shared[i] = np.minimum(others, a.data[span]) @ lengths[columns]
    return shared


def pairwise_matrix(
    counts: csr_matrix,
    feature_ids: Sequence[str],
    tree_path: str | Path,
    metric: str,
    threads: int = 1,
) -> np.ndarray:
    """Compute all distances among samples with the unifrac library.

    Parameters
    ----------
    counts : csr_matrix of shape (N, F)
    feature_ids : sequence of str
    tree_path : path
        Newick file.
    metric : {'unweighted', 'weighted_normalized'}
    threads : int

    Returns
    -------
    ndarray of shape (N, N), float32

    Raises
    ------
    ValueError
        If there is no room for temporary files, or the tree does not fit.
    """
    import unifrac
    from threadpoolctl import threadpool_limits

    compute = {
        "unweighted": unifrac.unweighted,
        "weighted_normalized": unifrac.weighted_normalized,
    }[metric]
    with temporary_directory() as directory:
        table_path, pruned_path = directory / "table.biom", directory / "tree.nwk"
        table_path.write_bytes(_biom_file(counts))
        pruned_path.write_text(pruned_newick(tree_path, feature_ids))
        with threadpool_limits(threads, user_api="openmp"):  # its own argument does nothing
            matrix = compute(str(table_path), str(pruned_path))
    row_of = {name: i for i, name in enumerate(matrix.ids)}
    order = [row_of[f"s{i}"] for i in range(counts.shape[0])]
    distances = np.array(matrix.data[np.ix_(order, order)], dtype=np.float32)
    return np.nan_to_num(distances, copy=False)  # without any branch length, 0/0 is 0 here


def _biom_file(counts: csr_matrix) -> bytes:
    """Write counts as a BIOM file whose samples are s0, s1, … and whose features f0, f1, …

    It is made in memory since HDF5 does not say in an orderly way that a disk is full.
    """
    seen = np.unique(counts.indices)
    table = biom.Table(
        counts.T.tocsr()[seen], [f"f{i}" for i in seen], [f"s{i}" for i in range(counts.shape[0])]
    )
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        table.to_hdf5(file, "q2-aam")
    return content.getvalue()
