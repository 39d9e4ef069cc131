"""Quantiles that hold for samples that were not trained on."""

import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import r2_score

from q2_aam.core import api
from q2_aam.core.artifact import storage
from q2_aam.core.data.mini_batches import BatchDataset
from q2_aam.core.model import inference
from q2_aam.core.model.quantile_outputs import outwards
from q2_aam.core.training import conformal

LEVELS = (0.05, 0.25, 0.5, 0.95)


@pytest.mark.parametrize(
    ("levels", "n"), [((0.05, 0.5, 0.95), 19), ((0.1, 0.5, 0.9), 9), ((0.1, 0.5, 0.99), 99)]
)
def test_fewest_samples_are_those_that_reach_the_outermost(levels, n):
    assert conformal.fewest_samples(levels) == n


def test_corrections_take_the_score_of_the_right_rank():
    true = np.arange(1.0, 20)  # 19 values, all too high by their own size
    found = conformal.corrections(np.zeros((19, 3)), true, (0.1, 0.5, 0.95))
    assert found.tolist() == [2, 0, 19]
    found = conformal.corrections(np.zeros((20, 3)), np.arange(1.0, 21), (0.1, 0.5, 0.9))
    assert found.tolist() == [2, 0, 19]  # of 21 with the next sample, not of 20


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_corrected_quantiles_hold_on_average(seed):
    """Whatever the predictions are; here they are far too narrow, and biased."""
    rng, n = np.random.default_rng(seed), 39
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    level, below = np.array(levels), []
    for _ in range(400):
        values = rng.gamma(2.0, size=n + 1)
        predicted = np.tile(rng.normal(1, 0.1, (n + 1, 1)), 5) + np.array([-2, -1, 0, 1, 2]) / 10
        by = conformal.corrections(predicted[:n], values[:n], levels)
        below.append(values[n] <= predicted[n] + by)
    share, noise = np.mean(below, axis=0), 4 * np.sqrt(level * (1 - level) / 400)
    assert (share <= level + noise)[:2].all()
    assert (share >= level - noise)[3:].all()
    # With 39 samples, 0.05 and 0.95 are exact ranks: no more cautious than need be.
    assert (share >= level - noise)[0]
    assert (share <= level + noise)[4]


@pytest.fixture(scope="module")
def trained(simulated):
    return train(simulated)


def train(simulated, **options):
    quick = {
        "embedding_dim": 16, "attention_heads": 2, "attention_layers": 1, "epochs": 2,
        "rarefy_depth": 100, "lr": 1e-3, "device": "cpu", "loss_type": "quantile",
        "quantiles": "0.1,0.25,0.5,0.9", "test_size": 0.3,
    }  # fmt: skip
    ages = simulated.metadata["age"]
    return api.train_regressor(simulated.table, ages, **(quick | options))


def test_predict_quantiles_has_a_column_a_quantile(simulated, trained):
    found = api.predict_quantiles(simulated.table, trained)
    assert list(found.columns) == ["quantile-0.1", "quantile-0.25", "quantile-0.5", "quantile-0.9"]
    assert list(found.index) == list(simulated.table.ids())
    assert (np.diff(found.to_numpy(), axis=1) >= 0).all()
    predicted = api.predict_regression(simulated.table, trained)
    np.testing.assert_allclose(found["quantile-0.5"], predicted, rtol=1e-6)


def test_stored_samples_move_all_quantiles_alike(simulated, trained):
    assert trained.spec.stored.weights[1] > 0
    calibration = trained.weights["calibration"]
    assert calibration[2] == 0
    assert (calibration[[0, 1, 3]] != 0).all()
    module = api.module_of(trained, "cpu")
    samples = api.samples_for(trained, simulated.table, None)
    moved = inference.predict_quantiles(module, samples, trained.spec.data)
    batch = BatchDataset(samples, [np.arange(samples.n_samples)], trained.spec.data)[0]
    with torch.no_grad():
        before = module(batch).quantiles[batch.rows.argsort()]
    by = moved[:, 2:3] - before[:, 2:3]
    assert by.abs().median() > 1e-3
    torch.testing.assert_close(moved, outwards(before + by + calibration, 2))


def test_calibration_sees_what_is_predicted_of_the_validation_samples(simulated, monkeypatch):
    seen = []
    monkeypatch.setattr(conformal, "corrections", lambda *given: seen.append(given) or np.zeros(4))
    made = train(simulated, stored_samples=0)
    mixed = train(simulated)
    (alone, true, levels), (compared, *_) = seen
    assert levels == (0.1, 0.25, 0.5, 0.9)
    learnt = made.spec.target.to_learnt(simulated.metadata["age"])
    found = made.spec.target.to_learnt(api.predict_quantiles(simulated.table, made))
    everyone, held = np.column_stack([learnt, found]), np.column_stack([true, alone])
    rows = [np.abs(everyone - one).sum(axis=1).argmin() for one in held]
    assert len(set(rows)) == len(true) == 14
    np.testing.assert_allclose(held, everyone[rows], atol=1e-5)
    # Where samples are stored, the median is the mixture of all parts.
    assert r2_score(true, compared[:, 2]) == pytest.approx(mixed.spec.stored.score, abs=1e-6)


def test_saved_quantiles_are_the_same(simulated, trained, tmp_path):
    storage.save(trained, tmp_path / "model")
    loaded = storage.load(tmp_path / "model")
    before = api.predict_quantiles(simulated.table, trained)
    assert before.equals(api.predict_quantiles(simulated.table, loaded))


@pytest.mark.parametrize("transform", ["none", "minmax", "log-zscore"])
def test_quantiles_are_in_the_units_of_the_column(simulated, transform):
    made = train(simulated, target_transform=transform, epochs=1)
    found = api.predict_quantiles(simulated.table, made)
    assert (np.diff(found.to_numpy(), axis=1) >= 0).all()
    assert simulated.metadata["age"].between(found.iloc[:, 0], found.iloc[:, -1]).mean() > 0.5
    np.testing.assert_allclose(
        found["quantile-0.5"], api.predict_regression(simulated.table, made), rtol=1e-6
    )


def test_quantiles_without_validation_samples_are_not_calibrated(simulated, caplog):
    with caplog.at_level(logging.WARNING, "q2_aam"):
        made = train(simulated, test_size=0.0, epochs=1)
    assert "Without validation samples (test_size 0) the quantiles are not calib" in caplog.text
    assert made.weights["calibration"].tolist() == [0, 0, 0, 0]
    assert (np.diff(api.predict_quantiles(simulated.table, made).to_numpy()) >= 0).all()


def test_too_few_validation_samples_are_told(simulated, caplog):
    with caplog.at_level(logging.WARNING, "q2_aam"):
        train(simulated, quantiles="0.01,0.5,0.99", epochs=1, stored_samples=0)
    assert "0.01 and 0.99 take 99 validation samples to calibrate, and there are 14" in caplog.text


def test_predict_quantiles_refuses_a_model_without(simulated):
    made = train(simulated, loss_type="mae", quantiles="0.05,0.5,0.95", epochs=1)
    with pytest.raises(ValueError, match=r"its loss_type is mae\), so it has no intervals: train"):
        api.predict_quantiles(simulated.table, made)
    assert "calibration" not in made.weights
