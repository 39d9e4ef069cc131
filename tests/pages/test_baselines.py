"""The pages that compare a model with a random forest: the sentence, the table, the file."""

import html
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import qiime2
from qiime2.plugins import aam

from q2_aam.core.evaluation.scores import regression_scores
from q2_aam.pages import baselines, regression
from q2_aam.pages.frame import number

N = 80
IDS = pd.Index([f"s{i:02d}" for i in range(N)], name="sample-id")
SITES = ("gut", "oral", "skin")


def ages(error, seed=0):
    """Return true ages, and ages that are off by so much."""
    true = np.random.default_rng(0).normal(40, 12, N).round(1)
    noise = np.random.default_rng(seed).normal(size=N)
    return pd.Series(true, IDS, name="age"), pd.Series(true + error * noise, IDS, name="age")


def sites(share_right, seed=0):
    """Return true sites, predicted sites and their probabilities."""
    true = np.random.default_rng(0).integers(3, size=N)
    rng = np.random.default_rng(seed)
    said = np.where(rng.random(N) < share_right, true, (true + 1) % 3)
    chances = pd.DataFrame(0.2 + 0.4 * np.eye(3)[said], IDS, list(SITES))
    named = (pd.Series([SITES[i] for i in codes], IDS, name="site") for codes in (true, said))
    return (*named, chances)


def artifact(kind, data):
    return qiime2.Artifact.import_data(f"SampleData[{kind}]", data)


