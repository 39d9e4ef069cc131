"""How alike samples are in which ASVs they have and how much of each (torch-free).

Shapes: N and M samples, V ASVs of a vocabulary, U other ASVs, L nucleotides.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csc_matrix, csr_matrix

from q2_aam.core.data import nucleotides
from q2_aam.core.model.stored_samples.gapped_search import GappedSearch

LEAST_IDENTITY = 0.97
"""Share of a sequence that is the same from which on an unknown ASV stands for its nearest known
one: the customary bound of an operational taxonomic unit. It is one less the number of differences
by the length of the longer sequence; see `gapped_differences` for what is counted."""

LEAST_NOTED = 0.001
"""Share of the reads of a sample from which on an ASV counts in the distance of logarithms."""

QUERIES_AT_A_TIME = 256


class Vocabulary:
    """ASVs that are known, and where others belong among them.

    Parameters
    ----------
    tokens : ndarray of shape (V, L), uint8
        Encoded sequences, padded with zeros.
    """

    def __init__(self, tokens: np.ndarray):
        self.tokens = tokens
        self._number = {_key(row): i for i, row in enumerate(tokens)}
        self._found: dict[bytes, int] = {}
        self._aligned: set[bytes] = set()
        self._bases: np.ndarray | None = None

    @cached_property
    def gapped(self) -> GappedSearch:
        """The same ASVs, to be searched with insertions and deletions."""
        return GappedSearch(self.tokens, LEAST_IDENTITY)

    def find(self, tokens: np.ndarray) -> np.ndarray:
        """Find each sequence, or the nearest one if `LEAST_IDENTITY` of it is the same.

        First, nucleotides are compared at their position, which is what reads between the same
        primers allow. What has no near ASV so is aligned, as an insertion or deletion moves all
        that follows. What was found is kept, as the batches of a prediction share ASVs.

        Parameters
        ----------
        tokens : ndarray of shape (U, L'), uint8

        Returns
        -------
        ndarray of shape (U,), int64
            Number in the vocabulary, or -1.
        """
        keys = [_key(row) for row in tokens]
        known, found = self._number, self._found
        new = [i for i, key in enumerate(keys) if key not in known and key not in found]
        for start in range(0, len(new), QUERIES_AT_A_TIME):
            rows = new[start : start + QUERIES_AT_A_TIME]
            nearest = self._nearest(tokens[rows]).tolist()
            found.update((keys[i], number) for i, number in zip(rows, nearest, strict=True))
        return np.array([known.get(key, found.get(key)) for key in keys], dtype=np.int64)

    def find_exactly(self, tokens: np.ndarray) -> np.ndarray:
        """Find each sequence (U, L') itself: its number in the vocabulary (U,), or -1."""
        return np.array([self._number.get(_key(row), -1) for row in tokens], dtype=np.int64)

    def in_frame(self, tokens: np.ndarray) -> np.ndarray:
        """Replace sequences that are known only if they are aligned by the ASVs they stand for.

        Parameters
        ----------
        tokens : ndarray of shape (U, L'), uint8

        Returns
        -------
        ndarray of shape (U, L''), uint8
            As wide as the longest.
        """
        number = self.find(tokens)
        moved = np.array([_key(row) in self._aligned for row in tokens], dtype=bool)
        longest = int(nucleotides.lengths(self.tokens[number[moved]]).max(initial=tokens.shape[1]))
        replaced = nucleotides.padded(tokens, longest)
        width = min(longest, self.tokens.shape[1])
        replaced[moved] = 0
        replaced[moved, :width] = self.tokens[number[moved], :width]
        return replaced

    def _nearest(self, tokens: np.ndarray) -> np.ndarray:
        best, identity = self.compare(tokens)
        best[identity < LEAST_IDENTITY] = -1
        far = np.flatnonzero(best < 0)
        if len(far):
            best[far] = self.gapped.find(tokens[far])
            self._aligned |= {_key(tokens[i]) for i in far[best[far] >= 0]}
        return best

    def compare(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the ASV that is most similar to each sequence, position by position.

        Parameters
        ----------
        tokens : ndarray of shape (U, L'), uint8
            A few hundred at most, as memory for U · V numbers is taken.

        Returns
        -------
        number : ndarray of shape (U,), int64
            In the vocabulary.
        identity : ndarray of shape (U,)
            Share of the longer sequence that is the same, from 0 to 1.
        """
        if self._bases is None:
            self._bases = _one_hot(self.tokens)
        width = self.tokens.shape[1]
        fitted = np.zeros((len(tokens), width), dtype=np.uint8)
        fitted[:, : tokens.shape[1]] = tokens[:, :width]
        equal = _one_hot(fitted) @ self._bases.T  # [U, V]
        longer = np.maximum(nucleotides.lengths(tokens)[:, None], nucleotides.lengths(self.tokens))
        identity = equal / np.maximum(longer, 1)
        best = identity.argmax(axis=1)
        return best, identity[np.arange(len(best)), best]


def _key(row: np.ndarray) -> bytes:
    return row.tobytes().rstrip(bytes([nucleotides.PAD]))


def _one_hot(tokens: np.ndarray) -> np.ndarray:
    bases = nucleotides.FIRST_BASE + np.arange(len(nucleotides.BASES), dtype=np.uint8)
    return (tokens[:, :, None] == bases).reshape(len(tokens), -1).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Composition:
    """What samples consist of, in terms of a vocabulary.

    Parameters
    ----------
    roots : csr_matrix of shape (N, V), float64
        Square roots of relative abundances (Hellinger transform [1]_).
    mass : ndarray of shape (N,)
        Sum of the roots, of ASVs outside the vocabulary too.
    richness : ndarray of shape (N,)
        Number of ASVs, of those outside too.
    log_squares : ndarray of shape (N,)
        Sum of the squared logarithms that `log_distance` compares, of ASVs outside too.
    known : ndarray of shape (N,)
        Share of the reads that are inside, from 0 to 1.

    References
    ----------
    .. [1] Legendre, P., & Gallagher, E. D. (2001). Ecologically meaningful transformations for
       ordination of species data. Oecologia, 129, 271-280.
    """

    roots: csr_matrix
    mass: np.ndarray
    richness: np.ndarray
    log_squares: np.ndarray
    known: np.ndarray

    @cached_property
    def logs(self) -> csr_matrix:
        """What `log_distance` compares, (N, V)."""
        return _like(self.roots, _logarithms(np.square(self.roots.data)))

    @cached_property
    def present(self) -> csr_matrix:
        """1 where a sample has an ASV, (N, V)."""
        return _like(self.roots, np.ones_like(self.roots.data))

    @cached_property
    def columns(self) -> csc_matrix:
        """The roots by ASV, (N, V)."""
        return csc_matrix(self.roots)

    @classmethod
    def of(cls, counts: csr_matrix, column: np.ndarray, width: int) -> "Composition":
        """Describe counts (N, F) whose features have these columns, or -1, in the vocabulary."""
        depth = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1)
        shares = csr_matrix(counts, dtype=float, copy=True)
        shares.data /= np.repeat(depth, np.diff(shares.indptr))
        inside = column[shares.indices] >= 0
        row = np.repeat(np.arange(shares.shape[0]), np.diff(shares.indptr))
        roots = csr_matrix(
            (shares.data[inside], (row[inside], column[shares.indices[inside]])),
            shape=(shares.shape[0], width),
        )
        known = np.asarray(roots.sum(axis=1)).ravel()
        roots.data = np.sqrt(roots.data)
        out = np.bincount(row[~inside], np.sqrt(shares.data[~inside]), len(depth))
        mass = np.asarray(roots.sum(axis=1)).ravel() + out
        richness = np.diff(roots.indptr) + np.bincount(row[~inside], minlength=len(depth))
        log_squares = _sums_of_log_squares(roots) + np.bincount(
            row[~inside], np.square(_logarithms(shares.data[~inside])), len(depth)
        )
        return cls(roots, mass, richness, log_squares, known)

    @classmethod
    def inside(cls, roots: csr_matrix) -> "Composition":
        """Describe samples that have no ASV outside the vocabulary by their roots (N, V)."""
        mass, richness = np.asarray(roots.sum(axis=1)).ravel(), np.diff(roots.indptr)
        known = np.ones(len(mass))
        return cls(roots, mass, richness.astype(float), _sums_of_log_squares(roots), known)


def abundance_distances(a: Composition, b: Composition) -> tuple[np.ndarray, np.ndarray]:
    """Return how far samples are apart in the abundances that they share.

    Returns
    -------
    bray_curtis : ndarray of shape (N, M)
        Bray-Curtis dissimilarities of relative abundances, from 0 to 1.
    absolute : ndarray of shape (N, M)
        Sums of the absolute differences of their roots.
    """
    # The root of the lesser share is the lesser root, so both sums come from one visit.
    common_roots, common_shares = _common(a.roots, b.columns)
    absolute = a.mass[:, None] + b.mass - 2 * common_roots
    return np.maximum(1 - common_shares, 0.0), np.maximum(absolute, 0.0)


def _like(matrix: csr_matrix, values: np.ndarray) -> csr_matrix:
    """Return a matrix with other values at the same places."""
    return csr_matrix((values, matrix.indices, matrix.indptr), matrix.shape)


def _common(a: csr_matrix, columns: csc_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Sum the lesser of two values over the columns, and its square, (N, M) each."""
    least, squares = (np.zeros((a.shape[0], columns.shape[0])) for _ in range(2))
    starts, ends = columns.indptr[:-1], columns.indptr[1:]
    for i in range(len(least)):
        span = slice(a.indptr[i], a.indptr[i + 1])
        own, value = a.indices[span], a.data[span]
        n = ends[own] - starts[own]
        where = np.repeat(starts[own] - np.cumsum(n) + n, n) + np.arange(n.sum())
        smaller, row = np.minimum(columns.data[where], np.repeat(value, n)), columns.indices[where]
        least[i] = np.bincount(row, smaller, least.shape[1])
        squares[i] = np.bincount(row, smaller * smaller, least.shape[1])
    return least, squares


def hellinger_distance(a: Composition, b: Composition) -> np.ndarray:
    """Return the Euclidean distances of the roots, (N, M), from 0 to √2."""
    return np.sqrt(np.maximum(2 - 2 * _product(a.roots, b.roots), 0.0))


def log_distance(a: Composition, b: Composition) -> np.ndarray:
    """Return the Euclidean distances of log(1 + share / `LEAST_NOTED`), (N, M).

    The logarithm sees rare ASVs, and what is far below the bound is as good as absent.
    """
    squared = np.add.outer(a.log_squares, b.log_squares) - 2 * _product(a.logs, b.logs)
    return np.sqrt(np.maximum(squared, 0.0))


def _product(a: csr_matrix, b: csr_matrix) -> np.ndarray:
    return (a @ b.T).toarray()


def _sums_of_log_squares(roots: csr_matrix) -> np.ndarray:
    squares = _like(roots, np.square(_logarithms(np.square(roots.data))))
    return np.asarray(squares.sum(axis=1)).ravel()


def _logarithms(shares: np.ndarray) -> np.ndarray:
    return np.log1p(shares / LEAST_NOTED)


def jaccard_similarity(a: Composition, b: Composition) -> np.ndarray:
    """Return the share of common ASVs among those of either sample, (N, M), from 0 to 1."""
    common = _product(a.present, b.present)
    return common / np.maximum(a.richness[:, None] + b.richness - common, 1)


def euclidean_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the Euclidean distances of the rows of a (N, D) and b (M, D)."""
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.sqrt(np.maximum(squared, 0.0))


def median_distance(distances: np.ndarray) -> float:
    """Return the median of the distances (N, N) between different samples, or 1 if that is 0."""
    apart = distances[np.triu_indices(len(distances), 1)]
    median = float(np.median(apart)) if len(apart) else 0.0
    return median if median > 0 else 1.0
