"""The actions as a user of QIIME 2 calls them."""

import errno
import fcntl
import inspect
import os

import biom
import numpy as np
import pandas as pd
import pytest
import qiime2
import run_inputs
from q2_types.feature_data import DNAFASTAFormat
from q2_types.tree import NewickFormat
from qiime2.plugins import aam

from q2_aam.core.artifact import storage
from q2_aam.core.data.simulate import SimulationConfig, simulate
from q2_aam.core.training.loop.run_directory import FINISHED
from q2_aam.types.models import AAMModelDirectoryFormat

QUICK = {**run_inputs.QUICK, "embedding_dim": 16}


def import_artifact(kind, value, view=None):
    return qiime2.Artifact.import_data(kind, value, view)


@pytest.fixture(scope="module")
def table(simulated):
    return import_artifact("FeatureTable[Frequency]", simulated.table)


@pytest.fixture(scope="module")
def phylogeny(tree_path):
    return import_artifact("Phylogeny[Rooted]", str(tree_path), NewickFormat)


@pytest.fixture(scope="module")
def metadata(simulated):
    return qiime2.Metadata(simulated.metadata)


@pytest.fixture(scope="module")
def encoder(table, phylogeny):
    return aam.methods.pretrain(table, phylogeny, **QUICK).encoder


@pytest.fixture(scope="module")
def regressor(table, encoder, metadata):
    age = metadata.get_column("age")
    return aam.methods.train_regressor(table, age, encoder, **QUICK).regressor


@pytest.fixture(scope="module")
def classifier(table, encoder, metadata):
    site = metadata.get_column("site")
    return aam.methods.train_classifier(table, site, encoder, **QUICK).classifier


def test_pretrain_gives_an_encoder(encoder):
    assert str(encoder.type) == "AAMModel[SequenceEncoder]"
    encoder.validate("max")
    model = storage.load(str(encoder.view(AAMModelDirectoryFormat)))
    assert model.spec.model.embedding_dim == 16
    assert len(model.history) == 1


def test_predict_regression(table, regressor, simulated):
    assert str(regressor.type) == "AAMModel[SequenceRegressor]"
    predictions = aam.methods.predict_regression(table, regressor).predictions
    assert str(predictions.type) == "SampleData[RegressorPredictions]"
    values = predictions.view(pd.Series)
    assert list(values.index) == list(simulated.table.ids())


def test_predict_classification(table, classifier):
    results = aam.methods.predict_classification(table, classifier)
    assert str(results.predictions.type) == "SampleData[ClassifierPredictions]"
    probabilities = results.probabilities.view(pd.DataFrame)
    assert list(probabilities.columns) == ["gut", "oral", "skin"]
    assert np.allclose(probabilities.sum(axis=1), 1)


def test_saved_model_predicts_as_before(table, regressor, tmp_path):
    path = regressor.save(str(tmp_path / "regressor.qza"))
    again = qiime2.Artifact.load(path)
    before, after = (
        aam.methods.predict_regression(table, model).predictions.view(pd.Series)
        for model in (regressor, again)
    )
    pd.testing.assert_series_equal(before, after, check_exact=True)


def test_actions_refuse_models_of_the_wrong_kind(table, encoder, classifier):
    with pytest.raises(TypeError, match=r"AAMModel\[SequenceRegressor\]"):
        aam.methods.predict_regression(table, encoder)
    with pytest.raises(TypeError, match=r"AAMModel\[SequenceRegressor\]"):
        aam.methods.predict_regression(table, classifier)


def test_hashed_ids_need_sequences(metadata, tmp_path):
    hashed = simulate(
        SimulationConfig(n_samples=48, n_features=60, n_bp=40, depth=200, seed=1, hashed_ids=True)
    )
    table = import_artifact("FeatureTable[Frequency]", hashed.table)
    age = metadata.get_column("age")
    with pytest.raises(ValueError, match="--i-sequences"):
        aam.methods.train_regressor(table, age, **QUICK)
    path = hashed.write(tmp_path)["sequences"]
    sequences = import_artifact("FeatureData[Sequence]", str(path), DNAFASTAFormat)
    made = aam.methods.train_regressor(table, age, sequences=sequences, **QUICK).regressor
    assert str(made.type) == "AAMModel[SequenceRegressor]"


