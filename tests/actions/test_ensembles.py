"""Ensembles as a user of QIIME 2 makes and uses them."""

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import qiime2
import run_inputs
from model_files import small_model
from pipeline_recorder import Recorder
from qiime2.plugin import ValidationError
from qiime2.plugins import aam

from q2_aam.actions.pipelines import studies
from q2_aam.core import api
from q2_aam.core.artifact import ensemble_directory, storage
from q2_aam.core.model.specification import CLASSIFIER, ENCODER, REGRESSOR
from q2_aam.types.models import AAMModelDirectoryFormat

QUICK = run_inputs.QUICK
MODEL = {"age": f"AAMModel[{REGRESSOR}]", "site": f"AAMModel[{CLASSIFIER}]"}


@pytest.fixture(scope="module")
def table(simulated):
    return qiime2.Artifact.import_data("FeatureTable[Frequency]", simulated.table)


def column(simulated, name):
    return qiime2.Metadata(simulated.metadata).get_column(name)


@pytest.fixture(scope="module")
def validated(table, simulated):
    """Return the results of cross-validations of age, with quantiles, and of site."""
    options = {"n_folds": 2, **QUICK}
    age, site = (column(simulated, name) for name in MODEL)
    return {
        "age": aam.pipelines.cross_validate_regression(
            table, age, loss_type="quantile", from_scratch=True, **options
        ),
        "site": aam.pipelines.cross_validate_classification(
            table, site, from_scratch=True, **options
        ),
    }


@pytest.fixture(scope="module")
def ensembles(validated):
    return {"age": validated["age"].regressor, "site": validated["site"].classifier}


@pytest.fixture(scope="module")
def exported(ensembles, tmp_path_factory):
    """Return the directories that export writes."""
    folder = tmp_path_factory.mktemp("exported")
    for name, artifact in ensembles.items():
        artifact.export_data(str(folder / name))
    return folder


@pytest.fixture(scope="module")
def members(exported):
    """Return each model of the ensembles, as an artifact of its own."""
    return {
        name: [
            qiime2.Artifact.import_data(type_, str(path))
            for path in sorted((exported / name / "members").iterdir())
        ]
        for name, type_ in MODEL.items()
    }


def as_artifact(model):
    directory = AAMModelDirectoryFormat()
    storage.save(model, str(directory))
    kind = ensemble_directory.read_configs(str(directory))[0].spec.kind
    return qiime2.Artifact.import_data(f"AAMModel[{kind}]", directory)


# ---- from the pipelines ------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODEL)
def test_cross_validation_keeps_the_models_of_its_folds(name, ensembles, exported):
    assert str(ensembles[name].type) == MODEL[name]
    ensembles[name].validate("max")
    assert {path.name for path in (exported / name).iterdir()} == {"ensemble.json", "members"}
    found = api.load(exported / name)
    assert isinstance(found, api.Ensemble)
    assert [16 < member.spec.reads.n_samples < 24 for member in found.members] == [True, True]


def test_models_of_the_folds_are_those_that_predicted_them(table, validated, members):
    """Each sample is predicted by the one model that has not seen it."""
    predicted = validated["age"].predictions.view(pd.Series)
    answers = [
        aam.methods.predict_regression(table, model).predictions.view(pd.Series)
        for model in members["age"]
    ]
    near = [np.isclose(each[predicted.index], predicted, rtol=1e-9) for each in answers]
    assert (near[0] ^ near[1]).all()
    assert near[0].sum() == len(predicted) / 2


@pytest.mark.parametrize(
    ("name", "folds_of"),
    [("cross_validate_regression", "age"), ("cross_validate_classification", "site")],
)
def test_the_ensemble_is_of_all_folds_and_waits_for_none(name, folds_of, table, simulated):
    ctx = Recorder()
    outputs = getattr(studies, name)(
        ctx, table, column(simulated, folds_of), n_folds=3, **{"rarefy_depth": 100}
    )
    trained = ctx.named("train_regressor") + ctx.named("train_classifier")
    ((call),) = ctx.named("combine_models")
    assert [model.inputs for model in call["models"]] == trained
    assert outputs[0].action == "combine_models"


