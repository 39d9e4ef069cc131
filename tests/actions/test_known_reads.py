"""Reads unlike those that a model has learnt, as a user of QIIME 2 meets them."""

import logging

import biom
import numpy as np
import pandas as pd
import pytest
import qiime2
from q2_types.feature_data import DNAFASTAFormat
from qiime2.plugin import ValidationError
from qiime2.plugins import aam, metadata
from run_inputs import QUICK

from q2_aam.core.data.simulate import SimulationConfig, simulate
from q2_aam.types.known_reads import AAMKnownReadsFormat

PRIMER = "GTGTCAGCAGCCGCGGTAA"
OTHER_STRAND = str.maketrans("ACGT", "TGCA")
WARNING = "of the reads are near to an ASV of the stored training samples"


@pytest.fixture(scope="module")
def simulation():
    return simulate(SimulationConfig(n_samples=40, n_features=60, n_bp=120, depth=200, seed=2))


@pytest.fixture(scope="module")
def ages(simulation):
    return qiime2.Metadata(simulation.metadata).get_column("age")


@pytest.fixture(scope="module")
def given(simulation):
    return changed_reads(simulation.table, lambda name: name[:100])


@pytest.fixture(scope="module")
def regressor(given, ages):
    return aam.methods.train_regressor(metadata=ages, **given, **QUICK).regressor


def reads(sequences, matrix, samples):
    """Return a table and its sequences, some of which may be the same."""
    named = {f"asv{i}": sequence for i, sequence in enumerate(sequences)}
    fasta = DNAFASTAFormat()
    with fasta.open() as handle:
        handle.write("".join(f">{name}\n{sequence}\n" for name, sequence in named.items()))
    table = biom.Table(matrix, list(named), samples)
    return {
        "table": qiime2.Artifact.import_data("FeatureTable[Frequency]", table),
        "sequences": qiime2.Artifact.import_data("FeatureData[Sequence]", fasta),
    }


def changed_reads(table, change):
    """Return a table whose sequences, which are its feature ids, are changed."""
    names = [change(name) for name in table.ids("observation")]
    return reads(names, table.matrix_data, table.ids())


def known(given, model):
    return aam.methods.known_reads(model=model, **given).known_reads.view(pd.Series)


def predict(given, model):
    return aam.methods.predict_regression(regressor=model, **given).predictions


def changed(name, *places):
    letters = list(name)
    for i in places:
        letters[i] = "ACGT"[("ACGT".index(letters[i]) + 1) % 4]
    return "".join(letters)


def random_read(name):
    rng = np.random.default_rng(list(name.encode()))
    return "".join(rng.choice(list("ACGT"), 100))


READS = {
    "same": lambda name: name[:100],
    "substitution": lambda name: changed(name[:100], 30),
    "deletion": lambda name: name[:30] + name[31:100],
    "deletion-cut-at-one-length": lambda name: name[:30] + name[31:101],
    "two-deletions-cut": lambda name: name[:30] + name[31:60] + name[61:102],
    "insertion-cut": lambda name: name[:30] + "A" + name[30:99],
    "begins-later": lambda name: name[2:102],
    "insertion-of-three": lambda name: name[:30] + "GAT" + name[30:100],
}


@pytest.fixture(scope="module")
def predicted(given, regressor):
    return predict(given, regressor).view(pd.Series)


@pytest.mark.parametrize("kind", READS)
def test_reads_that_are_nearly_the_same_are_known(kind, simulation, regressor, predicted, caplog):
    caplog.set_level(logging.WARNING)
    given = changed_reads(simulation.table, READS[kind])
    shares = known(given, regressor)
    assert list(shares.index) == list(simulation.table.ids())
    assert shares.min() > 0.98
    again = predict(given, regressor).view(pd.Series)
    assert np.corrcoef(again, predicted)[0, 1] > 0.97
    assert WARNING not in caplog.text