def test_features_missing_from_the_tree_are_named(phylogeny):
    other = biom.Table(np.full((2, 5), 200.0), ["ACGT" * 10, "TTTT" * 10], list("abcde"))
    table = import_artifact("FeatureTable[Frequency]", other)
    with pytest.raises(ValueError, match=r"2 of 2 features .* such as 'ACGT.*missing_features"):
        aam.methods.pretrain(table, phylogeny, **QUICK)


def test_groups_keep_samples_together(table, phylogeny, metadata, simulated, caplog):
    ids = simulated.metadata.index
    person = pd.Series([f"p{i // 3}" for i in range(47)], ids[:47], name="person")
    persons = qiime2.CategoricalMetadataColumn(person.rename_axis("sample-id"))
    age = metadata.get_column("age")
    for action, given in (
        (aam.methods.pretrain, (table, phylogeny)),
        (aam.methods.train_regressor, (table, age)),
    ):
        with pytest.raises(ValueError, match=r"1 of the table's 48 samples .*column 'person'"):
            action(*given, groups=persons, **QUICK)
        caplog.clear()
        action(*given, groups=persons, missing_samples="ignore", **QUICK)
        assert "of 47, from 3 of 16 groups." in caplog.text


def test_run_dir_comes_from_the_environment(table, phylogeny, tmp_path, monkeypatch):
    monkeypatch.setenv("Q2_AAM_RUN_DIR", str(tmp_path))
    aam.methods.pretrain(table, phylogeny, **QUICK)
    (run,) = tmp_path.glob("pretrain-*")
    assert (run / "last.ckpt").exists()
    assert list((run / "tensorboard").glob("events.out.tfevents.*"))
    assert (run / FINISHED).exists()


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK, errno.EINVAL])
def test_a_run_goes_on_where_a_file_system_has_no_locks(
    table, metadata, tmp_path, monkeypatch, caplog, number
):
    def fail(file, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setenv("Q2_AAM_RUN_DIR", str(tmp_path))
    for kind in ("flock", "lockf"):
        monkeypatch.setattr(fcntl, kind, fail)
    aam.methods.train_regressor(table, metadata.get_column("age"), stored_samples=0, **QUICK)
    assert f"The file system of {tmp_path} has no locks ({os.strerror(number)})" in caplog.text


def actions():
    plugin = qiime2.sdk.PluginManager().plugins["aam"]
    return list(plugin.actions.values())


@pytest.mark.parametrize("action", actions(), ids=lambda action: action.id)
def test_no_output_is_named_like_an_input(action):
    """The command line of QIIME 2 2022.11 would take the output for a second input."""
    signature = action.signature
    assert not set(signature.outputs) & {*signature.inputs, *signature.parameters}


@pytest.mark.parametrize("action", actions(), ids=lambda action: action.id)
def test_everything_is_described(action):
    signature = action.signature
    described = [signature.inputs, signature.parameters]
    if action.type != "visualizer":  # whose only output is the visualization
        described.append(signature.outputs)
    for part in described:
        for name, spec in part.items():
            assert spec.has_description(), name
    assert action.description.strip()


def test_training_actions_take_the_same_options():
    def of(action):
        return set(action.signature.parameters)

    own = {"metadata", "missing_samples", "freeze_base", "count_penalty", "target_penalty"}
    own |= {"target_transform", "loss_type", "best_metric", "class_weights", "stored_samples"}
    own |= {"quantiles", "ensemble", "asv_dropout", "from_scratch"}
    own |= {"covariates", "covariate_columns", "weights", "balance"}
    own |= {"target_minimum", "target_maximum"}
    shared = of(aam.methods.pretrain)
    for action in (aam.methods.train_regressor, aam.methods.train_classifier):
        assert shared <= of(action)
        assert of(action) - shared <= own


def test_python_signature_is_spelt_out():
    parameters = inspect.signature(aam.methods.pretrain.__call__).parameters
    assert parameters["epochs"].default == 10
    assert "options" not in parameters
