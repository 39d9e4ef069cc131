"""Bad input through QIIME 2: what its users see is the core's clear sentence."""

from pathlib import Path

import biom
import numpy as np
import pandas as pd
import pytest
import qiime2
from q2_types.feature_data import DNAFASTAFormat
from q2_types.tree import NewickFormat
from qiime2.plugins import aam

load = qiime2.Artifact.import_data


def as_table(counts, features, samples):
    table = biom.Table(np.asarray(counts, dtype=float), features, samples)
    return load("FeatureTable[Frequency]", table)


@pytest.fixture(scope="module")
def sound(simulated, tree_path):
    """Return a sound table, phylogeny and columns as QIIME 2 knows them, and models."""
    metadata = qiime2.Metadata(simulated.metadata)
    options = {
        "embedding_dim": 8,
        "attention_heads": 2,
        "attention_layers": 1,
        "epochs": 1,
        "rarefy_depth": 100,
        "device": "cpu",
    }
    made = {
        "options": options,
        "table": load("FeatureTable[Frequency]", simulated.table),
        "phylogeny": load("Phylogeny[Rooted]", str(tree_path), NewickFormat),
        "age": metadata.get_column("age"),
        "site": metadata.get_column("site"),
    }
    methods, age, site = aam.methods, made["age"], made["site"]
    (made["encoder"],) = methods.pretrain(made["table"], made["phylogeny"], **options)
    (made["regressor"],) = methods.train_regressor(
        made["table"], age, loss_type="quantile", **options
    )
    (made["classifier"],) = methods.train_classifier(made["table"], site, **options)
    return made


TABLES = {
    "empty": (as_table(np.zeros((0, 0)), [], []), r"feature table is empty"),
    "zeros": (as_table(np.zeros((2, 2)), ["ACGT", "CCCC"], ["a", "b"]), r"no reads in any of its"),
    "negative": (as_table([[5, -1]], ["ACGT"], ["a", "b"]), r"such as -1 for feature 'ACGT' in"),
    "fractions": (as_table([[0.5, 1]], ["ACGT"], ["a", "b"]), r"such as 0.5 for feature 'ACGT'"),
    "not-a-number": (as_table([[np.nan, 1]], ["ACGT"], ["a", "b"]), r"such as nan for feature"),
    "hashed": (as_table([[5, 3]], ["9f2e77"], ["a", "b"]), r"such as '9f2e77'.*--i-sequences"),
}
READERS = {
    "pretrain": lambda s, table: aam.methods.pretrain(table, s["phylogeny"], **s["options"]),
    "train-regressor": lambda s, table: aam.methods.train_regressor(
        table, s["age"], **s["options"]
    ),
    "train-classifier": lambda s, table: aam.methods.train_classifier(
        table, s["site"], **s["options"]
    ),
    "predict-regression": lambda s, table: aam.methods.predict_regression(table, s["regressor"]),
    "predict-intervals": lambda s, table: aam.methods.predict_intervals(table, s["regressor"]),
    "predict-classification": lambda s, table: aam.methods.predict_classification(
        table, s["classifier"]
    ),
    "embed": lambda s, table: aam.methods.embed(table, s["encoder"]),
    "embed-features": lambda s, table: aam.methods.embed_features(s["encoder"], table),
    "importance": lambda s, table: aam.methods.importance(table, s["regressor"]),
}


@pytest.mark.parametrize("action", READERS)
@pytest.mark.parametrize("table", TABLES)
def test_every_action_refuses_a_table_in_the_same_words(sound, action, table):
    table, message = TABLES[table]
    with pytest.raises(ValueError, match=message):
        READERS[action](sound, table)


def test_one_sample(sound):
    table = as_table([[500], [20]], ["ACGT", "CCCC"], ["sample01"])
    with pytest.raises(ValueError, match="Only 1 of 1 samples can be used"):
        READERS["train-regressor"](sound, table)


def test_sequences_that_lack_features(sound, tmp_path):
    fasta = tmp_path / "sequences.fasta"
    fasta.write_text(">9f2e77\nACGTACGT\n")
    sequences = load("FeatureData[Sequence]", str(fasta), DNAFASTAFormat)
    table = as_table([[500, 300], [7, 8]], ["9f2e77", "b01d"], ["sample01", "sample02"])
    with pytest.raises(ValueError, match=r"1 of 2 features .* not among the 1 .* 'b01d'"):
        aam.methods.predict_regression(table, sound["regressor"], sequences)


def test_a_tree_of_another_table(sound):
    table = as_table(np.full((2, 5), 200), ["ACGT", "CCCC"], list("abcde"))
    with pytest.raises(ValueError, match=r"2 of 2 features .* tips of the phylogeny"):
        READERS["pretrain"](sound, table)


def test_samples_without_metadata(sound):
    table = as_table(np.full((2, 5), 200), ["ACGT", "CCCC"], list("abcde"))
    with pytest.raises(
        ValueError, match=r"None of the sample ids agree .* has 5, such as 'a', the metadata"
    ):
        READERS["train-regressor"](sound, table)


def test_a_run_directory_in_a_file(sound, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("Q2_AAM_RUN_DIR", str(tmp_path / "file"))
    with pytest.raises(ValueError, match=r"run directory .* cannot be written"):
        READERS["train-regressor"](sound, sound["table"])


def test_options_out_of_range(sound):
    with pytest.raises((TypeError, ValueError), match="epochs"):
        aam.methods.train_regressor(
            sound["table"], sound["age"], **{**sound["options"], "epochs": -3}
        )


def test_values_too_large_to_evaluate(sound):
    (predictions,) = aam.methods.predict_regression(sound["table"], sound["regressor"])
    values = sound["age"].to_series() * 1e305
    column = qiime2.NumericMetadataColumn(values)
    with pytest.raises(ValueError, match=r"'age' has values as large as .* use units"):
        aam.visualizers.evaluate_regression(predictions, column)


IDS = ["001", "1", "1.0", "1e5", "0x10", "1_000", "-1", "+1", "True", "a;b", "x=1"]
# pandas reads these as missing, from some version or from all, unless it is told not to.
MISSING_WORDS = ["None", "NA", "nan", "null", "N/A", "<NA>"]


def with_ids(simulated, ids):
    matrix = simulated.table.matrix_data[:, : len(ids)]
    return as_table(matrix.toarray(), simulated.table.ids("observation"), ids)


def test_sample_ids_that_look_like_numbers_come_back_as_they_are(sound, simulated):
    table = with_ids(simulated, IDS)
    (predictions,) = aam.methods.predict_regression(table, sound["regressor"])
    assert list(predictions.view(pd.Series).index) == IDS
    assert list(predictions.view(qiime2.Metadata).ids) == IDS
    classes, probabilities = aam.methods.predict_classification(table, sound["classifier"])
    assert list(classes.view(pd.Series).index) == IDS
    assert list(probabilities.view(pd.DataFrame).index) == IDS


def test_sample_ids_that_look_missing_are_kept(sound, simulated):
    """Views of other plugins lose some of them, and which ones depends on the pandas there is."""
    table = with_ids(simulated, MISSING_WORDS)
    results = [
        *aam.methods.predict_regression(table, sound["regressor"]),
        *aam.methods.predict_classification(table, sound["classifier"]),
        *aam.methods.predict_intervals(table, sound["regressor"]),
    ]
    assert list(results[-1].view(qiime2.Metadata).ids) == MISSING_WORDS
    for result in results:
        (path,) = Path(str(result.view(result.format))).glob("*.tsv")
        lines = path.read_text().splitlines()[1:]
        assert [line.split("\t")[0] for line in lines] == MISSING_WORDS
