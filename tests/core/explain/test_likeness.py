"""Which reads the encoder that ships is for, and what is said of others."""

import re

import biom
import numpy as np
import pytest

from q2_aam.core.artifact.shipped import encoder
from q2_aam.core.data import nucleotides
from q2_aam.core.data.sample_table import sample_table
from q2_aam.core.explain.likeness import why_unlike
from q2_aam.core.explain.training_start import fitting_samples

PRIMER = "GTGCCAGCAGCCGCGGTAA"


def text_of(tokens):
    letters = np.array(list(nucleotides.BASES))
    return ["".join(letters[row - nucleotides.FIRST_BASE]) for row in tokens]


def table_of(sequences):
    counts = np.random.default_rng(0).integers(1, 50, (len(sequences), 4))
    return biom.Table(counts, sequences, list("abcd"))


@pytest.fixture(scope="module")
def reads():
    """Return reads like those of the corpus: each has some nucleotides of its own."""
    rng = np.random.default_rng(1)
    tokens = encoder.sketch()[rng.permutation(1000)[:60]].copy()
    for row in tokens:
        row[rng.permutation(100)[:8]] = nucleotides.FIRST_BASE + rng.integers(0, 4, 8)
    return text_of(tokens)


def reason(sequences):
    samples = sample_table(table_of(sequences), None, 100)
    return why_unlike(samples, encoder.sketch(), 80)


def turned(sequence):
    return sequence[::-1].translate(str.maketrans("ACGT", "TGCA"))


def random_reads(n):
    rng = np.random.default_rng(2)
    return text_of(rng.integers(0, 4, (n, 100)) + nucleotides.FIRST_BASE)


def test_reads_of_the_corpus_are_alike(reads):
    assert reason(reads) is None


@pytest.mark.parametrize("length", [80, 90])
def test_shorter_reads_are_alike(reads, length):
    assert reason([read[:length] for read in reads]) is None


UNLIKE = {
    "of-the-other-strand": (turned, r"100% of the reads .* reverse complements"),
    "with-a-primer": (lambda read: PRIMER + read, r"first 19 nucleotides.*primer was left on"),
    "that-begin-before": (lambda read: "ACGTACG" + read, "begin 7 nucleotides before|first 7"),
    "that-begin-later": (lambda read: read[9:], "begin 9 nucleotides after"),
    "too-short": (lambda read: read[:70], r"100% of the reads have fewer than 80 .* as 70"),
}


@pytest.mark.parametrize("kind", UNLIKE)
def test_what_is_other_about_reads_is_said(reads, kind):
    change, said = UNLIKE[kind]
    assert re.search(said, reason([change(read) for read in reads]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda read: read[1:], r"1 nt after the first"),
        (lambda read: "G" + read, r"1 nt before the first"),
        (lambda read: "G" + read[:89], r"1 nt before the first"),
        (lambda read: read[2:], r"2 nt after the first"),
        (lambda read: "GT" + read, r"2 nt before the first"),
    ],
)
def test_the_smallest_shift_is_noticed(change, said):
    reads = text_of(encoder.sketch()[:200])
    assert re.search(said, reason([change(read) for read in reads]))


def test_reads_of_another_marker_are_unlike():
    assert "another region or marker" in reason(random_reads(60))


@pytest.mark.parametrize(("others", "alike"), [(40, True), (80, False)])
def test_more_than_half_of_the_reads_must_be_alike(reads, others, alike):
    assert (reason(reads + random_reads(others)) is None) == alike


# ---- the choice --------------------------------------------------------------------------------


def test_fitting_reads_are_read_as_the_encoder_does(reads, caplog):
    caplog.set_level("INFO", "q2_aam")
    samples = fitting_samples(table_of(reads), None, {})
    assert samples.tokens.shape == (60, 100)
    assert [record.getMessage() for record in caplog.records] == [
        f"Training starts from the encoder that ships with q2-aam ({encoder.NAME})."
    ]


def test_longer_reads_are_cut_and_that_is_told_once(reads, caplog):
    longer = [read + "ACGTACGTAC" for read in reads[:20]] + reads[20:]
    samples = fitting_samples(table_of(longer), None, {})
    assert samples.tokens.shape == (60, 100)
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == 1
    assert "the first 100 nt of a sequence, and 20 of 60 sequences are longer" in said[0]


def test_other_reads_are_refused_with_the_cause(reads, caplog):
    assert fitting_samples(table_of([turned(read) for read in reads]), None, {}) is None
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "Training starts from scratch" in record.getMessage()
    assert "reverse complements" in record.getMessage()


@pytest.mark.parametrize(
    "options", [{"from_scratch": True}, {"embedding_dim": 64}, {"max_bp": 120}, {"patch_size": 4}]
)
def test_who_asks_for_another_model_gets_one(reads, options):
    assert fitting_samples(table_of(reads), None, options) is None


def test_the_architecture_that_it_has_may_be_asked_for(reads):
    options = {"max_bp": 100, "embedding_dim": 128}
    assert fitting_samples(table_of(reads), None, options) is not None
