"""Sequences that are nearly the same but for insertions and deletions (torch-free).

K-mers choose a few candidates, and an alignment judges each. The k-mers lose nothing: a sequence
that the alignment would accept has more k-mers in common than is asked for. It can be missed only
where more than `CANDIDATES` others have still more.

Shapes: U sequences asked for, V sequences of a vocabulary, W their k-mers, P pairs, L nucleotides.
"""

import numpy as np
from scipy.sparse import csr_matrix

from q2_aam.core.data import nucleotides

K = 12
"""Nucleotides of a k-mer: long enough to be rare, and short enough that many stay whole between
the differences of sequences that are nearly the same."""

SPARE = 8
"""K-mers that a candidate shares among those looked at, which are the rarest of a sequence."""

CANDIDATES = 8
"""Sequences of the vocabulary that are aligned with each sequence, at most."""

MOST_SHIFT = 16
"""Nucleotides by which insertions and deletions may move the rest of a sequence, at most."""

LEAST_SAVING = 3
"""How many times as many differences there must be position by position as with gaps. Otherwise
gaps would make few differences of substitutions that stand together."""

CELLS_AT_A_TIME = 2**25
"""Nucleotides times diagonals of the pairs that are aligned at a time."""

WORTH_A_COPY = 0.7
"""Share of pairs below which those that are not finished are copied, to work on them alone."""

_FAR = -(2**20)


