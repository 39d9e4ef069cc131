"""Validation metrics against scikit-learn's, over batches of unequal sizes."""

import numpy as np
import pytest
import torch
from sklearn import metrics as reference

from q2_aam.core.data.target import TRANSFORMS, CategoricalTarget, NumericTarget
from q2_aam.core.training.objective.validation_metrics import (
    ClassificationMetrics,
    RegressionMetrics,
    monitored,
)

SIZES = [1, 7, 3, 8, 1]


def in_batches(metrics, output, true, sizes=SIZES):
    """Compute metrics of all samples, given in batches of these sizes."""
    output, true = (torch.as_tensor(a) for a in (output, true))
    for part in zip(output.split(sizes), true.split(sizes), strict=True):
        metrics.update(*part)
    return {name: float(value) for name, value in metrics.compute().items()}


def regression_reference(true, predicted):
    return {
        "mae": reference.mean_absolute_error(true, predicted),
        "mse": reference.mean_squared_error(true, predicted),
        "r2": reference.r2_score(true, predicted),
    }


def columns(scale=1.0, shift=0.0):
    """Return true values of a column, and predictions that are near them."""
    rng = np.random.default_rng(0)
    true = shift + scale * rng.gamma(2.0, size=sum(SIZES))
    return true, true + scale * rng.normal(size=len(true)) / 2


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_regression_metrics_equal_scikit_learn_in_units_of_the_column(transform):
    true, predicted = columns(30, 5)
    target = NumericTarget.fit("age", true, transform)
    output = target.to_learnt(predicted)[:, None]
    found = in_batches(RegressionMetrics(target), output, target.to_learnt(true))
    assert found == pytest.approx(regression_reference(true, predicted))


@pytest.mark.parametrize(
    ("scale", "shift"), [(3, 2010), (1e-4, 0), (1e6, 0), (0.1, -5e4)], ids=str
)
def test_regression_metrics_of_single_precision_keep_large_and_small_columns(scale, shift):
    """Years differ little beside their size; moles in a litre differ little at all."""
    true, predicted = columns(scale, shift)
    target = NumericTarget.fit("column", true, "zscore")
    learnt = [target.to_learnt(v).astype(np.float32) for v in (predicted, true)]
    found = in_batches(RegressionMetrics(target), learnt[0][:, None], learnt[1])
    assert found == pytest.approx(regression_reference(true, predicted), rel=1e-4)


def test_regression_metrics_start_anew_after_each_validation():
    true, predicted = columns()
    metrics = RegressionMetrics(NumericTarget("age"))
    in_batches(metrics, predicted[:, None] + 100, true)
    found = in_batches(metrics, predicted[:, None], true)
    assert found == pytest.approx(regression_reference(true, predicted))


def test_regression_metrics_of_one_sample_have_no_r2():
    found = in_batches(RegressionMetrics(NumericTarget("age")), [[3.0]], [1.0], [1])
    assert found == {"mae": 2.0, "mse": 4.0}


@pytest.mark.parametrize("error", [0.0, 1.0])
def test_regression_metrics_of_equal_values_are_those_of_scikit_learn(error):
    true, predicted = np.full(20, 7.0), np.full(20, 7.0 + error)
    found = in_batches(RegressionMetrics(NumericTarget("age")), predicted[:, None], true)
    assert found == pytest.approx(regression_reference(true, predicted))


def classification_reference(true, predicted):
    options = {"average": "macro", "zero_division": 0}
    return {
        "accuracy": reference.accuracy_score(true, predicted),
        "precision": reference.precision_score(true, predicted, **options),
        "recall": reference.recall_score(true, predicted, **options),
        "f1": reference.f1_score(true, predicted, **options),
    }


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("n_classes", [2, 3, 9])
def test_classification_metrics_equal_scikit_learn(n_classes, seed):
    """With nine classes some occur in neither the predictions nor the truth."""
    rng = np.random.default_rng(seed)
    classes = tuple(f"class{i}" for i in range(n_classes))
    true = rng.choice(n_classes, sum(SIZES), p=rng.dirichlet(np.ones(n_classes)))
    logits = rng.normal(size=(len(true), n_classes)) + np.eye(n_classes)[true]
    found = in_batches(ClassificationMetrics(CategoricalTarget("site", classes)), logits, true)
    expected = classification_reference(true, logits.argmax(axis=1))
    assert found == pytest.approx(expected, rel=1e-5)


def test_classification_metrics_start_anew_after_each_validation():
    metrics = ClassificationMetrics(CategoricalTarget("site", ("a", "b")))
    logits, true = np.eye(2)[[0, 1, 1, 0]], np.array([0, 1, 1, 0])
    assert in_batches(metrics, 1 - logits, true, [3, 1])["accuracy"] == 0
    assert in_batches(metrics, logits, true, [1, 3])["accuracy"] == 1


@pytest.mark.parametrize(
    ("best_metric", "has_target", "expected"),
    [
        ("val_loss", False, ("val/total_loss", "min")),
        ("val_loss", True, ("val/target_loss", "min")),
        ("mae", True, ("val/mae", "min")),
        ("r2", True, ("val/r2", "max")),
        ("accuracy", True, ("val/accuracy", "max")),
        ("f1", True, ("val/f1", "max")),
    ],
)
def test_monitored_names_what_chooses_the_epoch(best_metric, has_target, expected):
    assert monitored(best_metric, has_target) == expected
