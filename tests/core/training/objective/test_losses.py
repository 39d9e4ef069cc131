"""The losses against scikit-learn, SciPy, and sums written out by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import entropy
from sklearn.metrics import log_loss, mean_absolute_error, mean_pinball_loss, mean_squared_error
from sklearn.utils.class_weight import compute_class_weight

from q2_aam.core.data import nucleotides
from q2_aam.core.data.mini_batches import Batch, Labels
from q2_aam.core.data.target import CategoricalTarget, NumericTarget
from q2_aam.core.model.output import Output
from q2_aam.core.options.config import ClassificationConfig, RegressionConfig, Settings
from q2_aam.core.training.objective.losses import (
    Objective,
    abundance_loss,
    class_factors,
    classification_loss,
    fine_tuning_objective,
    masked_bases,
    nucleotide_loss,
    quantile_loss,
    regression_loss,
    unifrac_loss,
)

LEVELS = (0.05, 0.25, 0.5, 0.95)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def numbers(rng):
    """Return predictions and true values, some of them far apart."""
    return rng.normal(size=50), 3 * rng.normal(size=50)


def computed(loss, *arrays):
    return float(loss(*(torch.as_tensor(a) for a in arrays)))


def test_regression_loss_mse_and_mae_equal_scikit_learn(numbers):
    predicted, true = numbers
    column = predicted[:, None]
    mse, mae = mean_squared_error(true, predicted), mean_absolute_error(true, predicted)
    assert computed(regression_loss("mse"), column, true) == pytest.approx(mse)
    assert computed(regression_loss("mae"), column, true) == pytest.approx(mae)


def test_regression_loss_huber_is_squared_up_to_one_and_linear_beyond(numbers):
    predicted, true = numbers
    error = np.abs(predicted - true)
    assert error.min() < 1 < error.max()
    expected = np.where(error <= 1, error**2 / 2, error - 0.5).mean()
    assert computed(regression_loss("huber"), predicted[:, None], true) == pytest.approx(expected)


def test_classification_loss_equals_scikit_learn(rng):
    logits, true = rng.normal(size=(40, 3)), rng.integers(0, 3, 40)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert computed(classification_loss(), logits, true) == pytest.approx(log_loss(true, chances))


def test_classification_loss_weighs_classes_as_scikit_learn(rng):
    logits, true = rng.normal(size=(40, 3)), rng.choice(3, 40, p=[0.7, 0.2, 0.1])
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    factors = class_factors(ClassificationConfig(class_weights="balanced"), true, "abc")
    expected = log_loss(true, chances, sample_weight=factors[true])
    loss = classification_loss(torch.as_tensor(factors))
    assert computed(loss, logits, true) == pytest.approx(expected)


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 4.0])])
def test_classification_loss_does_not_depend_on_batches(rng, weights):
    """So accumulated batches give what one large batch gives."""
    logits, true = torch.as_tensor(rng.normal(size=(12, 2))), torch.as_tensor([0] * 9 + [1] * 3)
    loss = classification_loss(weights)
    parts = [loss(logits[i : i + 4], true[i : i + 4]) for i in (0, 4, 8)]
    torch.testing.assert_close(torch.stack(parts).mean(), loss(logits, true))


def test_classification_loss_weighs_a_batch_of_one_sample():
    logits, true = torch.tensor([[0.0, 1.0]]), torch.tensor([1])
    plain, weighed = classification_loss(), classification_loss(torch.tensor([0.5, 4.0]))
    torch.testing.assert_close(weighed(logits, true), 4 * plain(logits, true))


def test_class_factors_balanced_are_those_of_scikit_learn(rng):
    classes = np.append(rng.choice(3, 40, p=[0.7, 0.2, 0.1]), [0, 1, 2])
    config = ClassificationConfig(class_weights="balanced")
    expected = compute_class_weight("balanced", classes=np.arange(3), y=classes)
    assert class_factors(config, classes, "abc") == pytest.approx(expected)


def test_class_factors_none_are_one():
    assert class_factors(ClassificationConfig(), np.array([0, 0, 1]), "ab").tolist() == [1, 1]


def test_nucleotide_loss_is_the_mean_surprise(rng):
    logits, bases = rng.normal(size=(30, 4)), rng.integers(0, 4, 30)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = log_loss(bases, chances, labels=range(4))
    assert computed(nucleotide_loss, logits, bases) == pytest.approx(expected)


def test_class_factors_by_hand_are_one_on_average():
    config, target = ClassificationConfig(class_weights="b:3,c:2"), np.array([0, 0, 1, 2])
    factors = class_factors(config, target, "abc")
    assert factors / factors[0] == pytest.approx([1, 3, 2])
    assert factors[target].mean() == pytest.approx(1)


@pytest.mark.parametrize(
    ("loss", "true"),
    [
        (regression_loss("huber"), torch.tensor([0.0, 2.0, 5.0])),
        (regression_loss("mae"), torch.tensor([0.0, 2.0, 5.0])),
        (quantile_loss((0.1, 0.5, 0.9)), torch.tensor([0.0, 2.0, 5.0])),
        (classification_loss(torch.tensor([1.0, 2.0, 3.0])), torch.tensor([0, 2, 1])),
    ],
)
def test_weights_of_samples_multiply_their_losses(loss, true, rng):
    said = torch.as_tensor(rng.normal(size=(3, 3)), dtype=torch.float32)
    if loss.__name__ == "of_single_output":
        said = said[:, :1]
    weights = torch.tensor([0.5, 2.0, 0.5])
    each = torch.stack([loss(said[i : i + 1], true[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(loss(said, true, weights), (weights * each).mean())
    torch.testing.assert_close(loss(said, true, torch.ones(3)), loss(said, true))


def test_nucleotide_loss_of_nothing_masked_is_zero_with_a_gradient():
    logits = torch.zeros(0, 4, requires_grad=True)
    loss = nucleotide_loss(logits, torch.zeros(0, dtype=torch.long))
    assert loss == 0
    loss.backward()


def test_unifrac_loss_is_the_mean_squared_error(rng):
    predicted, true = rng.random((5, 7)), rng.random((5, 7))
    expected = mean_squared_error(true.ravel(), predicted.ravel())
    assert computed(unifrac_loss, predicted, true) == pytest.approx(expected)


def test_unifrac_loss_of_a_batch_without_pairs_is_zero():
    assert computed(unifrac_loss, np.zeros(0), np.zeros(0)) == 0


def test_abundance_loss_is_the_divergence_of_scipy(rng):
    logits = rng.normal(size=(4, 6))
    counts = rng.integers(1, 50, (4, 6)).astype(float)
    counts[1, 4:], logits[1, 4:] = 0, -np.inf
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = [entropy(n[n > 0], p[n > 0]) for n, p in zip(counts, chances, strict=True)]
    assert computed(abundance_loss, logits, counts) == pytest.approx(np.mean(expected), rel=1e-5)


def test_abundance_loss_is_zero_for_true_abundances(rng):
    counts = torch.as_tensor(rng.integers(1, 50, (4, 6)), dtype=torch.float32)
    assert abundance_loss(counts.log(), counts) == pytest.approx(0, abs=1e-6)


def test_abundance_loss_has_a_finite_gradient_where_padded():
    logits = torch.tensor([[1.0, 2.0, -torch.inf]], requires_grad=True)
    abundance_loss(logits, torch.tensor([[3.0, 5.0, 0.0]])).backward()
    assert logits.grad.isfinite().all()
    assert logits.grad[0, 2] == 0


def test_abundance_loss_of_half_precision_is_computed_in_full(rng):
    counts = torch.as_tensor(rng.integers(1, 50, (4, 600)), dtype=torch.float32)
    logits = torch.as_tensor(rng.normal(size=(4, 600))).to(torch.bfloat16)
    torch.testing.assert_close(
        abundance_loss(logits, counts), abundance_loss(logits.float(), counts)
    )


@pytest.fixture
def said(rng):
    """Return a batch of 3 samples with 2 ASVs and what a model might say of it."""
    batch = Batch(
        rows=torch.arange(3),
        asvs=torch.arange(2),
        tokens=torch.tensor([[1, 2, 3, 4], [4, 3, 2, 1]], dtype=torch.uint8),
        asv_index=torch.tensor([[0, 1]] * 3),
        counts=torch.tensor([[5.0, 1.0], [2.0, 2.0], [1.0, 9.0]]),
        masked_of=torch.tensor([1]),
        masked_at=torch.tensor([[True, False, False, True]]),
        target=torch.tensor([0.5, -1.0, 2.0]),
    )
    output = Output(
        nucleotides=torch.as_tensor(rng.normal(size=(2, 4))),
        abundance=torch.as_tensor(rng.normal(size=(3, 2))),
        read=(torch.as_tensor(rng.normal(size=(3, 1))),),
    )
    pairs = torch.as_tensor(rng.random((3, 4))), torch.as_tensor(rng.random((3, 4)))
    return batch, output, pairs


def test_masked_bases_are_those_under_the_mask(said):
    bases = masked_bases(said[0])
    assert bases.tolist() == [4 - nucleotides.FIRST_BASE, 1 - nucleotides.FIRST_BASE]


def test_objective_is_the_sum_weighed_by_the_penalties(said):
    batch, output, pairs = said
    terms = {
        "target": regression_loss("mse")(output.read[0], batch.target),
        "unifrac": unifrac_loss(*pairs) / 0.25,
        "nuc": nucleotide_loss(output.nucleotides, masked_bases(batch)),
        "count": abundance_loss(output.abundance, batch.counts),
    }
    weights = {"target": 3.0, "unifrac": 0.5, "nuc": 2.0, "count": 0.1}
    objective = Objective(
        penalty=0.5, nuc_penalty=2.0, count_penalty=0.1, target_penalty=3.0,
        unifrac_variance=0.25, target_loss=regression_loss("mse"),
    )  # fmt: skip
    losses = objective(batch, output, pairs)
    for name, term in terms.items():
        torch.testing.assert_close(getattr(losses, name), term)
    torch.testing.assert_close(losses.total, sum(weights[n] * terms[n] for n in terms))
    assert list(losses.terms()) == [
        "total_loss", "target_loss", "unifrac_loss", "nuc_loss", "count_loss",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("penalty", "term"),
    [
        ("penalty", "unifrac_loss"),
        ("nuc_penalty", "nuc_loss"),
        ("count_penalty", "count_loss"),
        ("target_penalty", "target_loss"),
    ],
)
def test_objective_zero_penalty_switches_a_loss_off(said, penalty, term):
    weights = dict.fromkeys(("penalty", "nuc_penalty", "count_penalty", "target_penalty"), 1.0)
    full = Objective(**weights, target_loss=regression_loss("mse"))(*said).terms()
    weights[penalty] = 0.0
    without = Objective(**weights, target_loss=regression_loss("mse"))(*said).terms()
    assert set(full) - set(without) == {term}
    torch.testing.assert_close(without["total_loss"], full["total_loss"] - full[term])


@pytest.mark.parametrize("kind", ["huber", "mse", "mae"])
def test_fine_tuning_objective_takes_loss_type(said, kind):
    settings = Settings.from_options({"loss_type": kind}, RegressionConfig)
    values = pd.Series([1.0, 2.0, 4.0])
    objective = fine_tuning_objective(settings, NumericTarget("age"), values, None)
    batch, output, _ = said
    expected = regression_loss(kind)(output.read[0], batch.target)
    assert objective(batch, output).target == expected


def test_fine_tuning_objective_takes_class_weights():
    options = {"class_weights": "balanced"}
    settings = Settings.from_options(options, ClassificationConfig)
    target = CategoricalTarget("site", ("a", "b"))
    values = pd.Series(["a", "a", "a", "b"])
    loss = fine_tuning_objective(settings, target, values, None).target_loss
    rare = loss(torch.zeros(1, 2), torch.tensor([1]))
    assert rare == pytest.approx(2 * np.log(2))
    common = loss(torch.zeros(1, 2), torch.tensor([0]))
    assert common == pytest.approx(2 / 3 * np.log(2))


def test_fine_tuning_objective_has_unifrac_only_with_a_phylogeny():
    settings = Settings.from_options({"penalty": 2.0}, RegressionConfig)
    objective = fine_tuning_objective(settings, NumericTarget("age"), pd.Series([1.0]), None)
    assert objective.penalty == 0


def test_target_loss_is_the_mean_of_each_network_and_of_what_is_asked_beside(said, rng):
    batch, output, _ = said
    compared = tuple(torch.as_tensor(rng.normal(size=(2, 8, 1))))
    asked = torch.as_tensor(rng.normal(size=5))
    mae, mse = regression_loss("mae"), regression_loss("mse")
    objective = Objective(target_penalty=1.0, target_loss=mse, comparison_loss=mae)
    found = objective(batch, replace(output, compared=compared), None, Labels(asked)).target
    own = np.mean([float(mae(x[:3], batch.target)) for x in compared])
    others = np.mean([float(mae(x[3:], asked)) for x in compared])
    read = float(mse(output.read[0], batch.target))
    assert float(found) == pytest.approx(read + own / 8 + 7 * others / 8, rel=1e-5)
    alone = tuple(said[:3] for said in compared)
    found = objective(batch, replace(output, compared=alone, read=())).target
    assert float(found) == pytest.approx(own)


def test_fine_tuning_objective_frozen_teaches_the_encoder_nothing():
    settings = Settings.from_options({"freeze_base": True}, RegressionConfig)
    objective = fine_tuning_objective(settings, NumericTarget("age"), pd.Series([1.0]), None)
    assert (objective.nuc_penalty, objective.count_penalty) == (0, 0)


def test_quantile_loss_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    predicted, true = np.sort(rng.normal(size=(50, 4))), rng.normal(size=50)
    expected = sum(
        mean_pinball_loss(true, predicted[:, i], alpha=level) for i, level in enumerate(LEVELS)
    )
    loss = quantile_loss(LEVELS)(torch.from_numpy(predicted), torch.from_numpy(true))
    assert float(loss) == pytest.approx(expected)
