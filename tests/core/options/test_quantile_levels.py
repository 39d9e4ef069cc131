"""Quantiles: their list, their order, their loss, and whether they hold."""

import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import mean_pinball_loss

from q2_aam.core import api
from q2_aam.core.artifact import storage
from q2_aam.core.model.target_head import in_order, outwards
from q2_aam.core.options import quantile_levels
from q2_aam.core.options.config import RegressionConfig
from q2_aam.core.options.option import OptionError
from q2_aam.core.training.objective.losses import quantile_loss

LEVELS = (0.05, 0.25, 0.5, 0.95)
NUMBERS = st.floats(-100, 100, width=32)
ROWS = arrays.arrays(np.float32, st.tuples(st.integers(1, 4), st.just(7)), elements=NUMBERS)


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("0.05,0.5,0.95", (0.05, 0.5, 0.95)),
        (" 0.1, .25 ,0.5,0.9 ", (0.1, 0.25, 0.5, 0.9)),
        ("1e-3,0.5,0.999", (0.001, 0.5, 0.999)),
    ],
)
def test_parse(text, levels):
    assert quantile_levels.parse(text) == levels


@pytest.mark.parametrize(
    "text",
    [
        "", "0.5", "0.05,0.95", "0.05,0.5", "0.5,0.95", "0.95,0.5,0.05", "0.05,0.5,0.5,0.95",
        "0,0.5,0.95", "0.05,0.5,1", "nan,0.5,0.95", "5%,50%,95%", "0.05;0.5;0.95", "0.05,0.5,",
        ",".join(str(i / 60) for i in range(1, 60)), f"0.05,0.5,0.95{' ' * 2000}",
    ],
)  # fmt: skip
def test_parse_refuses(text):
    with pytest.raises(ValueError, match=r"quantiles must be 3 to 25 .* such as '0.05,0.5,0.95'"):
        quantile_levels.parse(text)


def test_names_and_back():
    assert quantile_levels.names((0.05, 0.5, 0.95))[0] == "quantile-0.05"
    assert quantile_levels.levels_of(quantile_levels.names(LEVELS)) == LEVELS
    with pytest.raises(ValueError, match="could not convert"):
        quantile_levels.levels_of(["age", "quantile-0.5"])


def test_options_refuse_quantiles_that_are_none():
    with pytest.raises(OptionError, match=r"quantiles must be .*; found '0.1,0.9'"):
        RegressionConfig(loss_type="quantile", quantiles="0.1,0.9")


def test_options_refuse_quantiles_that_would_not_be_learnt():
    with pytest.raises(OptionError, match="not learnt by loss_type huber: choose loss_type quant"):
        RegressionConfig(quantiles="0.1,0.5,0.9")
    assert RegressionConfig().levels == ()


@given(ROWS, st.integers(1, 5))
def test_in_order_never_crosses(raw, median):
    made = in_order(torch.from_numpy(raw), median)
    assert (made.diff(dim=1) >= 0).all()
    assert torch.equal(made[:, median], torch.from_numpy(raw)[:, median])


@given(ROWS, st.integers(1, 5))
def test_outwards_only_widens(moved, median):
    before, after = torch.from_numpy(moved), outwards(torch.from_numpy(moved), median)
    assert (after.diff(dim=1) >= 0).all()
    assert (after[:, :median] <= before[:, :median]).all()
    assert (after[:, median:] >= before[:, median:]).all()
    assert torch.equal(after[:, median], before[:, median])


def test_in_order_reaches_any_increasing_numbers():
    wanted = torch.tensor([[-3.0, -0.5, 0.2, 0.7]])
    steps = wanted.diff(dim=1).expm1().log()
    raw = torch.stack([steps[0, 0], steps[0, 1], wanted[0, 2], steps[0, 2]])[None]
    torch.testing.assert_close(in_order(raw, 2), wanted)


