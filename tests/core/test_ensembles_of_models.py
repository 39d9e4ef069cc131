"""What an ensemble says is the mean of what its members say."""

import logging
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import run_inputs
import torch

from q2_aam.core import api
from q2_aam.core.api.ensembles import mean_classes
from q2_aam.core.data import messages
from q2_aam.core.model.specification import ENCODER
from q2_aam.core.model.trained_model import encoder_of

QUICK = run_inputs.QUICK | {"from_scratch": True}
PREDICT = {
    "regressors": api.predict_regression,
    "quantiles": api.predict_quantiles,
    "known reads": api.known_reads,
}


def halves(data):
    ids = list(data.table.ids())
    return [data.table.filter(ids[i::2], inplace=False) for i in range(2)]


@pytest.fixture(scope="module")
def regressors(simulated):
    """Return two models that predict quantiles of age, each trained on half of the samples."""
    age = simulated.metadata["age"]
    options = QUICK | {"loss_type": "quantile"}
    return [
        api.train_regressor(half, age.reindex(half.ids()), **options) for half in halves(simulated)
    ]


@pytest.fixture(scope="module")
def classifiers(simulated):
    """Return two models: one knows gut, oral and skin, and the other does not know skin."""
    site = simulated.metadata["site"]
    two = site[site != "skin"]
    table = simulated.table.filter(list(two.index), inplace=False)
    return [
        api.train_classifier(simulated.table, site, **QUICK),
        api.train_classifier(table, two, **QUICK),
    ]


@pytest.mark.parametrize("what", PREDICT)
def test_numbers_are_the_means_of_those_of_the_members(what, simulated, regressors):
    ask, table = PREDICT[what], simulated.table
    a, b = (ask(table, model) for model in regressors)
    said = ask(table, api.Ensemble.of(regressors))
    assert not a.equals(b)
    expected = (a + b) / 2
    assert said.equals(expected)
    assert said.index.name == "sample-id"
    assert getattr(said, "name", None) == getattr(a, "name", None)


def test_quantiles_increase(simulated, regressors):
    said = api.predict_quantiles(simulated.table, api.Ensemble.of(regressors))
    assert (np.diff(said.to_numpy(), axis=1) >= 0).all()
    median = api.predict_regression(simulated.table, api.Ensemble.of(regressors))
    np.testing.assert_allclose(said["quantile-0.5"], median, rtol=1e-6)


@pytest.mark.parametrize("what", PREDICT)
def test_one_model_predicts_by_itself_as_in_an_ensemble(what, simulated, regressors):
    ask = PREDICT[what]
    alone = ask(simulated.table, regressors[0])
    assert ask(simulated.table, api.Ensemble.of(regressors[:1])).equals(alone)


def test_one_classifier_predicts_by_itself_as_in_an_ensemble(simulated, classifiers):
    alone = api.predict_classification(simulated.table, classifiers[0])
    said = api.predict_classification(simulated.table, api.Ensemble.of(classifiers[:1]))
    assert all(mine.equals(its) for mine, its in zip(said, alone, strict=True))


def test_ensembles_survive_the_disk(simulated, regressors, tmp_path):
    ensemble = api.Ensemble.of(regressors)
    api.save(ensemble, tmp_path / "ensemble")
    said = api.predict_regression(simulated.table, api.load(tmp_path / "ensemble"))
    assert said.equals(api.predict_regression(simulated.table, ensemble))


def test_probabilities_are_means_and_predictions_the_most_probable(simulated, classifiers):
    table = simulated.table
    both = [classifiers[0], replace(classifiers[0], weights=perturbed(classifiers[0]))]
    (_, a), (_, b) = (api.predict_classification(table, model) for model in both)
    predictions, likely = api.predict_classification(table, api.Ensemble.of(both))
    assert not a.equals(b)
    assert likely.equals((a + b) / 2)
    assert predictions.equals(likely.idxmax(axis=1).rename("prediction"))


def perturbed(model):
    """Return weights of which those of the network are others."""
    torch.manual_seed(1)
    return {
        name: value + 0.1 * torch.randn(value.shape) if "encoder" in name else value
        for name, value in model.weights.items()
    }


def test_a_member_says_nothing_of_a_class_that_it_has_not_learnt(simulated, classifiers):
    table = simulated.table
    (_, three), (_, two) = (api.predict_classification(table, model) for model in classifiers)
    _, likely = api.predict_classification(table, api.Ensemble.of(classifiers))
    assert list(likely.columns) == ["gut", "oral", "skin"]
    expected = (three + two.reindex(columns=three.columns)) / 2
    expected["skin"] = three["skin"]
    expected = expected.div(expected.sum(axis=1), axis=0)
    pd.testing.assert_frame_equal(likely, expected, rtol=1e-12)
    np.testing.assert_allclose(likely.sum(axis=1), 1, rtol=1e-12)


