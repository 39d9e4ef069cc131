"""What training starts from where neither an encoder nor a phylogeny is given."""

import biom
import numpy as np
import pandas as pd
import pytest
import torch

from q2_aam.core import api
from q2_aam.core.artifact.shipped import encoder
from q2_aam.core.data import nucleotides
from q2_aam.core.model.trained_model import encoder_of

QUICK = {"epochs": 1, "ensemble": 1, "stored_samples": 20, "device": "cpu"}


@pytest.fixture(scope="module")
def table():
    letters = np.array(list(nucleotides.BASES))
    asvs = ["".join(letters[row - nucleotides.FIRST_BASE]) for row in encoder.sketch()[:40]]
    counts = np.random.default_rng(0).integers(0, 60, (40, 24))
    return biom.Table(counts, asvs, [f"s{i}" for i in range(24)])


@pytest.fixture(scope="module")
def age():
    return pd.Series(np.linspace(20, 60, 24), [f"s{i}" for i in range(24)], name="age")


def starts_from_shipped(model):
    own, its = encoder_of(model).weights, encoder.load().weights
    return [torch.equal(own[name], its[name]) for name in its]


def test_it_is_the_encoder_that_ships_kept_as_it_is(table, age, caplog):
    caplog.set_level("INFO", "q2_aam")
    model = api.train_regressor(table, age, **QUICK)
    assert model.spec.fine_tuning.freeze_base
    assert model.spec.model.max_bp == 100
    assert all(starts_from_shipped(model))
    assert sum("starts from the encoder that ships" in r.message for r in caplog.records) == 1


def test_it_learns_where_it_is_not_to_be_frozen(table, age):
    model = api.train_regressor(table, age, freeze_base=False, **QUICK)
    assert not model.spec.fine_tuning.freeze_base
    assert not all(starts_from_shipped(model))


def test_from_scratch_begins_with_random_weights(table, age):
    model = api.train_regressor(table, age, from_scratch=True, **QUICK)
    assert model.spec.model.max_bp == 150
    assert not model.spec.fine_tuning.freeze_base


def test_other_reads_start_from_scratch(table, age):
    turned = biom.Table(
        table.matrix_data,
        [n[::-1].translate(str.maketrans("ACGT", "TGCA")) for n in table.ids("observation")],
        table.ids(),
    )
    model = api.train_regressor(turned, age, **QUICK)
    assert not model.spec.fine_tuning.freeze_base
    assert "Training starts from scratch" in model.warnings[0]
    with pytest.raises(ValueError, match="an encoder must be given"):
        api.train_regressor(turned, age, freeze_base=True, **QUICK)


def test_another_encoder_is_trained_further(table, age):
    other = encoder.load()
    model = api.train_regressor(table, age, encoder=other, **QUICK)
    assert not model.spec.fine_tuning.freeze_base


def test_from_scratch_with_an_encoder_is_refused(table, age):
    with pytest.raises(ValueError, match="leave the encoder out"):
        api.train_regressor(table, age, encoder=encoder.load(), from_scratch=True, **QUICK)


# ---- the rarefaction depth ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depths", "chosen"),
    [([1000] * 20, 1000), ([9000] * 20, 5000), ([30, *[1234] * 19], 1000), ([1, 1, 1], 1)],
)
def test_the_depth_is_one_that_most_samples_have(depths, chosen):
    from q2_aam.core.training.preparation.run_settings import usual_depth

    assert usual_depth(np.array(depths)) == chosen


def test_a_model_keeps_the_depth_that_was_chosen(table, age):
    model = api.train_regressor(table, age, **QUICK)
    depths = table.sum("sample")
    assert 0 < model.spec.data.rarefy_depth <= np.quantile(depths, 0.1)
    asked = api.train_regressor(table, age, rarefy_depth=77, **QUICK)
    assert asked.spec.data.rarefy_depth == 77
