"""Tables of results as a user of QIIME 2 gets them, beside the metadata that they were made of."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import qiime2
from pipeline_recorder import Recorder
from qiime2.plugins import aam, metadata
from run_inputs import QUICK

from q2_aam.actions.pipelines import studies

WITH_MODELS = {
    "regress_samples": ("age", {}, 1),
    "classify_samples": ("site", {}, 1),
    "cross_validate_regression": ("age", {"n_folds": 3}, 3),
    "cross_validate_classification": ("site", {"n_folds": 3}, 3),
}


@pytest.fixture(scope="module")
def study(simulated):
    """Return a table and metadata, of which two samples are not in it, and one has no age."""
    counts, ids = simulated.table.matrix_data.toarray(), list(simulated.table.ids())
    counts[1:, 0] = 0  # so this sample is too shallow
    counts[0, 0] = 20
    table = type(simulated.table)(counts, simulated.table.ids("observation"), ids)
    frame = simulated.metadata.drop(ids[-2:])
    frame.loc[ids[5], "age"] = None
    # Names that other tables of results have, and those of predictions.
    frame = frame.assign(role="x", true_value="y", prediction="z", error=1.0, fold="f")
    return qiime2.Artifact.import_data("FeatureTable[Frequency]", table), qiime2.Metadata(frame)


@pytest.mark.parametrize("name", WITH_MODELS)
def test_pipelines_give_what_they_have_not_looked_into(name, study):
    (table, given), (column, options, n_models) = study, WITH_MODELS[name]
    ctx = Recorder()
    options = {"rarefy_depth": 100, "missing_samples": "ignore", **options}
    outputs = getattr(studies, name)(ctx, table, given.get_column(column), **options)
    kind = "regression" if column == "age" else "classification"
    (call,) = ctx.named(f"tabulate_{kind}")
    assert call["table"] is table
    assert [model.action for model in call["models"]] == [
        "train_regressor" if column == "age" else "train_classifier"
    ] * n_models
    if n_models > 1:
        assert call["groups"].name == "fold"
    names = list(getattr(aam.pipelines, name).signature.outputs)
    assert outputs[names.index("results")].inputs is call


def test_results_of_held_out_samples(study, simulated):
    table, given = study
    made = aam.pipelines.regress_samples(
        table, given.get_column("age"), missing_samples="ignore", **QUICK
    )
    results = made.results.view(qiime2.Metadata)
    frame, predictions = results.to_dataframe(), made.predictions.view(pd.Series)
    ids = list(simulated.table.ids())
    assert set(frame.index) == set(ids)
    tested = frame.index[frame["age_role"] == "test"]
    assert set(tested) == set(predictions.index)
    assert set(frame.index[frame["age_prediction"].notna()]) == set(tested)
    errors = predictions - simulated.metadata["age"][predictions.index]
    pd.testing.assert_series_equal(
        frame["age_error"][predictions.index], errors, check_names=False, rtol=1e-9
    )
    left = frame["age_reason"].dropna().to_dict()
    assert left.pop(ids[5]) == "no value"
    assert {left.pop(name) for name in ids[-2:]} == {"not in the metadata"}
    assert set(left) <= {ids[0]}  # unless it was held out
    sizes = frame["age_role"].value_counts()
    assert sizes.sum() == 48
    assert sizes["training"] > sizes["validation"] > 0
    # Its names are not those of the metadata, so both can be merged.
    both = given.merge(results)
    assert set(both.columns) == set(given.columns) | set(results.columns)
    metadata.visualizers.tabulate(both)


def test_results_of_folds(study):
    table, given = study
    made = aam.pipelines.cross_validate_classification(
        table, given.get_column("site"), n_folds=2, missing_samples="ignore", **QUICK
    )
    frame = made.results.view(pd.DataFrame)
    predicted = made.predictions.view(pd.Series)
    of_folds = frame.loc[predicted.index]
    assert set(of_folds["site_role"]) == {"test"}
    assert sorted(of_folds["site_fold"].value_counts()) == [23, 23]
    right = of_folds["site_true_value"] == of_folds["site_prediction"]
    assert (right == (of_folds["site_correct"] == "yes")).all()
    chances = made.probabilities.view(pd.DataFrame).loc[predicted.index]
    assert of_folds["site_probability"].to_numpy() == pytest.approx(chances.max(axis=1))
    others = frame.drop(predicted.index)
    assert set(others["site_reason"]) == {"not in the metadata"}


def test_a_model_that_keeps_no_ids_leaves_roles_open(study):
    table, given = study
    made = aam.pipelines.classify_samples(
        table, given.get_column("site"), missing_samples="ignore", keep_sample_ids=False, **QUICK
    )
    frame = made.results.view(pd.DataFrame)
    assert frame["site_role"].isna().all()
    assert set(frame.index[frame["site_prediction"].notna()]) == set(
        made.predictions.view(pd.Series).index
    )


def predictions_of(values, ids, kind):
    series = pd.Series(values, pd.Index(ids, name="sample-id"), name="prediction")
    return qiime2.Artifact.import_data(f"SampleData[{kind}Predictions]", series)


def test_names_can_begin_as_one_likes():
    predicted = predictions_of(["1", "0"], ["01", "None"], "Classifier")
    true = pd.Series(["1", "1"], pd.Index(["01", "None"], name="id"), name="ill")
    column = qiime2.CategoricalMetadataColumn(true)
    for prefix, first in ((None, "ill_true_value"), ("b: ", "b: true_value"), ("", "true_value")):
        made = aam.methods.tabulate_classification(predicted, column, prefix=prefix).results
        found = made.view(qiime2.Metadata)
        assert next(iter(found.columns)) == first
        assert found.ids == ("01", "None")
        assert {each.type for each in found.columns.values()} == {"categorical"}
        assert found.to_dataframe().iloc[:, 2].tolist() == ["yes", "no"]


def test_a_numeric_column_of_classes_has_a_way_out():
    predicted = predictions_of(["1", "0"], ["a", "b"], "Classifier")
    column = qiime2.NumericMetadataColumn(
        pd.Series([1.0, 0.0], pd.Index(["a", "b"], name="id"), name="ill")
    )
    with pytest.raises(ValueError, match=r"add a line .*'#q2:types'"):
        aam.methods.tabulate_classification(predicted, column)


def qiime(folder, *words):
    home = str(folder / "home")
    place = {"HOME": home, "XDG_CONFIG_HOME": home, "XDG_CACHE_HOME": home}
    done = subprocess.run(
        [str(Path(sys.executable).parent / "qiime"), *words],
        cwd=folder, env={**os.environ, **place}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def test_results_and_predictions_beside_metadata_on_the_command_line(tmp_path):
    ids = ["01", "None", "3"]
    predictions_of([1.0, 2.5, 3.0], ids, "Regressor").save(str(tmp_path / "predictions"))
    (tmp_path / "metadata.tsv").write_text(
        "sample-id\tage\trole\n01\t1\tx\nNone\t2\ty\n3\t\tz\n4\t5\tz\n"
    )
    of_age = "--m-metadata-file", "metadata.tsv", "--m-metadata-column", "age"
    qiime(
        tmp_path, "aam", "tabulate-regression", "--i-predictions", "predictions.qza", *of_age,
        "--o-results", "results.qza",
    )  # fmt: skip
    for name in ("results", "predictions"):
        qiime(
            tmp_path, "metadata", "tabulate", "--m-input-file", f"{name}.qza",
            "--m-input-file", "metadata.tsv", "--o-visualization", f"{name}.qzv",
        )  # fmt: skip
        shown = qiime2.Visualization.load(str(tmp_path / f"{name}.qzv"))
        shown.export_data(str(tmp_path / name))
        table = qiime2.Metadata.load(str(tmp_path / name / "metadata.tsv"))
        assert set(table.ids) == set(ids)
        assert {"age", "role"} < set(table.columns)
    results = qiime2.Metadata.load(str(tmp_path / "results" / "metadata.tsv")).to_dataframe()
    assert results.loc["None", ["age_true_value", "age_error"]].tolist() == [2.0, 0.5]
    assert pd.isna(results.loc["3", "age_error"])
