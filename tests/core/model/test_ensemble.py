"""Several networks that read the target: apart in learning, averaged in answering."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from q2_aam.core import api
from q2_aam.core.artifact import storage
from q2_aam.core.data.mini_batches import collate
from q2_aam.core.data.sample_table import sample_table
from q2_aam.core.model.predictor import SequencePredictor
from q2_aam.core.model.target_head import average_logits
from q2_aam.core.options.config import ModelConfig
from q2_aam.core.training.objective.losses import Objective, quantile_loss, regression_loss

SMALL = ModelConfig(embedding_dim=16, attention_heads=2, attention_layers=1, max_bp=60)
LEVELS = (0.1, 0.5, 0.9)


def predictor(n_outputs=1, levels=(), ensemble=3):
    """Make a model whose heads, which start from zero, say something."""
    torch.manual_seed(0)
    model = SequencePredictor(SMALL, n_outputs, levels=levels, ensemble=ensemble)
    for each in (model, *model.others):
        torch.nn.init.normal_(each.head.weight)
    return model.eval()


@pytest.fixture(scope="module")
def batch(simulated):
    table, rows = sample_table(simulated.table, None, 60), np.arange(6)
    learnt = torch.linspace(-1, 1, 6)
    return collate(table, rows, table.counts[rows]), learnt


@pytest.fixture
def options(quick):
    return quick | {"ensemble": 3}


def test_average_logits_have_the_mean_of_the_probabilities():
    logits = tuple(3 * torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0)))
    mean = torch.stack([each.softmax(dim=1) for each in logits]).mean(dim=0)
    torch.testing.assert_close(average_logits(logits).softmax(dim=1), mean)
    assert average_logits(logits[:1]) is logits[0]


def test_numbers_are_averaged(batch):
    said = predictor()(batch[0])
    assert len(said.members) == 3
    torch.testing.assert_close(said.target, torch.stack(said.members).mean(dim=0))
    assert (said.members[0] - said.members[1]).abs().max() > 0.01


def test_probabilities_are_averaged(batch):
    model = predictor(4)
    said = model(batch[0])
    mean = torch.stack([each.softmax(dim=1) for each in said.members]).mean(dim=0)
    torch.testing.assert_close(model.predict(batch[0]), mean)


def test_quantiles_are_averaged_in_order(batch):
    said = predictor(levels=LEVELS)(batch[0])
    assert all((each.diff(dim=1) > 0).all() for each in said.members)
    torch.testing.assert_close(said.quantiles, torch.stack(said.members).mean(dim=0))
    assert torch.equal(said.target[:, 0], said.quantiles[:, 1])


@pytest.mark.parametrize(
    ("levels", "loss"), [((), regression_loss("mse")), (LEVELS, quantile_loss(LEVELS))]
)
def test_each_learns_as_if_it_were_alone(batch, levels, loss):
    batch = replace(batch[0], target=batch[1])
    objective = Objective(target_penalty=1.0, target_loss=loss)
    together = predictor(levels=levels)
    objective(batch, together(batch)).total.backward()
    alone = predictor(levels=levels)
    loss(alone(batch).members[1], batch.target).backward()
    gradient = together.others[0].head.weight.grad
    torch.testing.assert_close(3 * gradient, alone.others[0].head.weight.grad)
    assert gradient.abs().max() > 0


def test_the_first_starts_as_it_does_alone():
    one, three = (SequencePredictor.state_dict(predictor(ensemble=n)) for n in (1, 3))
    names = [name for name in one if name != "head.weight"]  # drawn after all others here
    assert all(torch.equal(one[name], three[name]) for name in names)
    assert not [name for name in one if name.startswith("others.")]


def test_ensemble_is_saved_and_predicts_the_same(simulated, options, tmp_path):
    made = api.train_regressor(simulated.table, simulated.metadata["age"], **options)
    assert "others.1.head.weight" in made.weights
    assert made.spec.ensemble == 3
    storage.save(made, tmp_path / "model")
    loaded = storage.load(tmp_path / "model")
    before = api.predict_regression(simulated.table, made)
    assert before.equals(api.predict_regression(simulated.table, loaded))


def test_ensemble_of_a_classifier_trains(simulated, options):
    made = api.train_classifier(
        simulated.table, simulated.metadata["site"], **options, stored_samples=0
    )
    _, probabilities = api.predict_classification(simulated.table, made)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    heads = [made.weights[f"{where}head.weight"] for where in ("", "others.0.", "others.1.")]
    assert not torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[1], heads[2])


def test_ensemble_of_quantiles_trains(simulated, options):
    made = api.train_regressor(
        simulated.table, simulated.metadata["age"], loss_type="quantile", **options
    )
    found = api.predict_quantiles(simulated.table, made)
    assert (np.diff(found.to_numpy(), axis=1) >= 0).all()
    predicted = api.predict_regression(simulated.table, made)
    np.testing.assert_allclose(found["quantile-0.5"], predicted, rtol=1e-6)
