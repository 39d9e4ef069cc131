"""What the training loop is given."""

import numpy as np
import pandas as pd
import pytest
from run_inputs import inputs_of

from q2_aam.core.data.sample_table import sample_table
from q2_aam.core.training.preparation.prepared_run import prepare, prepare_data
from q2_aam.core.training.preparation.samples import prepare_samples


@pytest.fixture(scope="module")
def table(simulated):
    return sample_table(simulated.table, None, 150)


def data_of(table, **options):
    inputs = inputs_of(table, **options)
    return prepare_data(inputs, prepare_samples(inputs), masked=True)


def test_prepare_data_draws_anew_each_epoch_if_asked_to(table):
    run = data_of(table, rarefy_each_epoch=True)
    draws = [run.training(epoch).table for epoch in (0, 1, 2)]
    for draw in draws:
        assert set(draw.depths) == {100}
        assert draw.sample_ids == draws[0].sample_ids
        assert draw.feature_ids == draws[0].feature_ids
    for a, b in ((0, 1), (1, 2), (0, 2)):
        assert (draws[a].counts != draws[b].counts).nnz
    again = data_of(table, rarefy_each_epoch=True).training(2).table
    assert not (again.counts != draws[2].counts).nnz


def test_prepare_data_draws_once_otherwise(table):
    run = data_of(table)
    assert run.training(0).table is run.training(7).table


def test_prepare_data_validates_on_the_same_draw_either_way(table):
    fixed, anew = data_of(table), data_of(table, rarefy_each_epoch=True)
    assert fixed.validation.table.sample_ids == anew.validation.table.sample_ids
    assert (fixed.validation.table.depths == anew.validation.table.depths).all()


def test_prepare_data_gives_numbers_in_single_precision_and_classes_as_they_are(table):
    ages = pd.Series(np.linspace(0, 1, 48), index=table.sample_ids, name="age")
    data = prepare(inputs_of(table, ages)).data
    assert data.training(0).targets.dtype == data.validation.targets.dtype == np.float32
    sites = pd.Series(["gut", "skin"] * 24, index=table.sample_ids, name="site", dtype=object)
    data = prepare(inputs_of(table, sites)).data
    assert data.training(0).targets.dtype == data.validation.targets.dtype == np.int64