CAUSES = {
    "other-strand": (lambda name: name[:100].translate(OTHER_STRAND)[::-1], "reverse complements"),
    "later": (lambda name: name[5:105], "begin 5 nucleotides after the beginning of the training"),
    "earlier": (
        lambda name: random_read(name)[:5] + name[:95],
        "begin 5 nucleotides before the training reads, so cut these off",
    ),
    "primer": (
        lambda name: PRIMER + name[:100],
        rf"fit without their first 19 nucleotides, which are alike in all \({PRIMER}\)",
    ),
    "primer-with-two-letters": (
        lambda name: PRIMER[:4] + "CT"[len(set(name[:5])) % 2] + PRIMER[5:] + name[:100],
        r"first 19 nucleotides, which are alike in all \(GTGT[NCT]AGCAG",
    ),
    "longer": (
        lambda name: name[:120],
        r"another length \(such as 120 nt, and 100 nt in training\)",
    ),
    "shorter": (
        lambda name: name[:80],
        r"another length \(such as 80 nt, and 100 nt in training\)",
    ),
    "other-organisms": (
        lambda name: changed(name[:100], *range(0, 100, 7)),
        "begin where the training reads do and are related to them",
    ),
    "other-region": (random_read, "resemble none of the training reads on either strand"),
}


@pytest.mark.parametrize("kind", CAUSES)
def test_reads_unlike_those_learnt_are_warned_of(kind, simulation, regressor, caplog):
    change, cause = CAUSES[kind]
    given = changed_reads(simulation.table, change)
    assert known(given, regressor).max() < 0.5
    caplog.set_level(logging.WARNING)
    predict(given, regressor)
    (warning,) = [text for text in caplog.messages if WARNING in text]
    assert "In 40 of 40 samples it is less than 50% (such as 'sample" in warning
    assert pd.Series([warning]).str.contains(cause).all(), warning


def test_a_few_samples_with_other_reads_are_passed_over_and_more_are_not(
    simulation, regressor, caplog
):
    caplog.set_level(logging.WARNING)
    counts, ids = simulation.table.matrix_data.toarray(), simulation.table.ids("observation")
    names = [name[:100] for name in ids] + [random_read(name) for name in ids]
    for n, warned in ((4, False), (5, True)):
        other = np.where(np.arange(counts.shape[1]) < n, counts, 0)
        given = reads(names, np.vstack([counts - other, other]), simulation.table.ids())
        predict(given, regressor)
        assert (WARNING in caplog.text) == warned
        assert known(given, regressor).tolist() == [0.0] * n + [1.0] * (40 - n)


def test_known_reads_merge_with_metadata(simulation, given, regressor):
    shares = aam.methods.known_reads(model=regressor, **given).known_reads
    assert str(shares.type) == "SampleData[AAMKnownReads]"
    merged = shares.view(qiime2.Metadata).merge(qiime2.Metadata(simulation.metadata))
    assert "known_reads" in merged.columns
    assert metadata.visualizers.tabulate(merged).visualization


def test_a_model_that_stores_no_samples_says_so(given, ages):
    options = {"stored_samples": 0, **QUICK}
    model = aam.methods.train_regressor(metadata=ages, **given, **options).regressor
    with pytest.raises(ValueError, match=r"with stored_samples 0, so it stores no samples"):
        known(given, model)
    predict(given, model)


GOOD = "sample-id\tknown_reads\n01\t0.25\nNone\t1\n"


def test_format_keeps_ids_and_digits(tmp_path):
    (tmp_path / "good.tsv").write_text(GOOD)
    made = qiime2.Artifact.import_data("SampleData[AAMKnownReads]", str(tmp_path / "good.tsv"))
    assert made.view(pd.Series).to_dict() == {"01": 0.25, "None": 1.0}
    third = pd.Series([1 / 3], ["x"], name="anything")
    again = qiime2.Artifact.import_data("SampleData[AAMKnownReads]", third).view(pd.Series)
    assert again.to_dict() == {"x": 1 / 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "The first line must be"),
        (b"id\tage\n1\t1\n", "The first line must be"),
        (GOOD.splitlines()[0].encode(), "there is no sample"),
        (GOOD.encode() + b"c\n", "Line 4 is .*, where an id and a number from 0 to 1"),
        (GOOD.encode() + b"c\t1.01\n", "Line 4 is .*, where an id and a number from 0 to 1"),
        (GOOD.encode() + b"c\tnan\n", "Line 4 is .*, where an id and a number from 0 to 1"),
        (GOOD.encode() + b"c\tx\n", "Line 4 is .*, where an id and a number from 0 to 1"),
        (GOOD.encode() + b"01\t1\n", "id '01' of line 4 occurs twice"),
        (b"\xff\xfe\x00\x01", "is not text"),
    ],
)
def test_format_refuses(text, message, tmp_path):
    (tmp_path / "bad.tsv").write_bytes(text)
    with pytest.raises(ValidationError, match=message):
        AAMKnownReadsFormat(str(tmp_path / "bad.tsv"), mode="r").validate("max")