def test_quantile_loss_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    predicted, true = np.sort(rng.normal(size=(50, 4))), rng.normal(size=50)
    expected = sum(
        mean_pinball_loss(true, predicted[:, i], alpha=level) for i, level in enumerate(LEVELS)
    )
    loss = quantile_loss(LEVELS)(torch.from_numpy(predicted), torch.from_numpy(true))
    assert float(loss) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("levels", "n"), [((0.05, 0.5, 0.95), 19), ((0.1, 0.5, 0.9), 9), ((0.1, 0.5, 0.99), 99)]
)
def test_fewest_samples_are_those_that_reach_the_outermost(levels, n):
    assert quantile_levels.fewest_samples(levels) == n


def test_corrections_take_the_score_of_the_right_rank():
    true = np.arange(1.0, 20)  # 19 values, all too high by their own size
    found = quantile_levels.corrections(np.zeros((19, 3)), true, (0.1, 0.5, 0.95))
    assert found.tolist() == [2, 0, 19]
    found = quantile_levels.corrections(np.zeros((20, 3)), np.arange(1.0, 21), (0.1, 0.5, 0.9))
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
        by = quantile_levels.corrections(predicted[:n], values[:n], levels)
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
    assert trained.spec.neighbours.blend > 0
    calibration = trained.weights["calibration"]
    assert calibration[2] == 0
    assert (calibration[[0, 1, 3]] != 0).all()
    module = api.module_of(trained, "cpu")
    samples = api.samples_for(trained, simulated.table, None)
    moved = api.inference.predict_quantiles(module, samples, trained.spec.data)
    module.neighbours = None
    module.calibration.zero_()
    before = api.inference.predict_quantiles(module, samples, trained.spec.data)
    by = moved[:, 2:3] - before[:, 2:3]
    assert by.abs().min() > 1e-3
    torch.testing.assert_close(moved, outwards(before + by + calibration, 2))


def test_calibration_sees_what_is_predicted_of_the_validation_samples(simulated, monkeypatch):
    seen = []
    monkeypatch.setattr(
        quantile_levels, "corrections", lambda *given: seen.append(given) or np.zeros(4)
    )
    made = train(simulated, stored_samples=0)
    train(simulated)
    (alone, true, levels), (compared, _, _) = seen
    assert levels == (0.1, 0.25, 0.5, 0.9)
    learnt = made.spec.target.to_learnt(simulated.metadata["age"])
    found = made.spec.target.to_learnt(api.predict_quantiles(simulated.table, made))
    everyone, held = np.column_stack([learnt, found]), np.column_stack([true, alone])
    rows = [np.abs(everyone - one).sum(axis=1).argmin() for one in held]
    assert len(set(rows)) == len(true) == 14
    np.testing.assert_allclose(everyone[rows], held, atol=1e-4)
    moved = compared - alone
    assert np.abs(moved).max() > 1e-2
    np.testing.assert_allclose(np.ptp(moved, axis=1), 0, atol=1e-6)


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


def test_coverage_pairs_quantiles_from_the_outermost():
    predicted = np.array([[0.0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 9], [0, 1, 2, 3]])
    held = quantile_levels.coverage(predicted, np.array([-1.0, 0, 8, 4]), LEVELS)
    assert len(held) == 1  # 0.25 has no partner above the median
    widest = held.iloc[0]
    assert widest[["low", "high", "nominal"]].tolist() == pytest.approx([0.05, 0.95, 0.9])
    assert widest[["covered", "below", "above"]].tolist() == [0.5, 0.25, 0.25]
    assert widest[["mean_width", "median_width"]].tolist() == [4.5, 3]
    five = quantile_levels.coverage(
        np.arange(5.0)[None], np.array([1.5]), (0.1, 0.2, 0.5, 0.8, 0.9)
    )
    assert five[["low", "high"]].to_numpy().tolist() == [[0.1, 0.9], [0.2, 0.8]]
    assert five["covered"].tolist() == [1, 1]
