"""How much of new samples a model knows, and why it may know little.

A read is known if its ASV is an ASV of the samples that the model stores, or nearly the same.

Shapes: N samples, F features, U of these that are looked at, L nucleotides.
"""

import logging
from dataclasses import dataclass, replace

import numpy as np

from q2_aam.core.data import messages, nucleotides
from q2_aam.core.data.sample_table import SampleTable
from q2_aam.core.model.stored_samples.gapped_search import GappedSearch
from q2_aam.core.model.stored_samples.similarity import LEAST_IDENTITY, Vocabulary

log = logging.getLogger(__name__)

FEW_KNOWN = 0.5
"""Share of the reads of a sample below which few are known."""

MANY_SAMPLES = 0.1
"""Share of the samples with few known reads above which there is a warning."""

MOST_LOOKED_AT = 200
"""ASVs that are looked at for a cause, at most: those with most reads."""

LEAST_OVERLAP, LEAST_FIT, LEAST_RELATED = 20, 0.9, 0.7
"""Nucleotides that a read and an ASV both have at least where it fits at another place or on the
other strand, the share of them that is equal then, and where the read is related."""

SHORTEST_PRIMER, LEAST_READS, LEAST_AGREED = 10, 5, 0.8
"""Nucleotides from which on a common beginning may be a primer, ASVs that are needed to see it,
and the share of them and of the nucleotides that must agree."""


def known_shares(vocabulary: Vocabulary, samples: SampleTable) -> np.ndarray:
    """Return the share of the reads of each sample that are known.

    Parameters
    ----------
    vocabulary : Vocabulary
        The ASVs of the samples that the model stores.
    samples : SampleTable
        N samples, none of them empty.

    Returns
    -------
    ndarray of shape (N,)
        From 0 to 1.
    """
    known = vocabulary.find(samples.tokens) >= 0
    return (samples.counts @ known.astype(float)) / samples.depths


def warn_of_unknown_reads(vocabulary: Vocabulary, samples: SampleTable) -> None:
    """Say what share of the reads is known; warn if it is low in many samples, and say why.

    The parameters are those of `known_shares`.
    """
    samples = samples.observed()
    shares = known_shares(vocabulary, samples)
    known = 100 * np.average(shares, weights=samples.depths)
    few = np.flatnonzero(shares < FEW_KNOWN)
    if len(few) <= MANY_SAMPLES * len(shares):
        log.info("%.0f%% of the reads are near to an ASV of the stored training samples.", known)
        return
    worst = few[shares[few].argmin()]
    log.warning(
        "%.0f%% of the reads are near to an ASV of the stored training samples. In %d of %d "
        "samples it is less than %.0f%% (such as '%s' with %.0f%%), so predictions may be poor. "
        "%s qiime aam known-reads gives the share of each sample.",
        known,
        len(few),
        len(shares),
        100 * FEW_KNOWN,
        samples.sample_ids[worst],
        100 * shares[worst],
        likely_cause(vocabulary, samples),
        extra={"kind": messages.EACH},
    )


def in_frame(vocabulary: Vocabulary, samples: SampleTable) -> SampleTable:
    """Replace ASVs that are known, but only if they are aligned, by those that they are near to.

    The network reads nucleotides at their places, and an insertion or deletion moves them.

    Parameters
    ----------
    vocabulary : Vocabulary
    samples : SampleTable

    Returns
    -------
    SampleTable
        With other tokens; features keep their names.
    """
    read = np.unique(samples.counts.indices)
    own = vocabulary.in_frame(samples.tokens[read])
    tokens = nucleotides.padded(samples.tokens, own.shape[1])
    tokens[read] = own
    return replace(samples, tokens=tokens)