def test_of_too_many_folds_some_of_all_are_kept(table, simulated, monkeypatch, caplog):
    for module in ("jobs", "fold_checks"):
        monkeypatch.setattr(f"q2_aam.actions.pipelines.{module}.MAX_MEMBERS", 5)
    ctx = Recorder()
    studies.cross_validate_regression(
        ctx, table, column(simulated, "age"), n_folds=12, rarefy_depth=100
    )
    (call,) = ctx.named("combine_models")
    trained = ctx.named("train_regressor")
    chosen = [
        next(i for i, each in enumerate(trained) if each is m.inputs) for m in call["models"]
    ]
    assert chosen == [0, 3, 6, 8, 11]
    assert "at most 5 models. So 5 of these 12 models are put together" in caplog.text


# ---- what they predict -------------------------------------------------------------------------


def test_predictions_are_the_means_of_those_of_the_models(table, ensembles, members):
    predict = aam.methods.predict_regression
    a, b = (predict(table, model).predictions.view(pd.Series) for model in members["age"])
    said = predict(table, ensembles["age"]).predictions.view(pd.Series)
    np.testing.assert_allclose(said, (a + b) / 2, rtol=1e-12)


def test_intervals_are_the_means_of_those_of_the_models(table, ensembles, members):
    predict = aam.methods.predict_intervals
    a, b = (predict(table, model).intervals.view(pd.DataFrame) for model in members["age"])
    said = predict(table, ensembles["age"]).intervals
    said.validate("max")
    pd.testing.assert_frame_equal(said.view(pd.DataFrame), (a + b) / 2, rtol=1e-12)


def test_probabilities_are_the_means_of_those_of_the_models(table, ensembles, members):
    predict = aam.methods.predict_classification
    a, b = (predict(table, model).probabilities.view(pd.DataFrame) for model in members["site"])
    predictions, likely = predict(table, ensembles["site"])
    likely = likely.view(pd.DataFrame)
    pd.testing.assert_frame_equal(likely, (a + b) / 2, rtol=1e-12)
    assert predictions.view(pd.Series).tolist() == likely.idxmax(axis=1).tolist()


def test_actions_that_look_into_models(table, ensembles, members):
    shares = [
        aam.methods.known_reads(table, model).known_reads.view(pd.Series)
        for model in [*members["site"], ensembles["site"]]
    ]
    np.testing.assert_allclose(shares[2], (shares[0] + shares[1]) / 2, rtol=1e-12)
    found = aam.methods.importance(table, ensembles["age"], max_features=2)
    assert str(found.importance.type) == "FeatureData[Importance]"
    with pytest.raises(ValueError, match=r"say which class is to be explained \(target_class"):
        aam.methods.importance(table, ensembles["site"], max_features=2)
    aam.methods.importance(table, ensembles["site"], max_features=2, target_class="gut")


def test_different_encoders_are_refused_in_a_sentence(table, simulated, ensembles):
    said = r"encoders of models 1 and 2 of the ensemble differ, .* give one single model"
    age = column(simulated, "age")
    for use in (
        lambda: aam.methods.embed(table, ensembles["age"]),
        lambda: aam.methods.embed_features(ensembles["age"], table),
        lambda: aam.methods.extract_encoder(ensembles["age"]),
        lambda: aam.methods.train_regressor(table, age, ensembles["age"], **QUICK),
    ):
        with pytest.raises(ValueError, match=said):
            use()


def test_the_encoder_that_all_folds_started_from_is_that_of_the_ensemble(table, simulated):
    """The usual case: a frozen encoder."""
    encoder = as_artifact(small_model(ENCODER))
    age = column(simulated, "age")
    options = {n: v for n, v in QUICK.items() if "dim" not in n and "attention" not in n}
    made = aam.pipelines.cross_validate_regression(
        table, age, encoder, freeze_base=True, n_folds=2, **options
    )
    found = aam.methods.extract_encoder(made.regressor).encoder
    assert str(found.type) == f"AAMModel[{ENCODER}]"
    vectors = [aam.methods.embed(table, m).embeddings.view(pd.DataFrame) for m in (
        made.regressor, found)]  # fmt: skip
    assert vectors[0].equals(vectors[1])
    aam.methods.train_regressor(table, age, made.regressor, freeze_base=True, **options)


def test_a_pipeline_starts_from_an_ensemble(table, simulated, caplog):
    """The time of a run, that decides on a random forest, depends on the architecture."""
    caplog.set_level("INFO")
    ctx, model = Recorder(), small_model(REGRESSOR)
    ensemble = as_artifact(api.Ensemble.of([model, model]))
    options = {"rarefy_depth": 100, "device": "cpu", "forest": "auto"}
    studies.regress_samples(ctx, table, column(simulated, "age"), ensemble, **options)
    (trained,) = ctx.named("train_regressor")
    assert trained["encoder"] is ensemble
    assert "random forest is trained" in caplog.text


