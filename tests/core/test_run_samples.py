"""What a model says of the samples of its run: true, complete, and left away if asked for."""

import numpy as np
import pandas as pd
import pytest
import torch
from run_inputs import QUICK

from q2_aam.core import api
from q2_aam.core.artifact import storage
from q2_aam.core.data.sample_table import sample_table
from q2_aam.core.model.trained_model import encoder_of
from q2_aam.core.training import run
from q2_aam.core.training.preparation import samples as preparation
from q2_aam.core.training.preparation.sample_roles import roles_of
from q2_aam.core.training.preparation.samples import prepare_samples

IGNORE = {"missing_samples": "ignore", **QUICK}


@pytest.fixture(scope="module")
def study(simulated):
    """Return a table with shallow samples, and columns that lack values, groups and samples."""
    counts, ids = simulated.table.matrix_data.toarray(), list(simulated.table.ids())
    counts[1:, [3, 4]] = 0
    counts[0, 3] = 20
    counts[0, 4] = 0
    table = type(simulated.table)(counts, simulated.table.ids("observation"), ids)
    age = simulated.metadata["age"].drop(ids[5])
    age[ids[6:8]] = np.nan
    site = simulated.metadata["site"].astype(object)
    site[ids[9]] = "not applicable"
    groups = pd.Series([f"p{i // 2}" for i in range(48)], ids, name="person").drop(ids[10])
    return table, age, site, groups, ids


@pytest.fixture
def divided(monkeypatch):
    """Note how runs divide their samples."""
    seen = []

    def noted(inputs):
        seen.append(prepare_samples(inputs))
        return seen[-1]

    monkeypatch.setattr("q2_aam.core.training.preparation.prepared_run.prepare_samples", noted)
    return seen


def ids_of(samples, role):
    return list(samples.index[samples["role"] == role])


def test_roles_are_those_of_the_run_and_add_up(study, divided):
    table, age, _, groups, ids = study
    model = api.train_regressor(table, age, groups=groups, **IGNORE)
    (parts,), samples = divided, model.samples
    assert ids_of(samples, "training") == list(parts.fixed.sample_ids)
    assert ids_of(samples, "validation") == list(parts.held.sample_ids)
    assert sorted(samples.index) == sorted(ids)
    reasons = samples["reason"][samples["role"] == "left out"].to_dict()
    assert reasons == {
        ids[3]: "fewer reads than rarefy_depth",
        ids[4]: "no reads",
        ids[5]: "not in the metadata",
        ids[6]: "no value",
        ids[7]: "no value",
        ids[10]: "no group",
    }
    persons = groups[ids_of(samples, "training")]
    assert not set(persons) & set(groups[ids_of(samples, "validation")])


def test_words_for_missing_values_are_no_values(study):
    table, _, site, _, ids = study
    samples = api.train_classifier(table, site, **IGNORE).samples
    assert samples["reason"][ids[9]] == "no value"


def test_pretraining_and_no_validation(study, tree_path):
    table, _, _, groups, ids = study
    options = IGNORE | {"test_size": 0.0, "rarefy_depth": 0}
    samples = api.pretrain(table, tree_path, groups=groups, **options).samples
    left = {ids[4]: "no reads", ids[10]: "no group"}
    assert samples["reason"][samples["role"] == "left out"].to_dict() == left
    assert ids_of(samples, "validation") == []
    assert ids_of(samples, "training") == [name for name in ids if name not in left]


def test_they_travel_with_the_model_and_not_with_its_encoder(study, tmp_path):
    table, age, _, _, _ = study
    model = api.train_regressor(table, age, **IGNORE)
    storage.save(model, tmp_path / "model")
    pd.testing.assert_frame_equal(storage.load(tmp_path / "model").samples, model.samples)
    encoder = encoder_of(model)
    assert encoder.samples is None
    storage.save(encoder, tmp_path / "encoder")
    assert not (tmp_path / "encoder" / "samples.tsv").exists()
    assert storage.load(tmp_path / "encoder").samples is None


def test_a_model_keeps_no_ids_if_asked_not_to(study, tmp_path, caplog):
    table, age, _, _, ids = study
    kept = api.train_regressor(table, age, **IGNORE)
    model = api.train_regressor(table, age, keep_sample_ids=False, **IGNORE)
    assert "are left out" in caplog.text
    assert kept.warnings
    assert model.samples is None
    assert model.spec == kept.spec
    assert all(torch.equal(kept.weights[name], value) for name, value in model.weights.items())
    storage.save(model, tmp_path / "model")
    content = b"".join(p.read_bytes() for p in (tmp_path / "model").rglob("*") if p.is_file())
    assert not [name for name in ids if name.encode() in content]


def test_ids_change_nothing_that_a_run_is_found_again_by(study):
    from run_inputs import inputs_of

    table, age, _, _, _ = study
    samples = sample_table(table, None, 150).select(age.dropna().index)
    keeps, keeps_none = (
        inputs_of(samples, age.dropna(), keep_sample_ids=keep) for keep in (True, False)
    )
    spec = run.prepare(keeps).spec
    assert keeps.fingerprint(spec) == keeps_none.fingerprint(run.prepare(keeps_none).spec)
    assert roles_of(keeps_none, run.prepare(keeps_none).data) is None


def test_ids_that_cannot_be_kept_are_refused_before_the_run(simulated, monkeypatch):
    table = simulated.table.copy()
    ids = list(table.ids())
    table.update_ids({ids[0]: "a\tb", **{name: name for name in ids[1:]}}, inplace=True)
    age = simulated.metadata["age"].rename({ids[0]: "a\tb"})
    with monkeypatch.context() as patch:
        patch.setattr(preparation, "rarefy", lambda *a, **k: pytest.fail("the run has begun"))
        with pytest.raises(ValueError, match=r"1 sample ids cannot be kept .* such as 'a\\tb'"):
            api.train_regressor(table, age, **QUICK)
    assert api.train_regressor(table, age, keep_sample_ids=False, **QUICK).samples is None
