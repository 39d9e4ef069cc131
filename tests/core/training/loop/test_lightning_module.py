"""Training as a whole: what a step is, what is validated, what is kept."""

import numpy as np
import pytest
import torch

from q2_aam.core import api
from q2_aam.core.training.loop.lightning_module import TrainingModule
from q2_aam.core.training.objective.unifrac_prediction import StripeComparison


@pytest.fixture
def plain(quick):
    """Return options with which nothing is drawn at random in training."""
    return {
        **quick,
        "optimizer": "sgd",
        "dropout": 0.0,
        "asv_dropout": 0.0,
        "nuc_penalty": 0.0,
        "test_size": 0.0,
        "stored_samples": 0,
    }


def assert_same_weights(a, b, **tolerance):
    for name, value in a.weights.items():
        torch.testing.assert_close(
            value, b.weights[name], **tolerance, msg=lambda m, n=name: n + m
        )


@pytest.fixture
def pretraining(plain):
    """Return the same for pre-training."""
    own = ("stored_samples", "asv_dropout")
    return {name: value for name, value in plain.items() if name not in own}


@pytest.fixture
def train(simulated, plain):
    """Return what trains a model on a column of the simulated samples."""

    def of(column, **options):
        action = {"age": api.train_regressor, "site": api.train_classifier}[column]
        return action(simulated.table, simulated.metadata[column], **{**plain, **options})

    return of


@pytest.mark.parametrize(("column", "stored_samples"), [("age", 0), ("age", 100), ("site", 100)])
@pytest.mark.parametrize(("batch_size", "batches"), [(24, 2), (12, 4), (10, 5)])
def test_accumulated_batches_learn_as_one_large_batch(
    train, column, stored_samples, batch_size, batches
):
    """Also where the last batch is smaller than the others, as of 48 samples by tens."""
    options = {"class_weights": "balanced"} if column == "site" else {}
    options["stored_samples"] = stored_samples
    whole = train(column, batch_size=48, **options)
    parts = train(column, batch_size=batch_size, gradient_accumulation_steps=batches, **options)
    assert_same_weights(whole, parts, atol=1e-5, rtol=1e-4)
    assert np.allclose(whole.history["train/target_loss"], parts.history["train/target_loss"])


def test_accumulation_gives_each_step_the_mean_of_its_samples(train, monkeypatch):
    """Also the step at the end of an epoch, which has one batch instead of two."""
    gradients, sizes = [], []
    original = {"step": torch.optim.SGD.step, "training_step": TrainingModule.training_step}

    def step(self, closure=None):
        loss = closure()
        parameters = [p for group in self.param_groups for p in group["params"]]
        gradients.append(torch.cat([p.grad.flatten() for p in parameters if p.grad is not None]))
        return loss

    def training_step(self, batch, index):
        sizes.append(len(batch))
        return original["training_step"](self, batch, index)

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    monkeypatch.setattr(TrainingModule, "training_step", training_step)
    options = {"batch_size": 20, "epochs": 1, "max_grad_norm": 0.0}
    train("age", **options)
    train("age", gradient_accumulation_steps=2, **options)
    (a, b, c, *steps), (m, n, *_) = gradients, sizes
    assert sorted(sizes[:3]) == [8, 20, 20]
    assert len(steps) == 2
    torch.testing.assert_close(steps[0], (m * a + n * b) / (m + n), atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(steps[1], c, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    ("stripe_mode", "batch_size"),
    [(True, 1), (True, 2), (True, 7), (True, 37), (False, 2), (False, 7), (False, 37)],
)
def test_pretrain_learns_with_any_batch_size(
    simulated, tree_path, pretraining, batch_size, stripe_mode
):
    """Of 38 samples, so that the last batch may have one."""
    table = simulated.table.filter(simulated.table.ids()[:38], inplace=False)
    options = {**pretraining, "batch_size": batch_size, "stripe_mode": stripe_mode, "epochs": 1}
    made = api.pretrain(table, tree_path, reference_samples=5, **options)
    before = api.pretrain(table, tree_path, reference_samples=5, **{**options, "lr": 1e-12})
    assert np.isfinite(made.history["train/unifrac_loss"]).all()
    moved = sum(float((made.weights[n] - v).abs().sum()) for n, v in before.weights.items())
    assert 0 < moved < np.inf


@pytest.mark.parametrize("rarefy_each_epoch", [True, False])
def test_references_are_compared_with_as_they_are_drawn(
    simulated, tree_path, pretraining, monkeypatch, rarefy_each_epoch
):
    """A reference in a batch has the reads that the targets know it by, in each epoch's draw."""
    seen = {}
    compare = StripeComparison.forward

    def watched_compare(self, model, batch, output):
        if model.training:
            for i in torch.nonzero(batch.reference >= 0).squeeze(1).tolist():
                reference = int(batch.reference[i])
                assert batch.unifrac[i, reference] < 1e-6
                present = batch.counts[i] > 0
                asvs = batch.asvs[batch.asv_index[i, present]].tolist()
                reads = tuple(zip(asvs, batch.counts[i, present].tolist(), strict=True))
                seen.setdefault(reference, []).append(reads)
        return compare(self, model, batch, output)

    monkeypatch.setattr(StripeComparison, "forward", watched_compare)
    options = {**pretraining, "epochs": 3, "test_size": 0.25}
    options["rarefy_each_epoch"] = rarefy_each_epoch
    api.pretrain(simulated.table, tree_path, reference_samples=5, **options)
    assert len(seen) == 5
    assert all(len(draws) >= 3 for draws in seen.values())
    assert any(len(set(draws)) > 1 for draws in seen.values()) == rarefy_each_epoch