# ---- combine-models ----------------------------------------------------------------------------


def test_combining_the_models_of_an_ensemble_makes_it_again(
    ensembles, members, exported, tmp_path
):
    for name in MODEL:
        made = aam.methods.combine_models(members[name]).ensemble
        assert str(made.type) == MODEL[name]
        made.export_data(str(tmp_path / name))
        again = (tmp_path / name / "ensemble.json").read_bytes()
        assert again == (exported / name / "ensemble.json").read_bytes()


def test_ensembles_are_flattened(ensembles, members):
    made = aam.methods.combine_models([ensembles["age"], members["age"][0]]).ensemble
    assert len(api.load(str(made.view(AAMModelDirectoryFormat))).members) == 3


def test_models_of_different_kinds_are_refused(ensembles):
    with pytest.raises(ValueError, match="No solution for inputs"):
        aam.methods.combine_models([ensembles["age"], ensembles["site"]])
    with pytest.raises(TypeError, match="ncompatible"):
        aam.methods.combine_models([as_artifact(small_model(ENCODER))])


def test_models_of_different_columns_are_refused(ensembles, members):
    other = as_artifact(small_model(CLASSIFIER))
    with pytest.raises(
        ValueError, match="model 2 predicts classes of column 'größe': give models"
    ):
        aam.methods.combine_models([members["site"][0], other])


# ---- the artifact ------------------------------------------------------------------------------


def test_exported_ensembles_are_imported_as_they_were(ensembles, exported, tmp_path):
    again = qiime2.Artifact.import_data(MODEL["age"], str(exported / "age"))
    again.export_data(str(tmp_path / "again"))
    for path in (exported / "age").rglob("*"):
        if path.is_file():
            name = path.relative_to(exported / "age")
            assert (tmp_path / "again" / name).read_bytes() == path.read_bytes()
    saved = ensembles["age"].save(str(tmp_path / "ensemble.qza"))
    with zipfile.ZipFile(saved) as archive:
        assert any(n.endswith("data/members/2/weights.safetensors") for n in archive.namelist())
    qiime2.Artifact.load(saved).validate("max")


def test_type_must_be_the_kind_of_the_models(exported):
    with pytest.raises(ValidationError, match=r"is AAMModel\[SequenceRegressor\], not"):
        qiime2.Artifact.import_data(MODEL["site"], str(exported / "age"))


@pytest.mark.parametrize("level", ["min", "max"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("members/1/x.pkl", "'x.pkl' does not belong"),
        ("members/x/config.json", "Unrecognized file"),
        ("config.json", "'config.json' does not belong"),
        ("ensemble.json", "ensemble.json: is not JSON"),
        ("members/2/weights.safetensors", "Member 2 .*weights.safetensors has 1 bytes"),
    ],
)
def test_format_refuses(name, message, level, tmp_path):
    model = small_model(REGRESSOR)
    storage.save(api.Ensemble.of([model, model]), tmp_path / "ensemble")
    path = tmp_path / "ensemble" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    with pytest.raises(ValidationError, match=message):
        AAMModelDirectoryFormat(tmp_path / "ensemble", mode="r").validate(level)


def test_the_history_of_each_model_is_metadata():
    made = as_artifact(api.Ensemble.of([small_model(CLASSIFIER), small_model(CLASSIFIER)]))
    table = made.view(qiime2.Metadata).to_dataframe()
    assert list(table.index) == [f"model {i}, epoch {e}" for i in (1, 2) for e in (0, 1, 4)]
    assert table["model"].tolist() == ["1"] * 3 + ["2"] * 3
    assert table["epoch"].tolist() == [0, 1, 4] * 2
    assert table["train/total_loss"].tolist() == [1.0 / 3.0, 1e-300, 2.0] * 2


def test_summarize_training_shows_each_model(ensembles, members, tmp_path):
    given = [ensembles["age"], members["age"][0]]
    (page,) = aam.visualizers.summarize_training(given)
    page.export_data(str(tmp_path / "page"))
    text = (tmp_path / "page" / "index.html").read_text(encoding="ascii")
    for name in ("Model 1.1", "Model 1.2", "Model 2"):
        assert f"{name} is a regressor of age" in text
    assert {p.name for p in Path(tmp_path / "page").rglob("history-*.tsv")} == {
        f"history-{i}.tsv" for i in (1, 2, 3)
    }
