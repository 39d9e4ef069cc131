"""Bad input, one row each: it ends in a correct result or in one clear sentence."""

import errno
import logging
import os
import re
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path

import biom
import numpy as np
import pandas as pd
import pytest
import torch
from run_inputs import QUICK

import q2_aam
from q2_aam.core import api
from q2_aam.core.data.simulate import SimulationConfig, simulate
from q2_aam.core.model.predictor import SequencePredictor
from q2_aam.core.training import devices
from q2_aam.core.training.loop import checkpoints

PACKAGE = Path(q2_aam.__file__).parent


@dataclass(frozen=True)
class World:
    """Sound input, and models made of it, for the rows to spoil."""

    table: biom.Table
    newick: str
    age: pd.Series
    site: pd.Series
    regressor: object
    classifier: object
    short: object
    folder: Path

    @property
    def features(self):
        return list(self.table.ids("observation"))

    @property
    def samples(self):
        return list(self.table.ids())

    def counts(self, change) -> biom.Table:
        """Return the table with changed counts."""
        dense = self.table.matrix_data.toarray()
        change(dense)
        return biom.Table(dense, self.features, self.samples)

    def renamed(self, *, features=None, samples=None) -> biom.Table:
        """Return the table with other ids."""
        matrix = self.table.matrix_data
        return biom.Table(matrix, features or self.features, samples or self.samples)

    def first(self, n: int) -> biom.Table:
        """Return the first samples of the table."""
        return self.table.filter(self.samples[:n], inplace=False)

    def sequences(self, change=lambda sequence: sequence) -> dict[str, str]:
        """Return sequences under ids of their own, the first of them changed."""
        named = {f"asv{i}": sequence for i, sequence in enumerate(self.features)}
        return {**named, "asv0": change(named["asv0"])}

    def file(self, content: str | bytes) -> Path:
        """Write a file."""
        path = self.folder / "input.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def predict(self, table=None, *, of=None, **arguments) -> pd.Series:
        """Predict with a regressor."""
        return api.predict_regression(
            self.table if table is None else table, of or self.regressor, **arguments
        )

    def predict_named(self, sequences, **arguments) -> pd.Series:
        """Predict for the table whose features have other names, with these sequences."""
        renamed = self.renamed(features=list(self.sequences()))
        return self.predict(renamed, sequences=sequences, **arguments)

    def pretrain(self, tree=None, table=None, **options):
        """Pre-train on a tree given as text."""
        tree = self.file(self.newick if tree is None else tree)
        return api.pretrain(self.table if table is None else table, tree, **{**QUICK, **options})

    def regress(self, column=None, table=None, **options):
        """Train a regressor."""
        column = self.age if column is None else column
        return api.train_regressor(
            self.table if table is None else table, column, **{**QUICK, **options}
        )

    def classify(self, column=None, **options):
        """Train a classifier."""
        column = self.site if column is None else column
        return api.train_classifier(self.table, column, **{**QUICK, **options})


@pytest.fixture(scope="module")
def made():
    sound = simulate(SimulationConfig(n_samples=24, n_features=40, n_bp=40, depth=200, seed=1))
    age, site = sound.metadata["age"], sound.metadata["site"]
    return {
        "table": sound.table,
        "newick": sound.newick,
        "age": age,
        "site": site,
        "regressor": api.train_regressor(sound.table, age, **QUICK),
        "classifier": api.train_classifier(sound.table, site, **QUICK),
        "short": api.train_regressor(sound.table, age, max_bp=20, **QUICK),
    }


