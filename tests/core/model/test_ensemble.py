"""Several networks that predict the target: apart in learning, averaged in answering."""

import numpy as np
import pytest
import torch

from q2_aam.core import api
from q2_aam.core.artifact import storage


@pytest.fixture
def options(quick):
    return quick | {"ensemble": 3}


def test_ensemble_is_saved_and_predicts_the_same(simulated, options, tmp_path):
    made = api.train_regressor(simulated.table, simulated.metadata["age"], **options)
    assert made.weights["comparison.place.weight"].shape[0] == made.spec.ensemble == 3
    storage.save(made, tmp_path / "model")
    loaded = storage.load(tmp_path / "model")
    before = api.predict_regression(simulated.table, made)
    assert before.equals(api.predict_regression(simulated.table, loaded))


def test_ensemble_of_a_classifier_trains(simulated, options):
    made = api.train_classifier(
        simulated.table, simulated.metadata["site"], **options, stored_samples=0
    )
    _, probabilities = api.predict_classification(simulated.table, made)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    readouts = made.weights["readout.weight"]
    assert not torch.equal(readouts[0], readouts[1])
    assert not torch.equal(readouts[1], readouts[2])


def test_ensemble_of_quantiles_trains(simulated, options):
    made = api.train_regressor(
        simulated.table, simulated.metadata["age"], loss_type="quantile", **options
    )
    found = api.predict_quantiles(simulated.table, made)
    assert (np.diff(found.to_numpy(), axis=1) >= 0).all()
    predicted = api.predict_regression(simulated.table, made)
    np.testing.assert_allclose(found["quantile-0.5"], predicted, rtol=1e-5)