def _most_abundant(samples: SampleTable, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sequences (U, L) and reads (U,) of the most abundant of some features."""
    features = np.flatnonzero(which)
    reads = np.asarray(samples.counts.sum(axis=0)).ravel()[features]
    most = np.argsort(-reads, kind="stable")[:MOST_LOOKED_AT]
    return samples.tokens[features[most]], reads[most]


def likely_cause(vocabulary: Vocabulary, samples: SampleTable) -> str:
    """Say in a sentence why reads are unknown, after trying what is often the cause.

    Tried are the other strand, another beginning, primers that were left on, and another length.
    The parameters are those of `known_shares`; some reads are unknown.
    """
    tokens, reads = _most_abundant(samples, vocabulary.find(samples.tokens) < 0)
    forward = _Fit.of(tokens, vocabulary.gapped)
    backward = _Fit.of(nucleotides.reverse_complement(tokens), vocabulary.gapped)
    _, identity = vocabulary.compare(tokens)
    turned = backward.fits & (backward.n_equal > forward.n_equal)
    fits = forward.fits & ~turned
    kinds = {
        _other_strand: turned,
        _earlier: fits & (forward.shift < 0),
        _later: fits & (forward.shift > 0),
        _other_length: fits & (forward.shift == 0) & forward.differs_in_length,
        _related: ~turned & ~(fits & (forward.shift != 0)) & (identity >= LEAST_RELATED),
    }
    for explain, which in kinds.items():
        if reads[which].sum() > reads.sum() / 2:
            return explain(tokens[which], forward.take(which), vocabulary.tokens)
    if not any(which.any() for which in kinds.values()):
        return (
            "The other reads resemble none of the training reads on either strand, so they may be "
            "of another region or marker."
        )
    return "No single cause explains the other reads."


@dataclass(frozen=True, eq=False)
class _Fit:
    """Where reads fit best on the ASV that has most in common with each.

    Parameters
    ----------
    shift : ndarray of shape (U,)
        Place in the ASV at which the read begins; below 0 if it begins before.
    n_equal, n_both : ndarray of shape (U,)
        Nucleotides that are equal, and that both have.
    length, length_of_asv : ndarray of shape (U,)
    """

    shift: np.ndarray
    n_equal: np.ndarray
    n_both: np.ndarray
    length: np.ndarray
    length_of_asv: np.ndarray

    @property
    def fits(self) -> np.ndarray:
        return self.n_equal >= LEAST_FIT * self.n_both

    @property
    def differs_in_length(self) -> np.ndarray:
        return self.n_both < LEAST_IDENTITY * np.maximum(self.length, self.length_of_asv)

    def take(self, which: np.ndarray) -> "_Fit":
        return _Fit(*(column[which] for column in vars(self).values()))

    @classmethod
    def of(cls, tokens: np.ndarray, search: GappedSearch) -> "_Fit":
        number, n_common = search.common(tokens)
        width = max(tokens.shape[1], search.tokens.shape[1])
        a, b = (nucleotides.padded(x, width) for x in (tokens, search.tokens[number]))
        shift, n_equal = (np.zeros(len(tokens), dtype=np.int64) for _ in range(2))
        n_both = np.ones(len(tokens), dtype=np.int64)
        farthest = max(width - LEAST_OVERLAP, 0)
        for by in sorted(range(-farthest, farthest + 1), key=abs):  # of equals the least shift
            left = a[:, max(0, -by) : width - max(0, by)]
            right = b[:, max(0, by) : width - max(0, -by)]
            both = (left != nucleotides.PAD) & (right != nucleotides.PAD)
            equal, overlap = (both & (left == right)).sum(axis=1), both.sum(axis=1)
            better = (equal > n_equal) & (overlap >= LEAST_OVERLAP) & (n_common > 0)
            shift[better], n_equal[better] = by, equal[better]
            n_both[better] = overlap[better]
        return cls(shift, n_equal, n_both, nucleotides.lengths(a), nucleotides.lengths(b))


def _other_strand(tokens, fit, learnt) -> str:
    return (
        "Most other reads fit if they are turned round: they are of the other strand, so take "
        "their reverse complements."
    )


def _earlier(tokens, fit, learnt) -> str:
    n = -_middle(fit.shift)
    primer = _common_beginning(tokens[fit.shift == -n], n)
    if primer:
        return (
            f"Most other reads fit without their first {n} nucleotides, which are alike in all "
            f"({primer}): a primer was left on, so remove it (qiime cutadapt)."
        )
    return (
        f"Most other reads begin {n} nucleotides before the training reads, so cut these off "
        "(a trim-left of denoising does)."
    )


def _later(tokens, fit, learnt) -> str:
    n = _middle(fit.shift)
    primer = _common_beginning(learnt, n)
    why = f" Training reads begin alike ({primer}), as if a primer was left on." if primer else ""
    return (
        f"Most other reads begin {n} nucleotides after the beginning of the training reads.{why} "
        "Trim both in the same way."
    )


def _other_length(tokens, fit, learnt) -> str:
    return (
        "Most other reads begin where the training reads do, but have another length (such as "
        f"{_middle(fit.length)} nt, and {_middle(fit.length_of_asv)} nt in training): cut both to "
        "the same length."
    )


def _related(tokens, fit, learnt) -> str:
    return (
        "Most other reads begin where the training reads do and are related to them, so they are "
        "of organisms that the training samples lack, or have many errors."
    )


def _middle(values: np.ndarray) -> int:
    """Return a value in the middle that occurs."""
    return int(np.sort(values)[len(values) // 2])


def _common_beginning(tokens: np.ndarray, n: int) -> str:
    """Return the first n nucleotides that sequences have in common, or '' if they have not."""
    if n < SHORTEST_PRIMER or len(tokens) < LEAST_READS:
        return ""
    codes = nucleotides.FIRST_BASE + np.arange(len(nucleotides.BASES))
    shares = (tokens[:, :n, None] == codes).mean(axis=0)
    agreed = shares.max(axis=1) >= LEAST_AGREED
    if agreed.mean() < LEAST_AGREED:
        return ""
    letters = np.where(agreed, np.array(list(nucleotides.BASES))[shares.argmax(axis=1)], "N")
    return "".join(letters)
