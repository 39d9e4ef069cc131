import numpy as np
import pandas as pd
import pytest
import qiime2
from qiime2 import Artifact
from qiime2.plugin import ValidationError

from q2_aam.types.results import AAMResultsFormat

IDS = ["01", "1", "None", "NA", "nan", "1e3", '"q"', "größe 1"]


def table(ids=IDS, **columns):
    return pd.DataFrame(columns, pd.Index(ids, name="sample-id", dtype=object))


def test_ids_classes_and_missing_values_stay_as_they_are():
    classes = pd.Series(["1", "0", "None", "NA", None, "01", "1.0", "x"], dtype=object).to_numpy()
    numbers = [1.5, np.nan, -2.0, 1e-300, 0.1 + 0.2, 3.0, 4.0, 5.0]
    given = table(prediction=classes, error=numbers, role=np.full(8, None, dtype=object))
    artifact = Artifact.import_data("SampleData[AAMResults]", given)
    metadata = artifact.view(qiime2.Metadata)
    assert metadata.ids == tuple(IDS)
    assert isinstance(metadata.get_column("prediction"), qiime2.CategoricalMetadataColumn)
    assert isinstance(metadata.get_column("role"), qiime2.CategoricalMetadataColumn)
    assert isinstance(metadata.get_column("error"), qiime2.NumericMetadataColumn)
    read = artifact.view(pd.DataFrame)
    assert [None if pd.isna(v) else v for v in read["prediction"]] == classes.tolist()
    np.testing.assert_allclose(read["error"], numbers, rtol=1e-14)
    assert metadata.artifacts == (artifact,)


def test_classes_that_are_all_numbers_stay_classes(tmp_path):
    given = table(["a", "b"], prediction=np.array(["1", "0"], dtype=object))
    artifact = Artifact.import_data("SampleData[AAMResults]", given)
    artifact.export_data(str(tmp_path))
    lines = (tmp_path / "results.tsv").read_text().splitlines()
    assert lines[:2] == ["sample-id\tprediction", "#q2:types\tcategorical"]
    again = Artifact.import_data("SampleData[AAMResults]", str(tmp_path))
    column = again.view(qiime2.Metadata).get_column("prediction")
    assert isinstance(column, qiime2.CategoricalMetadataColumn)
    assert column.to_series().tolist() == ["1", "0"]


@pytest.mark.parametrize("name", ["#a", "id", "Sample-ID", " a", "a\tb"])
def test_ids_that_metadata_cannot_have_are_told_and_left_out(name, caplog):
    artifact = Artifact.import_data("SampleData[AAMResults]", table([name, "b"], error=[1.0, 2.0]))
    assert artifact.view(qiime2.Metadata).ids == ("b",)
    assert "1 samples are not in the table of results, such as" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "are not metadata"),
        ("name\tx\na\t1\n", "are not metadata"),
        ("sample-id\tx\na\t1\na\t2\n", "are not metadata"),
        ("sample-id\na\n", "have no column beside the sample ids"),
    ],
)
def test_format_refuses_what_is_no_metadata(text, message, tmp_path):
    (tmp_path / "results.tsv").write_text(text)
    with pytest.raises(ValidationError, match=message):
        AAMResultsFormat(str(tmp_path / "results.tsv"), mode="r").validate()
