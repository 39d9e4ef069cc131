"""Predictions come back as the words that were written, or training refuses the words."""

import numpy as np
import pandas as pd
import pytest
import qiime2
from q2_sample_classifier import ProbabilitiesDirectoryFormat

from q2_aam.types.predictions import (
    check_class_names,
    read_predictions,
    read_probabilities,
    write_predictions,
)

CARRIED = [
    ["0", "1"],
    ["0", "1", "2", "10", "-3"],
    ["0.5", "1.5", "-2.25"],
    ["gut", "oral", "None given"],
    ["true", "false"],
    ["True", "False", "yes"],
    ["a b", "größe", "日本 語", "a,b;c|d", "\"q\" 'r'", "#1", "x=1"],
    ["1", "2", "3+"],
    ["2021-03-05", "1_000", "0x10"],
    ["<5", ">=5", "~"],
    ["missing", "not applicable"],
]
CHANGED = [
    (["01", "02", "10"], "'01' as 1; '02' as 2"),
    (["1.0", "2.0"], "'1.0' as "),
    (["0", "0.5", "1"], "'0' as 0.0; '1' as 1.0"),
    (["1e5", "x"], "'1e5' as 100000"),
    (["+1", "-1"], "'+1' as 1"),
    (["None", "antibiotics"], "'None' as a missing value"),
    (["nan", "a"], "'nan' as a missing value"),
    (["NA", "N/A", "null", "NULL", "b"], "4 classes .* as a missing value; and 1 more"),
    ([" a", "b"], "' a' as text without the spaces"),
    (["inf", "a"], "'inf' as an infinite number"),
    (["ID", "b"], "'ID' as the name of the column of ids"),
    (["12345678901234567890", "b"], "'12345678901234567890' as "),
]


def artifacts(names):
    """Return predictions of these classes, each by itself and all together, and probabilities."""
    ids = pd.Index([f"s{i}" for i in range(len(names))], name="sample-id")
    chances = pd.DataFrame(np.eye(len(names)), ids, names)
    probabilities = qiime2.Artifact.import_data("SampleData[Probabilities]", chances)
    parts = [pd.Series(names, ids, name="visit")]
    parts += [pd.Series([name], ids[:1], name="visit") for name in names]
    kind = "SampleData[ClassifierPredictions]"
    return [qiime2.Artifact.import_data(kind, part) for part in parts], probabilities


@pytest.mark.parametrize("names", CARRIED)
def test_classes_that_are_accepted_come_back_in_every_view(names, tmp_path):
    check_class_names("visit", names)
    predictions, probabilities = artifacts(names)
    for i, artifact in enumerate(predictions):
        expected = names if i == 0 else [names[i - 1]]
        assert artifact.view(pd.Series).astype(str).tolist() == expected
        artifact.view(qiime2.Metadata).save(str(tmp_path / "shown.tsv"))
        shown = pd.read_csv(
            tmp_path / "shown.tsv", sep="\t", dtype=str, keep_default_na=False, skiprows=[1]
        )
        assert shown.iloc[:, 1].tolist() == expected
    assert list(probabilities.view(pd.DataFrame).columns) == names
    assert list(probabilities.view(qiime2.Metadata).columns) == names


@pytest.mark.parametrize(("names", "said"), CHANGED)
def test_classes_that_would_be_read_otherwise_are_refused(names, said):
    with pytest.raises(ValueError, match=f"column 'visit' has .*{said.replace('+', '[+]')}"):
        check_class_names("visit", names)


@pytest.mark.parametrize("names", [*CARRIED, *(names for names, _ in CHANGED)])
def test_what_is_read_here_is_what_was_written(names):
    ids = pd.Index(
        [*["NA", "None", "01"][: len(names)], *map(str, range(3, len(names)))], name="id"
    )
    written = write_predictions(pd.Series(names, ids, name="visit"))
    pd.testing.assert_series_equal(
        read_predictions(written), pd.Series(names, ids, name="visit"), check_names=True
    )
    chances = pd.DataFrame(np.random.default_rng(0).random((len(names), len(names))), ids, names)
    directory = ProbabilitiesDirectoryFormat()
    chances.to_csv(directory.path / "class_probabilities.tsv", sep="\t")
    pd.testing.assert_frame_equal(read_probabilities(directory), chances, check_exact=True)


@pytest.mark.parametrize("name", ["Sample-ID", "featureid", "#OTU ID", "sample_name"])
def test_names_of_columns_of_ids_are_those_of_qiime(name):
    with pytest.raises(ValueError, match="the name of the column of ids"):
        check_class_names("visit", [name, "b"])
    with pytest.raises(ValueError, match=r"conflicts|reserved"):
        qiime2.Metadata(pd.DataFrame({name: [0.5]}, pd.Index(["sample"], name="id")))
