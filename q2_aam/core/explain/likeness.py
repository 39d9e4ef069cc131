"""Whether reads are of the kind that the encoder which ships was trained on (torch-free).

Shapes: U sequences, L nucleotides.
"""

from dataclasses import replace

import numpy as np
from scipy.sparse import csr_matrix

from q2_aam.core.data import nucleotides
from q2_aam.core.data.sample_table import SampleTable
from q2_aam.core.explain.known_reads import likely_cause
from q2_aam.core.model.stored_samples.similarity import QUERIES_AT_A_TIME, Vocabulary

LEAST_IDENTITY = 0.8
"""Share of a read that is the same as in a sequence of the sketch, from which on it is alike.

Of the reads of three held-out studies and of the oral samples, 99.7 % or more reach 0.85. Turned
round, with a primer, or of another region, none reaches 0.6.
"""

LEAST_SHARE = 0.5
"""Share of the reads that must be alike."""

LEAST_GAIN = 0.02
"""By how much more of a read is the same at another place, if it is shifted."""

MOST_ASVS, MOST_LOOKED_AT = 5000, 200
"""ASVs that are compared, and unlike ones whose cause is looked for, at most: the abundant."""


def why_unlike(samples: SampleTable, sketch: np.ndarray, shortest: int) -> str | None:
    """Say in a sentence or two what is other about reads; None if they are alike.

    Parameters
    ----------
    samples : SampleTable
        Their sequences are cut to L at most.
    sketch : ndarray of shape (n, L), uint8
        Sequences that stand for what the encoder was trained on.
    shortest : int
        Nucleotides of the shortest reads that it was trained on.
    """
    reads = np.asarray(samples.counts.sum(axis=0)).ravel()
    lengths = samples.read_lengths
    short = reads[lengths < shortest].sum() / reads.sum()
    if short > 1 - LEAST_SHARE:
        usual = int(np.median(lengths[lengths < shortest]))
        return (
            f"{100 * short:.0f}% of the reads have fewer than {shortest} nucleotides (such as "
            f"{usual})."
        )
    most = np.argsort(-reads, kind="stable")[:MOST_ASVS]
    vocabulary = Vocabulary(sketch)
    identity = identities(vocabulary, samples.tokens[most])
    alike = identity >= LEAST_IDENTITY
    share = reads[most][alike].sum() / reads[most].sum()
    if share >= LEAST_SHARE:
        return _why_shifted(samples.tokens[most], reads[most], vocabulary, identity)
    other, identity = (x[~alike][:MOST_LOOKED_AT] for x in (most, identity))
    cause = _why_shifted(samples.tokens[other], reads[other], vocabulary, identity)
    if cause is None and (vocabulary.find(samples.tokens[other]) < 0).any():
        cause = likely_cause(vocabulary, _only(samples, other, reads))
    said = f"{100 * (1 - share):.0f}% of the reads resemble none of these."
    return said if cause is None else f"{said} {cause}"


def _why_shifted(tokens, reads, vocabulary: Vocabulary, identity: np.ndarray) -> str | None:
    """Say by how many nucleotides reads are shifted, if by one or two; None if by none.

    Given are the sequences (U, L), their reads (U,), and their identities in place (U,).
    Of a read that lacks its first nucleotide, four fifths can be the same as in some other
    sequence. But the encoder, which reads nucleotides at their places, is at a loss with it.
    """
    known, best, shift = vocabulary.tokens, identity.copy(), np.zeros(len(tokens), dtype=int)
    for by in (1, 2):
        shifted = {
            -by: identities(vocabulary, tokens[:, by:]),
            by: identities(Vocabulary(known[:, by:]), tokens[:, : known.shape[1] - by]),
        }
        for place, found in shifted.items():
            better = (found > best + LEAST_GAIN) & (found >= LEAST_IDENTITY)
            best[better], shift[better] = found[better], place
    moved = shift != 0
    if reads[moved].sum() <= LEAST_SHARE * reads.sum():
        return None
    usual = int(np.median(shift[moved]))
    if usual > 0:
        return f"Most of the reads begin {usual} nt after the first nucleotide behind the primer."
    return (
        f"Most of the reads begin {-usual} nt before the first nucleotide behind the primer: trim "
        "them to begin there."
    )


def identities(vocabulary: Vocabulary, tokens: np.ndarray) -> np.ndarray:
    """Return the share of each sequence (U, L) that is the same as in the nearest known, (U,).

    That which a sequence lacks at its end does not count as different.
    """
    starts = range(0, len(tokens), QUERIES_AT_A_TIME)
    parts = [vocabulary.compare(tokens[i : i + QUERIES_AT_A_TIME])[1] for i in starts]
    longest = vocabulary.tokens.shape[1]  # as all that are known
    own = np.clip(nucleotides.lengths(tokens), 1, longest)
    return np.concatenate([np.zeros(0), *parts]) * longest / own


def _only(samples: SampleTable, features: np.ndarray, reads: np.ndarray) -> SampleTable:
    """Put all reads of some features into one sample."""
    ids = tuple(samples.feature_ids[i] for i in features)
    counts = csr_matrix(reads[features][None])
    return replace(
        samples, counts=counts, sample_ids=("all",), feature_ids=ids,
        tokens=samples.tokens[features],
    )  # fmt: skip
