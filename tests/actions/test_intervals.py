"""Predicted intervals as a user of QIIME 2 makes, reads and judges them."""

import numpy as np
import pandas as pd
import pytest
import qiime2
import run_inputs
from qiime2.plugin import ValidationError
from qiime2.plugins import aam, metadata

from q2_aam.core.options import quantile_levels
from q2_aam.types.intervals import AAMIntervalsFormat

QUICK = {**run_inputs.QUICK, "embedding_dim": 16}
GOOD = "sample-id\tquantile-0.05\tquantile-0.5\tquantile-0.95\n01\t-1.5\t2\t3\nb\t1\t1\t1e3\n"


@pytest.fixture(scope="module")
def table(simulated):
    return qiime2.Artifact.import_data("FeatureTable[Frequency]", simulated.table)


@pytest.fixture(scope="module")
def ages(simulated):
    return qiime2.Metadata(simulated.metadata).get_column("age")


@pytest.fixture(scope="module")
def regressor(table, ages):
    return aam.methods.train_regressor(table, ages, loss_type="quantile", **QUICK).regressor


@pytest.fixture(scope="module")
def intervals(table, regressor):
    return aam.methods.predict_intervals(table, regressor).intervals


def evaluated(intervals, predictions, ages, tmp_path, **options):
    """Return the text of the page."""
    made = aam.visualizers.evaluate_regression(
        predictions, ages, intervals=intervals, **options
    ).visualization
    made.export_data(str(tmp_path / "page"))
    return (tmp_path / "page" / "index.html").read_text(encoding="ascii")


def artifacts(n=200, levels=(0.05, 0.25, 0.5, 0.95), seed=0):
    """Make predictions, intervals of known coverage, true values and groups of n samples."""
    rng, ids = np.random.default_rng(seed), pd.Index([f"s{i}" for i in range(n)], name="id")
    predicted = pd.Series(rng.normal(10, 3, n), ids, name="ph")
    steps = np.linspace(-2, 2, len(levels)) - np.linspace(-2, 2, len(levels))[levels.index(0.5)]
    table = pd.DataFrame(predicted.to_numpy()[:, None] + steps, ids, quantile_levels.names(levels))
    true = pd.Series(predicted + rng.normal(0, 1.5, n), ids, name="ph")
    return predicted, table, true, pd.Series(np.where(np.arange(n) % 4, "b", "a"), ids, name="g")


def imported(predicted, table, true):
    return (
        qiime2.Artifact.import_data("SampleData[AAMIntervals]", table),
        qiime2.Artifact.import_data("SampleData[RegressorPredictions]", predicted),
        qiime2.NumericMetadataColumn(true),
    )


def test_predict_intervals_opens_as_metadata_and_tabulates(intervals, simulated):
    assert str(intervals.type) == "SampleData[AAMIntervals]"
    opened = intervals.view(qiime2.Metadata)
    assert list(opened.columns) == ["quantile-0.05", "quantile-0.5", "quantile-0.95"]
    assert list(opened.ids) == list(simulated.table.ids())
    merged = opened.merge(qiime2.Metadata(simulated.metadata))
    page = metadata.visualizers.tabulate(merged).visualization
    assert str(page.type) == "Visualization"


def test_predict_intervals_has_the_prediction_in_the_middle(intervals, table, regressor):
    predicted = aam.methods.predict_regression(table, regressor).predictions.view(pd.Series)
    median = intervals.view(pd.DataFrame)["quantile-0.5"]
    np.testing.assert_allclose(median, predicted[median.index], rtol=1e-6)


def test_predict_intervals_refuses_a_model_without_quantiles(table, ages):
    plain = aam.methods.train_regressor(table, ages, **QUICK).regressor
    with pytest.raises(ValueError, match=r"column 'age' without quantiles .* loss_type quantile"):
        aam.methods.predict_intervals(table, plain)


