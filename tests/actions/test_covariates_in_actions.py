"""Covariates, weights and limits as a user of QIIME 2 gives them."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import qiime2
import run_inputs
from pipeline_recorder import Recorder
from qiime2.plugins import aam

from q2_aam.actions.pipelines import studies
from q2_aam.core.data.simulate import SimulationConfig, simulate

QUICK = {**run_inputs.QUICK, "embedding_dim": 16, "epochs": 2, "from_scratch": True}
TRAINING = ("train_regressor", "train_classifier")


@pytest.fixture(scope="module")
def study():
    """Return a table and metadata: a score that age and site make, where ASVs tell of age only."""
    made = simulate(
        SimulationConfig(n_samples=120, n_features=60, n_bp=40, depth=200, site_effect=0.0, seed=3)
    )
    frame = made.metadata[["age", "site"]].copy()
    frame["score"] = frame["age"] + frame["site"].map({"gut": 0.0, "oral": 25.0, "skin": 50.0})
    frame["level"] = np.where(frame["score"] > frame["score"].median(), "high", "low")
    frame["split"] = ["test" if i % 4 == 0 else "train" for i in range(len(frame))]
    table = qiime2.Artifact.import_data("FeatureTable[Frequency]", made.table)
    return table, frame


def column(frame, name):
    return qiime2.Metadata(frame).get_column(name)


def given(frame, *names):
    return {"covariates": qiime2.Metadata(frame), "covariate_columns": list(names)}


@pytest.fixture(scope="module")
def made(study):
    table, frame = study
    return aam.pipelines.regress_samples(
        table,
        column(frame, "score"),
        split=column(frame, "split"),
        **given(frame, "site"),
        **QUICK,
    )


def test_a_covariate_raises_r_squared_of_held_out_samples(study, made):
    table, frame = study
    without = aam.pipelines.regress_samples(
        table, column(frame, "score"), split=column(frame, "split"), **QUICK
    )
    true, scores = frame["score"], []
    for each in (without, made):
        said = each.predictions.view(pd.Series)
        scores.append(np.corrcoef(true[said.index], said)[0, 1] ** 2)
    assert scores[1] > scores[0] + 0.2


def test_prediction_asks_for_the_same_columns(study, made):
    _, frame = study
    test, model = made.test_table, made.regressor
    again = aam.methods.predict_regression(test, model, covariates=qiime2.Metadata(frame))
    pd.testing.assert_series_equal(
        again.predictions.view(pd.Series), made.predictions.view(pd.Series)
    )
    with pytest.raises(ValueError, match=r"trained with covariates \(site\): give the metadata"):
        aam.methods.predict_regression(test, model)
    others = qiime2.Metadata(frame.drop(columns="site"))
    with pytest.raises(ValueError, match="The metadata has no column 'site'"):
        aam.methods.predict_regression(test, model, covariates=others)


def test_an_unseen_category_is_told_and_unknown(study, made, caplog):
    _, frame = study
    test, model = made.test_table, made.regressor
    new = qiime2.Metadata(frame.assign(site="moon"))
    empty = qiime2.Metadata(frame.assign(site="not collected"))
    unseen, missing = (
        aam.methods.predict_regression(test, model, covariates=each).predictions.view(pd.Series)
        for each in (new, empty)
    )
    assert (
        "categories of covariate 'site' that the model has not learnt: 'moon' (30)" in caplog.text
    )
    assert "30 of 30 samples have no value of covariate 'site'" in caplog.text
    pd.testing.assert_series_equal(unseen, missing)


def test_covariates_alone_can_be_asked(study, made):
    _, frame = study
    said = aam.methods.predict_regression(
        made.test_table, made.regressor, covariates=qiime2.Metadata(frame), only_covariates=True
    ).predictions.view(pd.Series)
    assert said.round(6).nunique() == 3


@pytest.mark.parametrize("action", [*TRAINING, "regress_samples", "cross_validate_classification"])
@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (["sight"], "has no column 'sight'; it has 'age', 'level', 'score', 'site', 'split'"),
        ([], "must be named.*the metadata has 'age', 'level'"),
        (["site", "target"], "'(score|level)' is to be predicted, so it cannot be a covariate"),
        (None, "names site, and no metadata of covariates is given"),
    ],
)
def test_covariates_that_cannot_be_used_are_refused_at_the_start(study, action, columns, said):
    table, frame = study
    name = "level" if "classif" in action else "score"
    options = {"covariate_columns": ["site"]}
    if columns is not None:
        options = given(frame, *(name if c == "target" else c for c in columns))
    options = {n: value for n, value in options.items() if value != []}
    ctx = Recorder()
    run = partial(getattr(studies, action), ctx) if action not in TRAINING else None
    run = run or getattr(aam.methods, action)
    with pytest.raises(ValueError, match=said):
        run(table, column(frame, name), **options, **QUICK)
    assert not ctx.calls


def test_pipelines_give_all_steps_what_they_are_given(study):
    table, frame = study
    study_options = {
        **given(frame, "site"),
        "weights": column(frame, "age"),
        "balance": column(frame, "site"),
    }
    ctx = Recorder()
    studies.cross_validate_regression(
        ctx, table, column(frame, "score"), n_folds=3, **study_options, **QUICK
    )
    trained, predicted = ctx.named("train_regressor"), ctx.named("predict_regression")
    assert len(trained) == 3
    for call in trained:
        assert {name: call[name] for name in study_options} == study_options
    for call in predicted:
        assert call["covariates"] is study_options["covariates"]


@pytest.mark.parametrize(
    ("pipeline", "name", "merged"),
    [
        ("regress_samples", "score", 0),
        ("classify_samples", "level", 0),
        ("cross_validate_regression", "score", 2),
        ("cross_validate_classification", "level", 4),
    ],
)
def test_pages_get_what_covariates_alone_predict(study, pipeline, name, merged):
    table, frame = study
    folds = {"n_folds": 3} if "cross" in pipeline else {}
    ctx, without = Recorder(), Recorder()
    for each, options in ((ctx, given(frame, "site")), (without, {})):
        getattr(studies, pipeline)(each, table, column(frame, name), **folds, **options, **QUICK)
    kind = "classification" if name == "level" else "regression"
    (shown,), (plain,) = (each.named(f"evaluate_{kind}") for each in (ctx, without))
    found = {key for key in shown if key.startswith("covariate_")}
    both = {"covariate_predictions", "covariate_probabilities"}
    assert found == (both if kind == "classification" else {"covariate_predictions"})
    assert not any(key.startswith("covariate_") for key in plain)
    asked = [call for call in ctx.named(f"predict_{kind}") if call.get("only_covariates")]
    assert len(asked) == (3 if folds else 1)
    merges = ctx.named("merge_predictions") + ctx.named("merge_probabilities")
    assert len(merges) == merged


def test_the_page_says_what_covariates_alone_predict(made, tmp_path):
    made.evaluation.export_data(str(tmp_path / "page"))
    said = (tmp_path / "page" / "index.html").read_text(encoding="ascii")
    assert "Beside the covariates alone" in said
    assert "comes from the microbiome" in said


def test_weights_that_are_no_numbers_are_refused(study):
    table, frame = study
    for action, name in zip(TRAINING, ("score", "level"), strict=True):
        with pytest.raises(ValueError, match=r"'site' has text, such as .* column as balance"):
            getattr(aam.methods, action)(
                table, column(frame, name), weights=column(frame, "site"), **QUICK
            )


def test_groups_that_count_alike_change_the_model(study):
    table, frame = study
    level = column(frame, "level")
    rare = frame.assign(study=["a" if i < 12 else "b" for i in range(len(frame))])
    plain, balanced = (
        aam.methods.train_classifier(table, level, **options, **QUICK).classifier
        for options in ({}, {"balance": column(rare, "study")})
    )
    chances = [
        aam.methods.predict_classification(table, model).probabilities.view(pd.DataFrame)
        for model in (plain, balanced)
    ]
    assert not np.allclose(chances[0], chances[1], atol=1e-3)


def test_limits_hold_in_predictions(study):
    table, frame = study
    age = frame["age"].clip(30, 60).rename("age")
    model = aam.methods.train_regressor(
        table, qiime2.NumericMetadataColumn(age.rename_axis("id")),
        target_minimum=30.0, target_maximum=60.0, **QUICK,
    ).regressor  # fmt: skip
    said = aam.methods.predict_regression(table, model).predictions.view(pd.Series)
    assert said.between(30, 60).all()
    with pytest.raises(ValueError, match=r"values above target_maximum \(50\), such as 60 of"):
        aam.methods.train_regressor(
            table, qiime2.NumericMetadataColumn(age.rename_axis("id")), target_maximum=50.0,
            **QUICK,
        )  # fmt: skip


def test_options_that_no_fold_could_take_are_said_once(study):
    table, frame = study
    ctx = Recorder()
    with pytest.raises(ValueError, match=r"^class_weights names 'hgih', which is no class"):
        studies.cross_validate_classification(
            ctx, table, column(frame, "level"), class_weights="hgih:2", **QUICK
        )
    with pytest.raises(ValueError, match=r"^Metadata column 'age' has .* values above target_max"):
        studies.cross_validate_regression(
            ctx, table, column(frame, "age"), target_maximum=20.0, **QUICK
        )
    assert not ctx.calls


def test_a_fold_gets_no_weight_of_a_class_that_it_lacks(study):
    table, frame = study
    level = frame["level"].copy()
    level[frame.index[:10]] = "rare"
    folds = pd.Series(
        ["a" if i < 12 else "b" if i % 2 else "c" for i in range(len(frame))],
        frame.index, name="fold",
    )  # fmt: skip
    both = frame.assign(level=level, fold=folds)
    ctx = Recorder()
    studies.cross_validate_classification(
        ctx, table, column(both, "level"), folds=column(both, "fold"),
        class_weights="rare:3,high:2", **QUICK,
    )  # fmt: skip
    given_weights = [call["class_weights"] for call in ctx.named("train_classifier")]
    assert given_weights == ['{"high": 2.0}', *['{"rare": 3.0, "high": 2.0}'] * 2]
