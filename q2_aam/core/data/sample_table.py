"""Samples, their ASV counts and the ASVs' sequences, ready for the model (torch-free)."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_matrix, vstack

from q2_aam.core.data import messages, nucleotides
from q2_aam.core.data.feature_names import shorten
from q2_aam.core.data.sequences import Sequences, read_sequences, sequences_of

log = logging.getLogger(__name__)

MAX_COUNT = 2**31 - 1


@dataclass(frozen=True, eq=False)
class SampleTable:
    """Counts of ASVs in samples, with the ASVs' sequences as tokens.

    Features are in the order of their sequences (then ids), whatever their order in the input, so
    nothing downstream depends on it.

    Parameters
    ----------
    counts : csr_matrix of shape (n_samples, n_features), dtype int64
        Reads; no stored zeros, indices sorted.
    sample_ids, feature_ids : tuple of str
        Row and column names.
    tokens : ndarray of shape (n_features, L), dtype uint8
        Encoded sequences, padded with zeros to the longest.
    covariates : ndarray of shape (n_samples, K), dtype float32, optional
        What else is known of the samples, as `model.covariates` encodes it.
    """

    counts: csr_matrix
    sample_ids: tuple[str, ...]
    feature_ids: tuple[str, ...]
    tokens: np.ndarray
    covariates: np.ndarray | None = None

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return len(self.sample_ids)

    @property
    def depths(self) -> np.ndarray:
        """Reads of each sample, of shape (n_samples,)."""
        return np.asarray(self.counts.sum(axis=1)).ravel()

    @property
    def richness(self) -> np.ndarray:
        """Distinct ASVs of each sample, of shape (n_samples,)."""
        return np.diff(self.counts.indptr)

    @property
    def read_lengths(self) -> np.ndarray:
        """Nucleotides of each ASV, of shape (n_features,)."""
        return (self.tokens != nucleotides.PAD).sum(axis=1)

    def take(self, rows: Iterable[int]) -> "SampleTable":
        """Keep the samples at these row numbers, in this order; features stay as they are."""
        rows = np.asarray(list(rows), dtype=np.int64)
        ids = tuple(self.sample_ids[i] for i in rows)
        covariates = None if self.covariates is None else self.covariates[rows]
        return replace(self, counts=self.counts[rows], sample_ids=ids, covariates=covariates)

    def select(self, sample_ids: Iterable[str]) -> "SampleTable":
        """Keep these samples, in this order."""
        row_of = {name: i for i, name in enumerate(self.sample_ids)}
        return self.take(row_of[name] for name in sample_ids)

    def observed(self) -> "SampleTable":
        """Drop the features that no sample has."""
        seen = np.unique(self.counts.indices)
        if len(seen) == len(self.feature_ids):
            return self
        counts = self.counts[:, seen]
        counts.sort_indices()
        ids = tuple(self.feature_ids[i] for i in seen)
        return replace(self, counts=counts, feature_ids=ids, tokens=self.tokens[seen])

    def without(self, feature_ids: Iterable[str]) -> "SampleTable":
        """Drop these features and their reads."""
        dropped = set(feature_ids)
        kept = [i for i, name in enumerate(self.feature_ids) if name not in dropped]
        ids = tuple(self.feature_ids[i] for i in kept)
        return replace(
            self, counts=self.counts[:, kept], feature_ids=ids, tokens=self.tokens[kept]
        )


def stack(first: SampleTable, second: SampleTable) -> SampleTable:
    """Put the samples of two tables of the same features under each other.

    Raises
    ------
    ValueError
        If the features are not the same.
    """
    if first.feature_ids != second.feature_ids:
        raise ValueError("Only tables of the same features can be put under each other.")
    counts = csr_matrix(vstack([first.counts, second.counts]))
    covariates = None
    if first.covariates is not None:
        covariates = np.concatenate([first.covariates, second.covariates])
    ids = first.sample_ids + second.sample_ids
    return replace(first, counts=counts, sample_ids=ids, covariates=covariates)


def most_prevalent(tokens: np.ndarray, counts: csr_matrix, most: int) -> np.ndarray:
    """Choose the sequences that the most samples have, of those that any sample has.

    Parameters
    ----------
    tokens : ndarray of shape (n_features, L), uint8
        Encoded sequences; features of the same one count together.
    counts : csr_matrix of shape (n_samples, n_features)
    most : int
        Sequences to choose at most.

    Returns
    -------
    ndarray of shape (n, L), uint8
        Distinct, in the order of the sequences.
    """
    distinct, number = np.unique(tokens, axis=0, return_inverse=True)
    prevalence = np.bincount(number.ravel()[counts.indices], minlength=len(distinct))
    order = np.argsort(-prevalence, kind="stable")[:most]
    return distinct[np.sort(order[prevalence[order] > 0])]


def sample_table(
    table, sequences: Sequences, max_bp: int, *, chosen: bool = False, quiet: bool = False
) -> SampleTable:
    """Bring a feature table and its sequences together.

    Parameters
    ----------
    table : biom.Table
        Counts, features by samples.
    sequences : mapping of str to str, or path, optional
        Sequence of each feature, or a FASTA file; without it the feature ids must be sequences.
    max_bp : int
        Nucleotides to keep of each sequence.
    chosen : bool
        Whether `max_bp` can be chosen here, so that a warning of sequences that are cut helps.
    quiet : bool
        Say nothing of sequences that are cut.

    Raises
    ------
    ValueError
        If the table is empty, a count is not a whole number from 0 to 2³¹ - 1, or a feature has
        no valid sequence.
    """
    counts = _checked_counts(table)
    feature_ids = np.asarray(table.ids("observation"), dtype=object)
    sample_ids = tuple(str(name) for name in table.ids("sample"))
    kept = np.flatnonzero(counts.getnnz(axis=0))
    if not len(kept):
        raise ValueError(
            f"The feature table has no reads in any of its {len(sample_ids)} samples; check the "
            "filters that it went through."
        )
    text = sequences_of([str(feature_ids[i]) for i in kept], read_sequences(sequences))
    order = sorted(range(len(kept)), key=lambda i: (text[i], str(feature_ids[kept[i]])))
    kept = kept[order]
    counts = counts[:, kept]
    counts.sort_indices()
    ids = tuple(str(feature_ids[i]) for i in kept)
    text = [text[i] for i in order]
    tokens = _encode(text, ids, max_bp)
    if not quiet:
        _tell_of_cut(text, max_bp, chosen)
    return SampleTable(counts, sample_ids, ids, tokens)


def _checked_counts(table) -> csr_matrix:
    values = table.matrix_data.tocsr()
    if 0 in values.shape:
        raise ValueError(
            f"The feature table is empty: it has {values.shape[0]} features and "
            f"{values.shape[1]} samples."
        )
    wrong = ~np.isfinite(values.data) | (values.data < 0) | (values.data != np.floor(values.data))
    wrong |= values.data > MAX_COUNT
    if wrong.any():
        where = values.tocoo()
        i = np.flatnonzero(wrong)[0]
        raise ValueError(
            f"The feature table has {wrong.sum()} values that are not counts, such as "
            f"{where.data[i]:g} for feature '{table.ids('observation')[where.row[i]]}' in sample "
            f"'{table.ids('sample')[where.col[i]]}': expected whole numbers from 0 to "
            f"{MAX_COUNT}; give the table of raw counts, not relative or transformed values."
        )
    counts = csr_matrix(values.T.tocsr().astype(np.int64))
    counts.eliminate_zeros()
    return counts


def _encode(text, feature_ids, max_bp) -> np.ndarray:
    longest = max(len(sequence) for sequence in text)
    tokens = np.zeros((len(text), min(longest, max_bp)), dtype=np.uint8)
    for row, (sequence, name) in enumerate(zip(text, feature_ids, strict=True)):
        try:
            codes = nucleotides.encode(sequence, max_bp)
        except ValueError as error:
            raise ValueError(
                f"The sequence of feature '{shorten(name)}' cannot be read: {error}."
            ) from error
        tokens[row, : len(codes)] = codes
    return tokens


def _tell_of_cut(text: list[str], max_bp: int, chosen: bool) -> None:
    n_cut = sum(len(sequence) > max_bp for sequence in text)
    if n_cut and chosen:
        log.warning(
            "%d of %d sequences are longer than %d nt (up to %d nt), and the model reads only the "
            "first %d nt: to use them whole, raise max_bp (--p-max-bp), in pre-training too.",
            n_cut, len(text), max_bp, max(map(len, text)), max_bp,
        )  # fmt: skip
    elif n_cut and messages.whole() is None:  # training in a pipeline says it
        log.info("%d of %d sequences are longer than %d nt and are cut.", n_cut, len(text), max_bp)


def warn_of_other_lengths(table: SampleTable, shortest: int, longest: int) -> None:
    """Warn if most reads are clearly shorter or longer than those that a model was trained on.

    Parameters
    ----------
    table : SampleTable
        Samples to predict for; cut to the model's max_bp.
    shortest, longest : int
        Nucleotides of the training ASVs, cut in the same way.
    """
    lengths = table.read_lengths[table.counts.indices]
    other = (lengths < 0.9 * shortest) | (lengths > 1.1 * longest)
    reads, total = table.counts.data[other].sum(), table.counts.data.sum()
    if reads > total / 2:
        log.warning(
            "%.0f%% of the reads are much shorter or longer (such as %d nt) than the reads of "
            "the training samples (%d to %d nt), so predictions may be poor: use reads of the "
            "same region and length.",
            100 * reads / total, np.median(lengths[other]), shortest, longest,
            extra={"kind": messages.EACH},
        )  # fmt: skip