class GappedSearch:
    """A vocabulary, to be searched for sequences that differ by insertions and deletions too.

    Parameters
    ----------
    tokens : ndarray of shape (V, L), uint8
        Encoded sequences, padded with zeros.
    least_identity : float
        Least share of a sequence, from 0 to 1, that is the same in one that is found.
    """

    def __init__(self, tokens: np.ndarray, least_identity: float):
        self.tokens, self.least_identity = tokens, least_identity
        codes, whole = _kmers(tokens)
        self.words, word = np.unique(codes[whole], return_inverse=True)
        row = np.repeat(np.arange(len(tokens)), whole.sum(axis=1))
        shape = (len(self.words), len(tokens))
        ones = np.ones(len(word), dtype=np.int32)
        self.having = csr_matrix((ones, (word.ravel(), row)), shape=shape)
        self.having.data[:] = 1  # a k-mer that occurs twice in a sequence counts once
        self.had = csr_matrix(self.having.T)
        self.frequency = np.append(np.diff(self.having.indptr), 0)  # the last is of none

    def find(self, tokens: np.ndarray) -> np.ndarray:
        """Find the nearest sequence of the vocabulary for each that is asked for.

        See `gapped_differences` for what is counted, and `LEAST_SAVING` for when gaps are taken.

        Parameters
        ----------
        tokens : ndarray of shape (U, L'), uint8

        Returns
        -------
        ndarray of shape (U,), int64
            Number in the vocabulary, or -1 where none is near.
        """
        found, least = np.full(len(tokens), -1), np.full(len(tokens), np.iinfo(np.int64).max)
        asked, known = self._candidates(tokens)
        place = np.arange(len(asked)) - np.searchsorted(asked, asked)
        width = max(tokens.shape[1], self.tokens.shape[1])
        step = max(1, CELLS_AT_A_TIME // (width * (2 * MOST_SHIFT + 1)))
        for nth in range(CANDIDATES):  # those after the best only have to be better
            pairs = np.flatnonzero(place == nth)
            for start in range(0, len(pairs), step):
                some = pairs[start : start + step]
                a, b = asked[some], known[some]
                both = tokens[a], self.tokens[b]
                left, right = (nucleotides.padded(part, width) for part in both)
                cost = self._differences(left, right, least[a] - 1)
                better = cost < least[a]
                found[a[better]], least[a[better]] = b[better], cost[better]
        return found

    def _differences(self, a: np.ndarray, b: np.ndarray, most: np.ndarray) -> np.ndarray:
        """Count the differences of pairs that are near; of others return a very high number."""
        longer = np.maximum(nucleotides.lengths(a), nucleotides.lengths(b))
        most = np.minimum(most, self._most(longer))
        cost = gapped_differences(a, b, most)
        near = (cost <= most) & (longer - _equal(a, b).sum(axis=1) >= LEAST_SAVING * cost)
        return np.where(near, cost, np.iinfo(np.int64).max)

    def common(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the sequence of the vocabulary that has most k-mers of each that is asked for.

        Wherever they stand, so this also finds sequences that begin at another place.

        Parameters
        ----------
        tokens : ndarray of shape (U, L'), uint8

        Returns
        -------
        number : ndarray of shape (U,), int64
            In the vocabulary; 0 where nothing is common.
        n_common : ndarray of shape (U,), int64
        """
        words, _ = self._words_of(tokens)
        shared = self._shared(words)
        number = np.asarray(shared.argmax(axis=1)).ravel()
        return number, shared.max(axis=1).toarray().ravel()

    def _most(self, length: np.ndarray) -> np.ndarray:
        """Return how many differences there may be where the longer sequence has this length."""
        return np.floor((1 - self.least_identity) * length + 1e-9).astype(np.int64)

    def _candidates(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return pairs of a sequence asked for and one of the vocabulary, the best ones first.

        A difference breaks up to K k-mers of a sequence, and moves one over its end at most. So of
        n k-mers, n - (K + 1) · differences are common to sequences that are near, and all but
        `SPARE` of the others may be missed. Common k-mers are many times as frequent as rare ones,
        so looking at the rarest saves nearly all the work.
        """
        words, whole = self._words_of(tokens)
        frequency = np.where(words >= 0, self.frequency[words], 0)
        frequency[~whole] = len(self.tokens) + 1  # beyond the end
        # The other sequence may be longer, by as many nucleotides as there may be differences.
        differences = self._most(nucleotides.lengths(tokens) / self.least_identity)
        n_broken = (K + 1) * differences
        rank = frequency.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
        looked_at = whole & (rank < (n_broken + SPARE)[:, None])
        needed = np.maximum(looked_at.sum(axis=1) - n_broken, 1)
        looked_at &= (differences > 0)[:, None]
        shared = self._shared(np.where(looked_at, words, -1))
        rows = np.repeat(np.arange(len(tokens)), np.diff(shared.indptr))
        enough = shared.data >= needed[rows]
        rows, columns, n = rows[enough], shared.indices[enough], shared.data[enough]
        rows, columns, _ = _best(rows, columns, n, 4 * CANDIDATES)
        # Of these few, all k-mers are counted.
        n = self._counts(words)[rows].multiply(self.had[columns]).sum(axis=1)
        n = np.asarray(n).ravel()
        enough = n >= (whole.sum(axis=1) - n_broken)[rows]
        rows, columns, _ = _best(rows[enough], columns[enough], n[enough], CANDIDATES)
        return rows, columns

    def _words_of(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Number the k-mers of sequences, (U, L - K + 1), and say which places have one at all.

        The number is -1 where no sequence of the vocabulary has this k-mer.
        """
        codes, whole = _kmers(tokens)
        if not len(self.words):
            return np.full(codes.shape, -1), whole
        place = np.minimum(np.searchsorted(self.words, codes), len(self.words) - 1)
        return np.where((self.words[place] == codes) & whole, place, -1), whole

    def _counts(self, words: np.ndarray) -> csr_matrix:
        """Count the k-mers of sequences, (U, W); -1 is none."""
        here = words >= 0
        row = np.repeat(np.arange(len(words)), here.sum(axis=1))
        ones, shape = np.ones(len(row), dtype=np.int32), (len(words), len(self.words))
        return csr_matrix((ones, (row, words[here])), shape=shape)

    def _shared(self, words: np.ndarray) -> csr_matrix:
        """Count the k-mers that each sequence of the vocabulary has, (U, V); -1 is none."""
        return csr_matrix(self._counts(words) @ self.having)


def _best(rows, columns, n, most) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keep so many columns of each row at most: those with the highest n, in this order."""
    order = np.lexsort((columns, -n, rows))
    rows, columns, n = rows[order], columns[order], n[order]
    kept = np.arange(len(rows)) - np.searchsorted(rows, rows) < most
    return rows[kept], columns[kept], n[kept]


def gapped_differences(a: np.ndarray, b: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Count the least differences between the sequences of pairs.

    A nucleotide that is another, is inserted, or is deleted counts one. So does each nucleotide by
    which one sequence goes on beyond the end of the other, but not those that gaps have moved
    there: of reads that are cut at one length, a deletion pulls the next nucleotide in at the end.
    Nothing equals an ambiguous nucleotide, as where sequences are compared without gaps.

    Parameters
    ----------
    a, b : ndarray of shape (P, L), uint8
        Encoded sequences, padded with zeros.
    most : ndarray of shape (P,), int64
        Count no further than this.

    Returns
    -------
    ndarray of shape (P,), int64
        ``most + 1`` where there are more differences, or where gaps move more than `MOST_SHIFT`
        nucleotides.

    Notes
    -----
    For each number of differences, it is computed how far the sequences agree along each diagonal
    of the alignment [1]_, in all pairs at once.

    References
    ----------
    .. [1] Ukkonen, E. (1985). Algorithms for approximate string matching. Information and Control,
       64, 100-118.
    """
    found, pairs = most + 1, np.arange(len(a))
    lengths = nucleotides.lengths(a), nucleotides.lengths(b)
    ends: dict[int, np.ndarray] = {}
    reached: dict[int, np.ndarray] = {}
    for differences in range(int(most.max(initial=-1)) + 1):
        widest = min(differences, MOST_SHIFT)
        for diagonal in {-widest, widest} - set(ends):
            ends[diagonal] = _ends_of_matches(a, b, diagonal)
        reached = _further(reached, ends, lengths)
        for diagonal, place in reached.items():
            beyond = lengths[1] - lengths[0] - diagonal
            moved = np.where(beyond * diagonal < 0, abs(diagonal), 0)
            total = differences + np.abs(beyond) - np.minimum(np.abs(beyond), moved)
            at_end = place >= np.minimum(lengths[0], lengths[1] - diagonal)
            found[pairs[at_end]] = np.minimum(found[pairs[at_end]], total[at_end])
        kept = differences + 1 < found[pairs]  # else nothing can be better
        if kept.mean() < WORTH_A_COPY:
            pairs, a, b = pairs[kept], a[kept], b[kept]
            lengths = lengths[0][kept], lengths[1][kept]
            ends = {diagonal: row[kept] for diagonal, row in ends.items()}
            reached = {diagonal: place[kept] for diagonal, place in reached.items()}
        if not kept.any():
            break
    return found


def _further(reached, ends, lengths) -> dict[int, np.ndarray]:
    """Return how many nucleotides of a are aligned on each diagonal with one difference more."""
    further = {}
    nowhere = np.full(len(lengths[0]), _FAR)
    for diagonal in sorted(ends):
        if reached:
            begin = np.maximum.reduce(
                [
                    reached.get(diagonal, nowhere) + 1,
                    reached.get(diagonal - 1, nowhere),
                    reached.get(diagonal + 1, nowhere) + 1,
                ]
            )
        else:
            begin = np.zeros(len(lengths[0]), dtype=np.int64)
        begin = np.minimum(begin, np.minimum(lengths[0], lengths[1] - diagonal))
        here = np.clip(begin, 0, None)[:, None]
        slid = np.take_along_axis(ends[diagonal], here, axis=1)[:, 0]
        further[diagonal] = np.where(begin >= max(0, -diagonal), slid, begin)
    return further


def _ends_of_matches(a: np.ndarray, b: np.ndarray, diagonal: int) -> np.ndarray:
    """Return where the match that begins at each place of a ends, a lying against b + diagonal."""
    n, width = a.shape
    shifted = np.zeros_like(b)
    if diagonal >= 0:
        shifted[:, : width - diagonal] = b[:, diagonal:]
    else:
        shifted[:, -diagonal:] = b[:, :diagonal]
    ends = np.empty((n, width + 1), dtype=np.min_scalar_type(width))
    ends[:, width] = width
    ends[:, :width] = np.where(
        _equal(a, shifted), np.int32(width), np.arange(width, dtype=np.int32)
    )
    return np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]


def _equal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    last = nucleotides.FIRST_BASE + len(nucleotides.BASES)
    return (a == b) & (a >= nucleotides.FIRST_BASE) & (a < last)


def _kmers(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the k-mers of each sequence, (U, L - K + 1), and say which lie within it."""
    n = max(tokens.shape[1] - K + 1, 0)
    codes = np.zeros((len(tokens), n), dtype=np.int64)
    for i in range(K):
        codes = codes * nucleotides.N_TOKENS + tokens[:, i : i + n]
    return codes, np.arange(n) <= (nucleotides.lengths(tokens) - K)[:, None]