def test_format_keeps_every_digit(tmp_path):
    (tmp_path / "good.tsv").write_text(GOOD)
    made = qiime2.Artifact.import_data("SampleData[AAMIntervals]", str(tmp_path / "good.tsv"))
    assert list(made.view(pd.DataFrame).index) == ["01", "b"]
    third = pd.DataFrame([[0.1, 1 / 3, 2.0]], ["x"], quantile_levels.names((0.1, 0.5, 0.6)))
    again = qiime2.Artifact.import_data("SampleData[AAMIntervals]", third).view(pd.DataFrame)
    assert again.to_numpy().tolist() == third.to_numpy().tolist()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"The first line must name .*; found \[''\]"),
        ("id\tage\n1\t2\n", "The first line must name the sample ids"),
        ("id\tquantile-0.9\tquantile-0.5\tquantile-0.1\nb\t1\t2\t3\n", "increasing quantiles"),
        ("id\tquantile-0.1\tquantile-0.9\nb\t1\t2\n", "the median among them"),
        (GOOD.splitlines()[0] + "\n", "nothing is predicted"),
        (GOOD + "c\t1\t2\n", "Line 4 has 3 tab-separated fields, expected 4"),
        (GOOD + "c\t1\t2\tx\n", r"Line 4 \('c'\) has 1, 2, x where finite numbers"),
        (GOOD + "c\t1\t2\tnan\n", "finite numbers that do not decrease"),
        (GOOD + "c\t1\t2\t1.5\n", "finite numbers that do not decrease"),
        (GOOD + "b\t1\t2\t3\n", "id 'b' of line 4 occurs twice"),
    ],
)
def test_format_refuses(text, message, tmp_path):
    (tmp_path / "bad.tsv").write_text(text)
    with pytest.raises(ValidationError, match=message):
        AAMIntervalsFormat(str(tmp_path / "bad.tsv"), mode="r").validate("max")


def test_format_refuses_what_is_no_text(tmp_path):
    (tmp_path / "bad.tsv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ValidationError, match="is not text"):
        AAMIntervalsFormat(str(tmp_path / "bad.tsv"), mode="r").validate("min")


def test_evaluate_regression_tells_how_well_intervals_hold(tmp_path):
    predicted, table, true, groups = artifacts()
    text = evaluated(
        *imported(predicted, table, true),
        tmp_path,
        groups=qiime2.CategoricalMetadataColumn(groups),
    )
    within = true.between(table["quantile-0.05"], table["quantile-0.95"])
    assert f"{within.mean():.1%} of the true values lie in their predicted intervals; 90%" in text
    assert "the intervals are 4.000 wide on average" in text
    assert "The thin upright lines are the predicted intervals" in text
    held = pd.read_csv(tmp_path / "page" / "coverage.tsv", sep="\t")
    assert held.loc[0, "covered"] == pytest.approx(within.mean())
    assert held["nominal"].tolist() == pytest.approx([0.9])
    samples = pd.read_csv(tmp_path / "page" / "samples.tsv", sep="\t", index_col=0)
    assert samples["quantile-0.25"].to_numpy() == pytest.approx(table["quantile-0.25"].to_numpy())
    for name in "ab":
        assert f'<td class="aam-number">{within[groups == name].mean():.1%}</td>' in text
    assert "seem to be of different models" not in text


def test_evaluate_regression_without_intervals_has_none(tmp_path):
    predicted, _, true, _ = artifacts()
    _, predictions, column = imported(predicted, artifacts()[1], true)
    text = evaluated(None, predictions, column, tmp_path)
    assert "Intervals</h2>" not in text
    assert "thin upright lines" not in text
    assert not (tmp_path / "page" / "coverage.tsv").exists()


def test_evaluate_regression_refuses_samples_without_intervals(tmp_path):
    predicted, table, true, _ = artifacts()
    with pytest.raises(ValueError, match=r"2 of the 200 predicted samples, such as 's0', have no"):
        evaluated(*imported(predicted, table.iloc[2:], true), tmp_path)


def test_evaluate_regression_notes_intervals_of_another_model(tmp_path):
    predicted, table, true, _ = artifacts()
    text = evaluated(*imported(predicted, table + 1, true), tmp_path)
    assert "In 200 samples the median of the intervals is not the prediction" in text


def test_evaluate_regression_notes_intervals_of_another_column(tmp_path):
    predicted, table, true, _ = artifacts()
    text = evaluated(*imported(predicted, table, true * 100), tmp_path)
    assert "No true value lies in the interval of its sample. Check that ph is the column" in text


def test_evaluate_regression_with_missing_values_and_one_sample(tmp_path):
    predicted, table, true, _ = artifacts(3)
    true.iloc[:2] = np.nan
    text = evaluated(*imported(predicted, table, true), tmp_path, missing_samples="ignore")
    assert "100.0% of the true values" in text or "0.0% of the true values" in text