@pytest.fixture
def world(made, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    return World(**made, folder=tmp_path)


def put(row, column, value):
    """Return a change of one count; rows are features, columns samples."""

    def change(counts):
        counts[row, column] = value

    return change


def with_value(column, value):
    """Return a column with another first value."""
    column = column.astype(object)
    column.iloc[0] = value
    return column


def without_lengths(newick):
    return re.sub(r":[0-9.e+-]+", "", newick)


REFUSED = {
    # tables
    "table-empty": (
        lambda w: w.predict(biom.Table(np.zeros((0, 0)), [], [])),
        r"feature table is empty: it has 0 features and 0 samples",
    ),
    "table-empty-in-training": (
        lambda w: w.regress(table=biom.Table(np.zeros((0, 0)), [], [])),
        r"feature table is empty",
    ),
    "table-without-samples": (
        lambda w: w.predict(biom.Table(np.zeros((2, 0)), ["ACGT", "CCCC"], [])),
        r"it has 2 features and 0 samples",
    ),
    "table-all-zero": (
        lambda w: w.predict(w.counts(lambda counts: counts.fill(0))),
        r"no reads in any of its 24 samples",
    ),
    "one-sample-in-training": (
        lambda w: w.regress(table=w.first(1)),
        r"Only 1 of 1 samples can be used, too few to learn from",
    ),
    "one-sample-in-pretraining": (
        lambda w: w.pretrain(table=w.first(1)),
        r"Only 1 of 1 samples can be used, too few to learn from",
    ),
    "samples-all-too-shallow": (
        lambda w: w.regress(rarefy_depth=10_000_000),
        r"No sample is left after rarefaction to 10000000 reads.*rarefy_depth",
    ),
    "count-negative": (
        lambda w: w.predict(w.counts(put(0, 3, -1))),
        r"1 values that are not counts, such as -1 for feature '[ACGT]+' in sample 'sample04'",
    ),
    "count-fractional": (
        lambda w: w.predict(w.counts(put(0, 3, 0.5))),
        r"such as 0.5 for feature.*give the table of raw counts",
    ),
    "count-nan": (lambda w: w.predict(w.counts(put(0, 3, np.nan))), r"such as nan for feature"),
    "count-infinite": (lambda w: w.regress(table=w.counts(put(0, 3, np.inf))), r"such as inf"),
    "count-of-two-to-the-31": (
        lambda w: w.predict(w.counts(put(0, 3, 2.0**31))),
        r"expected whole numbers from 0 to 2147483647",
    ),
    # sequences
    "ids-hashed": (
        lambda w: w.predict(w.renamed(features=list(w.sequences()))),
        r"40 of 40 feature ids are not DNA sequences, such as 'asv\d+'.*--i-sequences",
    ),
    "ids-numeric": (
        lambda w: w.predict(w.renamed(features=[str(1000 + i) for i in range(40)])),
        r"feature ids are not DNA sequences, such as '1\d\d\d'",
    ),
    "sequences-missing": (
        lambda w: w.predict_named({"asv1": "ACGT"}),
        r"39 of 40 features of the table are not among the 1 sequences, such as 'asv\d+'",
    ),
    "sequence-with-gap": (
        lambda w: w.predict_named(w.sequences(lambda s: s[:5] + "-" + s[5:])),
        r"feature 'asv0' cannot be read: '-' at position 6 .*remove gaps from aligned sequences",
    ),
    "sequence-with-dots": (
        lambda w: w.predict_named(w.sequences(lambda s: s + "..")),
        r"'\.' at position 41 .*remove gaps",
    ),
    "sequence-of-protein": (
        lambda w: w.predict_named(w.sequences(lambda s: "MSEQ")),
        r"feature 'asv0' cannot be read: 'E' at position 3 is not a nucleotide",
    ),
    "sequence-with-unicode": (
        lambda w: w.predict_named(w.sequences(lambda s: s[:2] + "ж")),
        r"'Ж' at position 3 is not a nucleotide",
    ),
    "sequence-empty": (
        lambda w: w.predict_named(w.sequences(lambda s: "")),
        r"feature 'asv0' cannot be read: the sequence is empty",
    ),
    "fasta-is-not": (
        lambda w: w.predict_named(w.file("this is no FASTA\n")),
        r"cannot be read as FASTA",
    ),
    "fasta-not-utf-8": (
        lambda w: w.predict_named(w.file(b">asv0\nAC\xff\xfeGT\n")),
        r"cannot be read as FASTA",
    ),
    "fasta-empty": (lambda w: w.predict_named(w.file("")), r"not among the 0 sequences"),
    "fasta-header-without-sequence": (
        lambda w: w.predict_named(w.file(">asv0\n>asv1\nACGT\n")),
        r"cannot be read as FASTA: Found header without sequence",
    ),
    "fasta-id-twice": (
        lambda w: w.predict_named(w.file(">asv0\nACGT\n>asv0\nACGG\n")),
        r"several sequences under the id 'asv0'",
    ),
    # metadata
    "metadata-missing-values": (
        lambda w: w.regress(with_value(w.age, np.nan)),
        r"1 of the table's 24 samples have no value \(column 'age'\): sample01\. Filter the table",
    ),
    "metadata-missing-samples": (
        lambda w: w.regress(w.age.iloc[5:]),
        r"5 of the table's 24 samples are not in the metadata .*--p-missing-samples ignore",
    ),
    "metadata-of-other-samples": (
        lambda w: w.regress(w.age.rename(lambda name: f"x{name}"), missing_samples="ignore"),
        r"None of the sample ids agree .*'age'.* such as 'sample01', .* 'xsample01'",
    ),
    "metadata-all-missing": (
        lambda w: w.regress(w.age * np.nan, missing_samples="ignore"),
        r"None of the table's 24 samples",
    ),
    "metadata-words-for-missing": (
        lambda w: w.classify(w.site.replace("gut", "Not applicable")),
        r"have a word for a missing value \(column 'site'\): 'Not applicable' \(\d+\)",
    ),
    "metadata-words-among-numbers": (
        lambda w: w.regress(with_value(w.age, "LabControl test")),
        r"'LabControl test' \(1\), such as for sample 'sample01'\. Leave .*empty these cells\.$",
    ),
    "metadata-sample-twice": (
        lambda w: w.regress(pd.concat([w.age, w.age.iloc[:1]])),
        r"Metadata column 'age' has sample id 'sample01' twice",
    ),
    "metadata-infinite": (
        lambda w: w.regress(with_value(w.age, np.inf)),
        r"1 values that are not finite numbers, such as 'inf' for sample 'sample01'",
    ),
    "metadata-constant": (
        lambda w: w.regress(w.age * 0 + 7),
        r"Metadata column 'age' has the same value \(7\) in all 19 training samples",
    ),
    "metadata-text-for-numbers": (
        lambda w: w.regress(w.site),
        r"24 values that are not finite numbers, such as '\w+' .* as classes with a classifier",
    ),
    "metadata-negative-under-log": (
        lambda w: w.regress(-w.age, target_transform="log-zscore"),
        r"negative values .* choose 'zscore'",
    ),
    "metadata-too-large": (
        lambda w: w.regress(w.age * 1e300),
        r"'age' has values as large as \S+e\+30\d, such as that of sample 'sample\d\d', .* use un",
    ),
    "metadata-too-large-as-it-is": (
        lambda w: w.regress(w.age * 1e38, target_transform="none"),
        r"column 'age' has values up to .* too large to be learnt as they are",
    ),
    "metadata-nearly-constant": (
        lambda w: w.regress(w.age * 1e-300),
        r"neither huge nor nearly equal",
    ),
    "metadata-one-class": (
        lambda w: w.classify(w.site.map(lambda _: "gut")),
        r"Metadata column 'site' has only one class \('gut'\)",
    ),
    "metadata-every-class-once": (
        lambda w: w.classify(pd.Series(w.samples, w.samples, name="subject")),
        r"Each of the 24 classes .* has one sample, so none can be held back",
    ),
    "metadata-class-with-line-break": (
        lambda w: w.classify(w.site.replace("gut", "gut\nx")),
        r"class of column 'site' has a control character .* rename it",
    ),
    "metadata-without-a-name": (
        lambda w: w.regress(w.age.rename(None)),
        r"name of the metadata column must be text",
    ),
    # phylogenies
    "tree-without-overlap": (
        lambda w: w.pretrain("((a:1,b:1):1,c:2);"),
        r"features of the table are not among the 3 tips of the phylogeny, such as '[ACGT]+'",
    ),
    "tree-without-overlap-dropped": (
        lambda w: w.pretrain("((a:1,b:1):1,c:2);", missing_features="drop"),
        r"None of the table's 40 features.*tip is called 'a'.*give the phylogeny of this table",
    ),
    "tree-negative-length": (
        lambda w: w.pretrain(re.sub(":0", ":-0", w.newick, count=1)),
        r"negative.* above '[ACGT]+'",
    ),
    "tree-one-tip": (lambda w: w.pretrain("tip;"), r"phylogeny has 1 tip; .* two tips or more"),
    "tree-one-tip-with-length": (lambda w: w.pretrain("(tip:1);"), r"phylogeny has 1 tip; "),
    "tree-without-lengths": (
        lambda w: w.pretrain(without_lengths(w.newick)),
        r"phylogeny lacks the lengths of \d+ of its \d+ branches",
    ),
    "tree-empty-file": (lambda w: w.pretrain(""), r"phylogeny cannot be read .*: it is empty"),
    "tree-is-not": (
        lambda w: w.pretrain("this is no tree"),
        r"phylogeny cannot be read .*: it does not end with a semicolon",
    ),
    "tree-not-utf-8": (
        lambda w: w.pretrain(b"(\xff\xfe:1,b:2);"),
        r"phylogeny is not text in UTF-8 \(byte 1 is 0xff\)",
    ),
    "tree-unbalanced": (
        lambda w: w.pretrain("((a:1,b:1:1,c:2);"),
        r"its 2 opening and 1 closing parentheses do not match",
    ),
    "tree-length-no-number": (
        lambda w: w.pretrain(re.sub(":0", ":nan0", w.newick, count=1)),
        r"phylogeny has 1 branches whose length is negative or not a number, such as 'nan0",
    ),
    "references-unknown": (
        lambda w: w.pretrain(reference_ids=["nobody"]),
        r"1 of 1 reference samples are not among the .* training samples: nobody",
    ),
    # models
    "encoder-of-another-max-bp": (
        lambda w: w.classify(encoder=w.regressor, max_bp=20),
        r"max_bp is 20, but the encoder's is 150: leave it out",
    ),
    "model-of-another-kind": (
        lambda w: api.predict_classification(w.table, w.regressor),
        r"is a SequenceRegressor, not a SequenceClassifier: use predict-regression",
    ),
    "options-out-of-range": (
        lambda w: w.regress(epochs=0, lr=float("nan"), batch_size=-1, num_workers=1000),
        r"epochs must be at least 1.*lr must be a finite number.*num_workers must be at most 256",
    ),
    "run-directory-in-a-file": (
        lambda w: w.regress(monitor=api.Monitor(run_dir=w.file("") / "run")),
        r"run directory .* cannot be written \(Not a directory\); set Q2_AAM_RUN_DIR",
    ),
}


def says_it_in_one_sentence(error: BaseException) -> bool:
    """Whether an error was raised by this package itself, in words for its user."""
    raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    text = str(error)
    return PACKAGE in raised_in.parents and "\n" not in text.strip() and len(text) < 600


@pytest.mark.parametrize("row", REFUSED)
def test_refused_with_a_clear_sentence(world, row):
    act, message = REFUSED[row]
    with pytest.raises(ValueError, match=message) as caught:
        act(world)
    assert says_it_in_one_sentence(caught.value)


def same(result: pd.Series, expected: pd.Series) -> bool:
    """Whether predictions are those of other input that should come to the same."""
    order = list(expected.index)
    return list(result.index) == order and np.allclose(result, expected, rtol=1e-5, atol=1e-5)


def same_for_all_but(world, result, sample):
    expected = world.predict()
    return same(result.drop(sample, errors="ignore"), expected.drop(sample))


def trained(model) -> bool:
    """Whether training came to an end with numbers."""
    sound = all(bool(value.isfinite().all()) for value in model.weights.values())
    return sound and bool(np.isfinite(model.history["train/total_loss"]).all())


UNICODE_IDS = ["é ü", "日本", "a;b", "x=1", "nan", "None", "True", "NA", "-1", "+1"]
NUMERIC_IDS = ["001", "1", "1.0", "1e5", "0x10", "1_000", "007", "7", "١", "1E5"]
SAMPLE_IDS = UNICODE_IDS + NUMERIC_IDS + ["100", "101", "102", "103"]

ACCEPTED = {
    # tables
    "one-sample": lambda w: same(w.predict(w.first(1)), w.predict().iloc[:1]),
    "three-samples-in-training": lambda w: trained(w.regress(table=w.first(3), rarefy_depth=0)),
    "three-samples-in-pretraining": lambda w: trained(
        w.pretrain(table=w.first(3), rarefy_depth=0)
    ),
    "sample-of-zeros": lambda w: same_for_all_but(
        w, w.predict(w.counts(put(slice(None), 3, 0))), "sample04"
    ),
    "sample-of-zeros-in-training": lambda w: trained(
        w.regress(table=w.counts(put(slice(None), 3, 0)), rarefy_depth=0)
    ),
    "feature-of-zeros": lambda w: same(
        w.predict(w.table.merge(biom.Table(np.zeros((1, 24)), ["ACGT" * 10], w.samples))),
        w.predict(),
    ),
    "million-read-sample": lambda w: same_for_all_but(
        w, w.predict(w.counts(put(0, 3, 1e6))), "sample04"
    ),
    "largest-count": lambda w: same_for_all_but(
        w, w.predict(w.counts(put(0, 3, 2**31 - 1))), "sample04"
    ),
    "largest-counts-in-training": lambda w: trained(
        w.regress(table=w.counts(put(slice(5), 0, 2**31 - 1)))
    ),
    # sequences
    "duplicate-sequences": lambda w: bool(
        np.isfinite(w.predict_named(w.sequences(lambda _: w.features[1]))).all()
    ),
    "all-sequences-equal": lambda w: bool(
        np.isfinite(w.predict_named(dict.fromkeys(w.sequences(), "ACGT" * 10))).all()
    ),
    "lower-case": lambda w: same(w.predict_named(w.sequences(str.lower)), w.predict()),
    "lower-case-ids": lambda w: same(
        w.predict(w.renamed(features=[name.lower() for name in w.features])), w.predict()
    ),
    "u-for-t": lambda w: same(
        w.predict_named(w.sequences(lambda s: s.replace("T", "U"))), w.predict()
    ),
    "iupac-codes": lambda w: bool(
        np.isfinite(w.predict_named(w.sequences(lambda s: "RYSWKMBDHVN" + s[11:]))).all()
    ),
    "ten-nt": lambda w: bool(np.isfinite(w.predict_named(w.sequences(lambda s: s[:10]))).all()),
    "ten-thousand-nt": lambda w: same(
        w.predict_named(w.sequences(lambda s: s * 250)),
        w.predict_named(w.sequences(lambda s: (s * 4)[:150])),
    ),
    "mixed-lengths": lambda w: trained(
        w.regress(table=w.renamed(features=[s[: 10 + i % 31] for i, s in enumerate(w.features)]))
    ),
    "more-sequences-than-features": lambda w: same(
        w.predict_named({**w.sequences(), "other": "not even a sequence"}), w.predict()
    ),
    "ids-numeric-with-sequences": lambda w: same(
        w.predict(
            w.renamed(features=[str(i) for i in range(40)]),
            sequences=dict(zip(map(str, range(40)), w.features, strict=True)),
        ),
        w.predict(),
    ),
    # sample ids
    "sample-ids-unicode-and-numeric": lambda w: (
        list(w.predict(w.renamed(samples=SAMPLE_IDS)).index) == SAMPLE_IDS
    ),
    "sample-ids-unicode-and-numeric-in-training": lambda w: trained(
        w.regress(w.age.set_axis(SAMPLE_IDS), table=w.renamed(samples=SAMPLE_IDS))
    ),
    # models
    "model-of-another-max-bp": lambda w: same(
        w.predict(of=w.short),
        w.predict(sequences={name: name[:20] for name in w.features}, of=w.short),
    ),
    "encoder-of-another-max-bp": lambda w: w.classify(encoder=w.short).spec.model.max_bp == 20,
    # metadata
    "metadata-of-more-samples": lambda w: trained(
        w.regress(pd.concat([w.age, pd.Series([1.0, np.nan], ["x", "y"])]).rename("age"))
    ),
    "metadata-missing-ignored": lambda w: (
        w.regress(
            with_value(w.age, None), missing_samples="ignore", test_size=0.0
        ).spec.reads.n_samples
        == 23
    ),
    "metadata-numbers-as-text": lambda w: trained(w.regress(w.age.astype(str))),
    "metadata-other-order": lambda w: trained(w.regress(w.age.iloc[::-1])),
    "metadata-class-of-one-sample": lambda w: (
        "rare" in w.classify(with_value(w.site, "rare")).spec.target.classes
    ),
    "metadata-numeric-classes": lambda w: (
        set(w.classify((w.age > 40).astype(int)).spec.target.classes) == {"0", "1"}
    ),
    "metadata-unicode-classes": lambda w: (
        "größe" in w.classify(w.site.replace("gut", "größe")).spec.target.classes
    ),
    # machines
    "more-workers-than-cores": lambda w: trained(w.regress(num_workers=os.cpu_count() + 1)),
}


@pytest.mark.parametrize("row", ACCEPTED)
def test_accepted_with_a_correct_result(world, row):
    assert ACCEPTED[row](world)


WARNED = {
    "tree-lacks-a-length": (
        lambda w: w.pretrain(re.sub(r":[0-9.e-]+", "", w.newick, count=1)),
        r"phylogeny has no length for 1 of its 78 branches, such as that above '[ACGT]+'",
    ),
    "sample-of-zeros": (
        lambda w: w.predict(w.counts(put(slice(None), 3, 0))),
        r"1 of 24 samples have fewer than \d+ reads and are .*: sample04",
    ),
    "sample-below-rarefaction": (
        lambda w: w.regress(table=w.counts(put(slice(None), 3, 1))),
        r"1 of 24 samples have fewer than 100 reads and are left out: sample04",
    ),
    "ten-thousand-nt": (
        lambda w: w.predict_named(w.sequences(lambda s: s * 250)),
        r"1 of 40 sequences are longer than 150 nt",
    ),
    "longer-reads-than-in-training": (
        lambda w: w.predict(w.renamed(features=[name * 2 for name in w.features])),
        r"100% of the reads are much shorter or longer \(such as 80 nt\) .*\(40 to 40 nt\)",
    ),
    "shorter-reads-than-in-training": (
        lambda w: w.predict_named({name: s[:30] for name, s in w.sequences().items()}),
        r"much shorter or longer \(such as 30 nt\)",
    ),
    "few-samples": (
        lambda w: w.regress(),
        r"Only 24 samples: below 50, scores vary much.*cross-validate before trusting them",
    ),
    "few-samples-in-pretraining": (lambda w: w.pretrain(), r"Only 24 samples: below 50"),
    "few-of-a-class": (
        lambda w: w.classify(with_value(w.site, "rare")),
        r"\d of 4 classes have fewer than 10 samples, such as 'rare' with 1",
    ),
    "metadata-missing-ignored": (
        lambda w: w.regress(with_value(w.age, None), missing_samples="ignore"),
        r"1 of the table's 24 samples have no value \(column 'age'\): sample01. They are left out",
    ),
    "tree-lacks-a-feature": (
        lambda w: w.pretrain(
            table=w.renamed(features=["ACGT" * 10, *w.features[1:]]), missing_features="drop"
        ),
        r"1 of 40 features are not tips of the phylogeny and are left out, such as 'ACGT",
    ),
}


@pytest.mark.parametrize("row", WARNED)
def test_warned_of(world, row, caplog):
    act, message = WARNED[row]
    act(world)
    assert re.search(message, caplog.text)


def test_reads_like_those_of_training_are_not_warned_of(world, caplog):
    world.predict(world.renamed(features=[name[:38] for name in world.features]))
    assert "shorter or longer" not in caplog.text


def test_enough_samples_are_not_warned_of(caplog):
    from q2_aam.core.data.metadata import warn_if_few

    warn_if_few(50, ["a"] * 10 + ["b"] * 40)
    assert not caplog.records


PAIRS = {"stripe_mode": False, "lazy_unifrac": False}


def test_sample_ids_that_unifrac_cannot_read_are_accepted(world):
    assert trained(world.pretrain(table=world.renamed(samples=SAMPLE_IDS), **PAIRS))


def test_tips_that_unifrac_cannot_read_are_accepted(world):
    names = [f"größe's {i}" for i in range(40)]
    sequences, tree = dict(zip(names, world.features, strict=True)), world.newick
    for name, sequence in sequences.items():
        quoted = name.replace("'", "''")
        tree = tree.replace(sequence, f"'{quoted}'")
    table = world.renamed(features=names)
    assert trained(world.pretrain(tree, table, sequences=sequences, **PAIRS))


def test_more_threads_than_cores(world):
    threads = torch.get_num_threads()
    torch.set_num_threads(4 * os.cpu_count())
    try:
        assert trained(world.pretrain(**PAIRS))
    finally:
        torch.set_num_threads(threads)


def pretend_gpu(monkeypatch, error):
    """Let PyTorch list a GPU whose first use fails."""

    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(devices.torch, "zeros", fail)


BROKEN_GPUS = [
    RuntimeError("CUDA error: no kernel image is available for execution on the device\nmore"),
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB"),
    AssertionError("Torch not compiled with CUDA enabled"),
    RuntimeError(""),
]


@pytest.mark.parametrize("error", BROKEN_GPUS, ids=lambda error: str(error)[:20])
def test_a_gpu_that_cannot_be_used_is_passed_over(monkeypatch, caplog, error):
    pretend_gpu(monkeypatch, error)
    assert devices.choose_device("auto") == torch.device("cpu")
    assert "There is a GPU, but it cannot be used: " in caplog.text


def test_a_gpu_that_cannot_be_used_is_an_error_where_it_is_asked_for(monkeypatch):
    pretend_gpu(monkeypatch, BROKEN_GPUS[0])
    with pytest.raises(ValueError, match=r"device is 'cuda', but no GPU can be used: CUDA error"):
        devices.choose_device("cuda")


def test_training_falls_back_to_the_processor(world, monkeypatch, caplog):
    fallen_back = torch.device("cpu")
    monkeypatch.setattr(devices, "_gpu_problem", lambda: "it is broken")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert devices.choose_device("auto") == fallen_back
    assert trained(world.regress(device="auto"))
    assert "it is broken" in caplog.text
    assert trained(world.regress(device="cpu"))
    assert torch.cuda.is_available()


@pytest.mark.parametrize(
    ("take", "who"),
    [
        (lambda: torch.empty(2**50), "The machine"),
        (lambda: np.empty(2**57), "The machine"),
        (lambda: raise_(torch.cuda.OutOfMemoryError("CUDA out of memory.")), "The GPU"),
    ],
    ids=["torch", "numpy", "gpu"],
)
def test_too_little_memory_names_the_options_to_turn(world, monkeypatch, take, who):
    """The first two ask for petabytes and get what a machine answers that has not enough."""
    monkeypatch.setattr(SequencePredictor, "forward", lambda *args, **named: take())
    with pytest.raises(ValueError, match=rf"^{who} has not enough memory: turn ") as caught:
        world.regress(batch_size=6)
    said = str(caught.value)
    assert "batch_size (now 6)" in said
    assert all(
        name in said for name in ("gradient_checkpointing", "asv_chunk_size", "token_limit")
    )


def test_other_runtime_errors_are_not_taken_for_a_lack_of_memory():
    with pytest.raises(RuntimeError, match=r"^something else$"), devices.memory_explained("wait"):
        raise RuntimeError("something else")


def raise_(error):
    raise error


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("keeps", [True, False], ids=["run-directory", "no-run-directory"])
def test_no_space_left_ends_in_one_sentence(world, monkeypatch, number, keeps):
    def fail(checkpoint, file):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(checkpoints.torch, "save", fail)
    monitor = api.Monitor(run_dir=world.folder / "runs" if keeps else None)
    with pytest.raises(ValueError, match=r"no room to write .*\. N\w+ ") as caught:
        world.regress(monitor=monitor)
    assert says_it_in_one_sentence(caught.value)
    assert "Q2_AAM_RUN_DIR" in str(caught.value) or "from the beginning" in str(caught.value)


def test_no_place_for_temporary_files_ends_in_one_sentence(world, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(world.folder / "absent"))
    with pytest.raises(
        ValueError, match=r"no room to write temporary files .* Set TMPDIR"
    ) as caught:
        world.regress()
    assert says_it_in_one_sentence(caught.value)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_read_only_run_directory_ends_in_one_sentence(world, monkeypatch, number):
    def fail(*arguments, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(ValueError, match=r"run directory .* cannot be written .*or unset it"):
        world.regress(monitor=api.Monitor(run_dir=world.folder / "runs"))