def read(visualization, directory):
    visualization.export_data(str(directory))
    text = (Path(directory) / "index.html").read_text(encoding="ascii")
    text = re.sub(r"<(script|style)\b.*?</\1>", " ", text, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


def evaluate_ages(model, forest, directory):
    true, predicted = ages(model, 1)
    made = aam.visualizers.evaluate_regression(
        artifact("RegressorPredictions", predicted),
        qiime2.NumericMetadataColumn(true),
        forest_predictions=artifact("RegressorPredictions", ages(forest, 2)[1]),
    )
    return read(made.visualization, directory)


def evaluate_sites(model, forest, directory):
    true, predicted, chances = sites(model, 1)
    _, other, of_other = sites(forest, 2)
    made = aam.visualizers.evaluate_classification(
        artifact("ClassifierPredictions", predicted),
        artifact("Probabilities", chances),
        qiime2.CategoricalMetadataColumn(true),
        forest_predictions=artifact("ClassifierPredictions", other),
        forest_probabilities=artifact("Probabilities", of_other),
    )
    return read(made.visualization, directory)


BETTER = "The model is better than the random forest on these samples: "
NO_BETTER = "The model is no better than the random forest, as far as these samples show: "
WORSE = "The model is worse than the random forest on these samples: "
OUTCOMES = {"better": BETTER, "alike": NO_BETTER, "worse": WORSE}


@pytest.mark.parametrize(
    ("model", "forest", "outcome"), [(2, 6, "better"), (4, 4, "alike"), (6, 2, "worse")]
)
def test_page_of_numbers_says_which_is_better(model, forest, outcome, tmp_path):
    text = evaluate_ages(model, forest, tmp_path)
    for name, said in OUTCOMES.items():
        assert (said in text) == (name == outcome)
    true, predicted = ages(model, 1)
    maes = [regression_scores(true, made)["mae"].value for made in (predicted, ages(forest, 2)[1])]
    between = "against" if outcome == "alike" else "instead of"
    assert f"mean absolute error {number(maes[0])} {between} {number(maes[1])} (diff" in text


@pytest.mark.parametrize(
    ("model", "forest", "outcome"),
    [(0.9, 0.5, "better"), (0.7, 0.7, "alike"), (0.5, 0.9, "worse")],
)
def test_page_of_classes_says_which_is_better(model, forest, outcome, tmp_path):
    text = evaluate_sites(model, forest, tmp_path)
    for name, said in OUTCOMES.items():
        assert (said in text) == (name == outcome)


def test_scores_stand_side_by_side(tmp_path):
    text = evaluate_ages(2, 6, tmp_path)
    assert "Beside the random forest" in text
    assert "Scores of the model and of the random forest" in text
    table = pd.read_csv(tmp_path / "baseline-scores.tsv", sep="\t", index_col="score")
    assert set(table["baseline"]) == {"random forest"}
    own, other = (
        {name: score.value for name, score in regression_scores(*pair).items()}
        for pair in (ages(2, 1), ages(6, 2))
    )
    for name in own:
        assert table["value"][name] == pytest.approx(other[name])
        assert table["model minus baseline"][name] == pytest.approx(own[name] - other[name])
    assert (table["difference low"] < table["difference high"]).all()


def test_without_a_baseline_nothing_is_said_of_one(tmp_path):
    true, predicted = ages(2, 1)
    made = aam.visualizers.evaluate_regression(
        artifact("RegressorPredictions", predicted), qiime2.NumericMetadataColumn(true)
    )
    assert "forest" not in read(made.visualization, tmp_path)
    assert not (tmp_path / "baseline-scores.tsv").exists()


def test_several_baselines_are_compared_in_their_order():
    true, predicted = ages(2, 1)
    others = {"random forest": ages(6, 2)[1], "covariates alone": ages(12, 3)[1]}
    page = regression.page(predicted, true, None, "error", 0, baselines=others)
    assert [s.title for s in page.sections[1:3]] == [f"Beside the {name}" for name in others]
    assert [name in said for name, said in zip(others, page.lead[1:], strict=True)] == [True] * 2


def test_a_baseline_of_more_samples_is_compared_on_those_of_the_model():
    true, predicted = ages(2, 1)
    other = ages(6, 2)[1]
    some = predicted.iloc[:30]
    page = regression.page(some, true, None, "error", 0, baselines={baselines.FOREST: other})
    found = page.downloads["baseline-scores.tsv"].table.set_index("score")["value"]["mae"]
    expected = regression_scores(true.iloc[:30], other.iloc[:30])["mae"].value
    assert found == pytest.approx(expected)


def test_a_baseline_of_other_samples_is_refused():
    true, predicted = ages(2, 1)
    other = {baselines.FOREST: ages(6, 2)[1].drop("s07")}
    with pytest.raises(ValueError, match=r"of the 80 samples .* 's07' has none\. Let both"):
        regression.page(predicted, true, None, "error", 0, baselines=other)


def test_a_baseline_with_a_sample_twice_is_refused():
    true, predicted = ages(2, 1)
    other = ages(6, 2)[1]
    twice = {baselines.FOREST: pd.concat([other, other.iloc[:1]])}
    with pytest.raises(ValueError, match="'s00' has more than one"):
        regression.page(predicted, true, None, "error", 0, baselines=twice)


def test_probabilities_of_the_forest_belong_to_its_predictions():
    true, predicted, chances = sites(0.9)
    with pytest.raises(ValueError, match="forest_predictions is given without forest_probab"):
        aam.visualizers.evaluate_classification(
            artifact("ClassifierPredictions", predicted),
            artifact("Probabilities", chances),
            qiime2.CategoricalMetadataColumn(true),
            forest_predictions=artifact("ClassifierPredictions", predicted),
        )


@pytest.mark.parametrize("grouped", [False, True])
def test_scores_have_columns_of_the_forest(grouped):
    true, predicted = ages(2, 1)
    other = ages(6, 2)[1]
    half = pd.Series(["a", "b"] * (N // 2), IDS, name="half")
    scores = aam.methods.score_regression(
        artifact("RegressorPredictions", predicted),
        qiime2.NumericMetadataColumn(true),
        groups=qiime2.CategoricalMetadataColumn(half) if grouped else None,
        forest_predictions=artifact("RegressorPredictions", other),
    ).scores
    table = scores.view(pd.DataFrame).set_index("group")
    expected = regression_scores(true, other)["r2"]
    assert table["forest_r2"]["all samples"] == pytest.approx(expected.value)
    assert table["forest_r2_low"]["all samples"] == pytest.approx(expected.low)
    assert "forest_r2" in scores.view(qiime2.Metadata).columns
    if grouped:
        of_a = half.index[half == "a"]
        expected = regression_scores(true[of_a], other[of_a])["mae"].value
        assert table["forest_mae"]["a"] == pytest.approx(expected)


def test_scores_of_a_forest_of_other_samples_are_refused():
    true, predicted = ages(2, 1)
    with pytest.raises(ValueError, match=r"of the 80 samples .* 's07' has none\. Let both"):
        aam.methods.score_regression(
            artifact("RegressorPredictions", predicted),
            qiime2.NumericMetadataColumn(true),
            forest_predictions=artifact("RegressorPredictions", ages(6, 2)[1].drop("s07")),
        )
