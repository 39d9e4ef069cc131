"""Scores against scikit-learn and SciPy, and their intervals against what they promise."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics

from q2_aam.core.evaluation import scores

NAMES = ("gut", "oral", "skin")


def numbers(n=80, seed=0):
    rng = np.random.default_rng(seed)
    true = rng.integers(20, 40, size=n).astype(float)  # with ties
    return true, np.round(true + rng.normal(0, 4, size=n))


def classes(n=90, seed=0, names=NAMES):
    rng = np.random.default_rng(seed)
    true = rng.integers(len(names), size=n)
    logits = rng.normal(size=(n, len(names))) + 1.5 * np.eye(len(names))[true]
    table = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    probabilities = pd.DataFrame(table.round(2) + 1e-3, columns=list(names))  # with ties
    predicted = [names[i] for i in probabilities.to_numpy().argmax(axis=1)]
    return [names[i] for i in true], predicted, probabilities


def test_regression_scores_are_those_of_scikit_learn():
    true, predicted = numbers()
    found = {
        name: score.value for name, score in scores.regression_scores(true, predicted).items()
    }
    expected = {
        "r2": metrics.r2_score(true, predicted),
        "mae": metrics.mean_absolute_error(true, predicted),
        "rmse": metrics.mean_squared_error(true, predicted) ** 0.5,
        "pearson": stats.pearsonr(true, predicted)[0],
        "spearman": stats.spearmanr(true, predicted)[0],
    }
    assert found == pytest.approx(expected)


def test_regression_statistic_of_counts_is_that_of_repeated_samples():
    true, predicted = numbers()
    drawn = np.random.default_rng(1).integers(len(true), size=len(true))
    counts = np.bincount(drawn, minlength=len(true)).astype(float)
    found = scores.regression_statistic(true, predicted)(counts)
    repeated = scores.regression_scores(true[drawn], predicted[drawn])
    assert found == pytest.approx([score.value for score in repeated.values()])


def test_regression_baselines_are_the_scores_of_constants():
    true, predicted = numbers()
    found = scores.regression_scores(true, predicted)
    mean, median = np.full(len(true), true.mean()), np.full(len(true), np.median(true))
    assert found["r2"].baseline == pytest.approx(metrics.r2_score(true, mean))
    assert found["rmse"].baseline == pytest.approx(metrics.mean_squared_error(true, mean) ** 0.5)
    assert found["mae"].baseline == pytest.approx(metrics.mean_absolute_error(true, median))
    assert np.isnan(found["pearson"].baseline)


@pytest.mark.parametrize(("true", "predicted"), [([3.0], [4.0]), ([0.1] * 5, [1, 2, 3, 4, 5])])
def test_regression_scores_that_are_not_defined_are_nan(true, predicted):
    found = scores.regression_scores(true, predicted)
    for name in "r2", "pearson", "spearman":
        assert np.isnan([found[name].value, found[name].low, found[name].high]).all()
    assert np.isfinite(found["mae"].value)


def test_regression_scores_refuse_what_is_no_number():
    with pytest.raises(ValueError, match="finite numbers"):
        scores.regression_scores([1.0, np.nan], [1.0, 2.0])
    with pytest.raises(ValueError, match="at least one sample"):
        scores.regression_scores([], [])


def test_bootstrap_interval_agrees_with_the_standard_error():
    values = np.random.default_rng(0).normal(size=400)
    low, high = scores.bootstrap(lambda counts: np.array([counts @ values / 400]), 400, 1000, 0)
    error = 1.96 * values.std() / 20
    assert low[0] == pytest.approx(values.mean() - error, abs=0.1 * error)
    assert high[0] == pytest.approx(values.mean() + error, abs=0.1 * error)


def test_bootstrap_follows_its_seed():
    true, predicted = numbers()
    first, again, other = (scores.regression_scores(true, predicted, seed) for seed in (0, 0, 1))
    assert first == again
    assert first["r2"].low != other["r2"].low
    assert first["r2"].low < first["r2"].value < first["r2"].high


def test_replicates_are_fewer_where_one_takes_long():
    assert scores.replicates_for(100) == scores.BOOTSTRAPS
    assert scores.replicates_for(10**9) == scores.FEWEST_BOOTSTRAPS


@pytest.mark.parametrize("names", [NAMES, ("no", "yes")])
def test_classification_scores_are_those_of_scikit_learn(names):
    true, predicted, probabilities = classes(names=names)
    found = scores.classification_scores(true, predicted, probabilities).overall
    shares = probabilities.div(probabilities.sum(axis=1), axis=0).to_numpy()
    given = shares[:, 1] if len(names) == 2 else shares
    expected = {
        "accuracy": metrics.accuracy_score(true, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(true, predicted),
        "macro_f1": metrics.f1_score(true, predicted, average="macro"),
        "macro_auc": metrics.roc_auc_score(true, given, multi_class="ovr", labels=list(names)),
        "log_loss": metrics.log_loss(true, shares, labels=list(names)),
    }
    values = {name: found[name].value for name in expected}
    assert values == pytest.approx(expected)
    for score in found.values():
        assert score.low <= score.value <= score.high or score is found["ece"]


def test_scores_by_class_are_those_of_scikit_learn():
    true, predicted, probabilities = classes()
    report = scores.classification_scores(true, predicted, probabilities)
    shares = probabilities.div(probabilities.sum(axis=1), axis=0)
    table = metrics.precision_recall_fscore_support(true, predicted, labels=list(NAMES))
    for i, found in enumerate(report.by_class):
        is_class = np.array(true) == found.name
        assert (found.precision, found.recall, found.f1, found.n_true) == pytest.approx(
            [column[i] for column in table]
        )
        chance = shares[found.name]
        assert found.auc.value == pytest.approx(metrics.roc_auc_score(is_class, chance))
        expected = metrics.average_precision_score(is_class, chance)
        assert found.average_precision.value == pytest.approx(expected)
        assert found.average_precision.baseline == pytest.approx(is_class.mean())
    confusion = metrics.confusion_matrix(true, predicted, labels=list(NAMES))
    assert report.confusion.to_numpy().tolist() == confusion.tolist()


def test_classification_statistic_of_counts_is_that_of_repeated_samples():
    true, predicted, probabilities = classes(n=30)
    drawn = np.random.default_rng(3).integers(30, size=30)
    counts = np.bincount(drawn, minlength=30).astype(float)
    t, p = (np.array([NAMES.index(name) for name in labels]) for labels in (true, predicted))
    chances = scores._shares(probabilities)
    found = scores.classification_statistic(t, p, chances, 3)(counts)
    repeated = scores.classification_statistic(t[drawn], p[drawn], chances[drawn], 3)(np.ones(30))
    assert found == pytest.approx(repeated, nan_ok=True)


def test_classification_baselines_are_the_scores_of_the_commonest_class():
    true, predicted, probabilities = classes(n=50)
    found = scores.classification_scores(true, predicted, probabilities).overall
    shares = pd.Series(true).value_counts(normalize=True)
    constant = [shares.index[0]] * len(true)
    chances = np.tile(shares[list(NAMES)], (len(true), 1))
    expected = {
        "accuracy": metrics.accuracy_score(true, constant),
        "balanced_accuracy": metrics.balanced_accuracy_score(true, constant),
        "macro_f1": metrics.f1_score(true, constant, average="macro"),
        "macro_auc": metrics.roc_auc_score(true, chances, multi_class="ovr", labels=NAMES),
        "log_loss": metrics.log_loss(true, chances, labels=NAMES),
        "ece": 0.0,
    }
    assert {name: score.baseline for name, score in found.items()} == pytest.approx(expected)


def test_classes_without_probabilities_count_as_missed():
    probabilities = pd.DataFrame({"a": [0.9, 0.2, 0.5], "b": [0.1, 0.8, 0.5]})
    report = scores.classification_scores(["a", "b", "new"], ["a", "b", "a"], probabilities)
    assert list(report.confusion.index) == ["a", "b", "new"]
    assert report.overall["accuracy"].value == pytest.approx(2 / 3)
    assert np.isnan(report.by_class[2].auc.value)
    expected = (-np.log(0.9) - np.log(0.8) - np.log(scores.LEAST_PROBABILITY)) / 3
    assert report.overall["log_loss"].value == pytest.approx(expected)


def test_a_single_class_has_no_auc():
    probabilities = pd.DataFrame({"a": [0.9, 0.2], "b": [0.1, 0.8]})
    report = scores.classification_scores(["a", "a"], ["a", "b"], probabilities)
    assert np.isnan(report.overall["macro_auc"].value)
    assert report.overall["accuracy"].value == 0.5


@pytest.mark.parametrize("wrong", [np.nan, -0.1, 0.0])
def test_classification_scores_refuse_impossible_probabilities(wrong):
    probabilities = pd.DataFrame({"a": [wrong, 0.5], "b": [0.0, 0.5]})
    with pytest.raises(ValueError, match="must be finite, at least 0, and not all 0"):
        scores.classification_scores(["a", "b"], ["a", "b"], probabilities)


def test_calibration_error_of_perfect_and_of_overconfident_predictions():
    true = ["a", "a", "b", "b"]
    sure = pd.DataFrame({"a": [1.0, 1, 0, 0], "b": [0.0, 0, 1, 1]})
    right = scores.classification_scores(true, true, sure).overall["ece"]
    assert right.value == 0
    half = pd.DataFrame({"a": [1.0, 0, 0, 1], "b": [0.0, 1, 1, 0]})
    wrong = scores.classification_scores(true, ["a", "b", "b", "a"], half).overall["ece"]
    assert wrong.value == pytest.approx(0.5)