def test_a_class_keeps_its_probability_where_one_member_does_not_know_it():
    index = pd.Index(["s"], name="sample-id")
    knows = pd.DataFrame({"a": [0.1], "b": [0.9]}, index)
    other = pd.DataFrame({"a": [0.6], "c": [0.4]}, index)
    predictions, likely = mean_classes([(None, knows), (None, other)])
    np.testing.assert_allclose(likely.loc["s"], np.array([0.35, 0.9, 0.4]) / 1.65)
    assert predictions.to_dict() == {"s": "b"}


def test_importance_is_that_of_the_mean_of_the_effects(simulated, regressors):
    table, site = simulated.table, simulated.metadata["site"]
    found = [api.importance(table, model, max_features=3) for model in regressors]
    said = api.importance(
        table, api.Ensemble.of(regressors), max_features=3, groups=site.drop(site.index[0]),
        missing_samples="ignore",
    )  # fmt: skip
    a, b = (each.sample_effects.to_dataframe(dense=True) for each in found)
    features = said.sample_effects.ids("observation")
    ids = list(said.sample_effects.ids())
    expected = (a.reindex(features).fillna(0) + b.reindex(features).fillna(0))[ids] / 2
    np.testing.assert_allclose(
        said.sample_effects.to_dataframe(dense=True), expected, rtol=1e-12, atol=1e-15
    )
    assert site.index[0] not in ids
    gut = expected[site.index[(site == "gut") & site.index.isin(ids)]]
    np.testing.assert_allclose(said.mean_effects["mean_effect_gut"], gut.mean(axis=1), atol=1e-12)
    np.testing.assert_allclose(
        said.importance["importance_gut"], abs(gut).mean(axis=1), atol=1e-12
    )


def test_importance_of_a_single_model_in_an_ensemble_is_its_own(simulated, regressors):
    alone = api.importance(simulated.table, regressors[0], max_features=3)
    said = api.importance(simulated.table, api.Ensemble.of(regressors[:1]), max_features=3)
    pd.testing.assert_frame_equal(said.importance, alone.importance)
    pd.testing.assert_frame_equal(said.mean_effects, alone.mean_effects)


def test_importance_of_classes_needs_a_class(simulated, classifiers):
    ensemble, options = api.Ensemble.of(classifiers), {"max_features": 2}
    with pytest.raises(ValueError, match=r"say which class .*\(target_class, such as 'gut'\)"):
        api.importance(simulated.table, ensemble, **options)
    with pytest.raises(ValueError, match="target_class 'nose' is not one of the model's classes"):
        api.importance(simulated.table, ensemble, target_class="nose", **options)
    skin = api.importance(simulated.table, ensemble, target_class="skin", **options)
    alone = api.importance(simulated.table, classifiers[0], target_class="skin", **options)
    pd.testing.assert_frame_equal(skin.importance, alone.importance)


def test_different_encoders_are_none(simulated, regressors):
    ensemble, said = api.Ensemble.of(regressors), "The encoders of models 1 and 2 .* differ"
    age = simulated.metadata["age"]
    for use in (
        lambda: api.embed(simulated.table, ensemble),
        lambda: api.embed_features(ensemble, table=simulated.table),
        lambda: api.train_regressor(simulated.table, age, encoder=ensemble, **run_inputs.QUICK),
    ):
        with pytest.raises(ValueError, match=said):
            use()


def test_the_encoder_that_all_members_have_is_that_of_the_ensemble(simulated, regressors):
    age, start = simulated.metadata["age"], encoder_of(regressors[0])
    options = run_inputs.QUICK | {"encoder": start, "freeze_base": True}
    ensemble = api.Ensemble.of(
        api.train_regressor(half, age.reindex(half.ids()), **options) for half in halves(simulated)
    )
    vectors, distances = api.embed(simulated.table, ensemble)
    expected, others = api.embed(simulated.table, start)
    assert vectors.equals(expected)
    assert np.array_equal(distances.data, others.data)
    assert api.embed_features(ensemble, table=simulated.table).equals(
        api.embed_features(start, table=simulated.table)
    )
    again = api.train_regressor(simulated.table, age, **options | {"encoder": ensemble})
    found = encoder_of(again)
    assert found.spec.kind == ENCODER
    assert all(torch.equal(value, start.weights[name]) for name, value in found.weights.items())


def test_warnings_of_the_members_are_told_apart_by_kind(simulated, regressors):
    """All members see the same samples, so that what they warn of differs in numbers alone."""
    repeated = []

    class Watch(logging.Handler):
        def emit(self, record):
            if record.levelno >= logging.WARNING:
                repeated.append(messages.is_repeated(record))

    table = simulated.table.copy()
    table.update_ids(
        {name: "ACGT" * 10 + name for name in table.ids("observation")}, axis="observation"
    )
    logger, watch = logging.getLogger("q2_aam"), Watch()
    logger.addHandler(watch)
    try:
        api.predict_regression(table, api.Ensemble.of(regressors))
    finally:
        logger.removeHandler(watch)
    half = len(repeated) // 2
    assert half > 0
    assert repeated == [False] * half + [True] * half
