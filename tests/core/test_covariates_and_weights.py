"""Covariates, weights and limits from training to prediction."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import r2_score

from q2_aam.core import api
from q2_aam.core.artifact import model_directory
from q2_aam.core.data.simulate import SimulationConfig, simulate
from q2_aam.core.training.preparation.prepared_run import prepare

SMALL = {
    "embedding_dim": 16,
    "attention_heads": 2,
    "attention_layers": 1,
    "epochs": 3,
    "rarefy_depth": 200,
    "device": "cpu",
    "from_scratch": True,
}


@pytest.fixture(scope="module")
def study():
    """Simulate samples whose score depends on age, which ASVs tell, and on site, which they do
    not."""
    made = simulate(
        SimulationConfig(n_samples=160, n_features=80, n_bp=40, depth=400, site_effect=0.0, seed=3)
    )
    site = made.metadata["site"]
    shift = site.map({"gut": 0.0, "oral": 20.0, "skin": 40.0})
    score = (made.metadata["age"] + shift).rename("score")
    ids = made.metadata.index
    train, test = (made.table.filter(set(part), inplace=False) for part in (ids[:110], ids[110:]))
    return train, test, score, pd.DataFrame({"site": site})


@pytest.fixture(scope="module")
def regressor(study):
    train, _, score, covariates = study
    return api.train_regressor(train, score, covariates=covariates, **SMALL)


def alone(model, place):
    """Let one part of the prediction alone count: network, regression or trees."""
    weights = [0.0, 0.0, 0.0]
    weights[place] = 1.0
    return replace(
        model, spec=replace(model.spec, stored=model.spec.stored.with_weights(*weights))
    )


def r2(predictions, score):
    return r2_score(score[predictions.index], predictions)


def test_a_covariate_that_tells_more_raises_r_squared_in_each_part(study, regressor):
    train, test, score, covariates = study
    without = api.train_regressor(train, score, **SMALL)
    whole = api.predict_regression(test, regressor, covariates=covariates)
    assert r2(whole, score) > r2(api.predict_regression(test, without), score) + 0.2
    for place in range(3):
        plain = r2(api.predict_regression(test, alone(without, place)), score)
        found = api.predict_regression(test, alone(regressor, place), covariates=covariates)
        assert r2(found, score) > plain + 0.05


def test_covariates_alone_say_less_than_with_the_asvs(study, regressor):
    train, test, score, covariates = study
    said = api.predict_regression(test, regressor, covariates=covariates, only_covariates=True)
    assert said.groupby(covariates["site"]).agg(np.ptp).max() < 1e-6
    means = score[list(train.ids())].groupby(covariates["site"]).mean()
    np.testing.assert_allclose(said.groupby(covariates["site"]).mean(), means, atol=4)
    whole = api.predict_regression(test, regressor, covariates=covariates)
    assert 0.1 < r2(said, score) < r2(whole, score)
    assert 0.1 < regressor.spec.covariates.score < 1


def test_covariates_of_a_classifier(study):
    train, test, score, _ = study
    high = (score > score.median()).map({True: "high", False: "low"}).rename("level")
    covariates = pd.DataFrame({"score": score + 0.1})
    model = api.train_classifier(train, high, covariates=covariates, **SMALL)
    said, chances = api.predict_classification(
        test, model, covariates=covariates, only_covariates=True
    )
    assert (said == high[said.index]).mean() > 0.9
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    whole, _ = api.predict_classification(test, model, covariates=covariates)
    assert (whole == high[whole.index]).mean() > 0.8


def test_order_and_company_of_samples_do_not_matter(study, regressor):
    _, test, _, covariates = study
    whole = api.predict_regression(test, regressor, covariates=covariates)
    some = test.sort_order(list(test.ids())[5::-1])
    part = api.predict_regression(some, regressor, covariates=covariates.sample(frac=1))
    np.testing.assert_allclose(part, whole[part.index], rtol=1e-4)


def test_another_category_is_another_prediction(study, regressor):
    _, test, _, covariates = study
    gut, skin = (
        api.predict_regression(test, regressor, covariates=covariates.assign(site=site))
        for site in ("gut", "skin")
    )
    assert (skin - gut).mean() > 10


def test_saved_models_keep_covariates(study, regressor, tmp_path):
    _, test, _, covariates = study
    api.save(regressor, tmp_path / "model")
    again = api.load(tmp_path / "model")
    assert again.spec == regressor.spec
    pd.testing.assert_series_equal(
        api.predict_regression(test, again, covariates=covariates),
        api.predict_regression(test, regressor, covariates=covariates),
        check_exact=True,
    )
    config = json.loads((tmp_path / "model" / model_directory.CONFIG).read_text())
    assert config["covariates"]["columns"][0]["categories"] == ["gut", "oral", "skin"]


def test_a_model_without_covariates_does_not_name_them(study, tmp_path):
    train, _, score, _ = study
    api.save(api.train_regressor(train, score, **SMALL | {"epochs": 1}), tmp_path / "model")
    assert "covariates" not in (tmp_path / "model" / model_directory.CONFIG).read_text()


def test_what_does_not_fit_the_model_is_refused(study, regressor):
    train, test, score, covariates = study
    with pytest.raises(ValueError, match=r"trained with covariates \(site\).*--m-covariates-file"):
        api.predict_regression(test, regressor)
    with pytest.raises(ValueError, match="no column 'site'"):
        api.predict_regression(
            test, regressor, covariates=covariates.rename(columns={"site": "x"})
        )
    plain = api.train_regressor(train, score, **SMALL | {"epochs": 1, "stored_samples": 0})
    with pytest.raises(ValueError, match="trained without covariates, so they would have no"):
        api.predict_regression(test, plain, covariates=covariates)
    with pytest.raises(ValueError, match="nothing can be predicted from them"):
        api.predict_regression(test, plain, only_covariates=True)


@pytest.mark.parametrize("options", [{"stored_samples": 0}, {"loss_type": "quantile"}])
def test_covariates_reach_networks_that_read_places(study, options):
    train, test, score, covariates = study
    model = api.train_regressor(train, score, covariates=covariates, **SMALL | options)
    gut, skin = (
        api.predict_regression(test, model, covariates=covariates.assign(site=site))
        for site in ("gut", "skin")
    )
    assert (gut != skin).all()
    if "stored_samples" in options:
        with pytest.raises(ValueError, match="stored_samples 0"):
            api.predict_regression(test, model, covariates=covariates, only_covariates=True)


@pytest.mark.parametrize("method", ["occlusion", "integrated-gradients"])
def test_importance_of_asvs_beside_covariates(study, regressor, method):
    _, test, _, covariates = study
    some = test.filter(set(test.ids()[:4]), inplace=False)
    found = api.importance(
        some, regressor, covariates=covariates, method=method, max_features=3, steps=2
    )
    assert found.sample_effects.shape[1] == 4
    assert np.abs(found.sample_effects.matrix_data.data).max() > 0


def test_a_group_that_is_ten_times_as_large_counts_no_more_than_the_other(study):
    train, _, score, _ = study
    ids = list(train.ids())
    group = pd.Series(["small" if i < 10 else "large" for i in range(len(ids))], ids, name="g")
    shifted = score.copy()
    shifted[ids[:10]] += 100
    plain = api.train_regressor(train, shifted, **SMALL)
    balanced = api.train_regressor(train, shifted, balance=group, **SMALL)
    by_weights = api.train_regressor(
        train, shifted, weights=(1.0 / group.map(group.value_counts())).rename("w"), **SMALL
    )
    errors = []
    for model in (plain, balanced):
        said = api.predict_regression(train, model)
        errors.append(np.abs(said[ids[:10]] - shifted[ids[:10]]).mean())
    assert errors[1] < errors[0]
    # The intercept of kernel ridge regression is the weighted mean of what is learnt.
    target, intercept = (balanced.weights[f"stored.{n}"] for n in ("target", "intercept"))
    assert abs(float(intercept[0]) - float(target.mean())) > 0.2
    assert by_weights.weights["stored.intercept"][0] > plain.weights["stored.intercept"][0]


def test_equal_weights_are_no_weights(study):
    train, _, score, _ = study
    ones = pd.Series(3.0, score.index, name="w")
    plain, weighed = (
        api.train_regressor(train, score, **given, **SMALL | {"epochs": 1})
        for given in ({}, {"weights": ones})
    )
    for name, value in plain.weights.items():
        if not name.startswith("stored."):
            torch.testing.assert_close(value, weighed.weights[name])


def test_class_weights_by_hand(study, caplog):
    train, _, _, covariates = study
    site = covariates["site"]
    options = SMALL | {"epochs": 1}
    heavy = api.train_classifier(train, site, class_weights="skin:50", **options)
    predicted, _ = api.predict_classification(train, heavy)
    assert (predicted == "skin").mean() > 0.8
    with pytest.raises(ValueError, match=r"names 'skn', which is no class of .*'site'.*'skin'"):
        api.train_classifier(train, site, class_weights="skn:2", **options)


def test_predictions_stay_within_limits(study):
    train, test, score, _ = study
    share = ((score - score.min()) / (score.max() - score.min())).rename("share") ** 4
    limits = {"target_minimum": 0.0, "target_maximum": 1.0}
    options = SMALL | {"loss_type": "quantile"}
    free = api.train_regressor(train, share, **options)
    bounded = api.train_regressor(train, share, **limits, **options)
    before, after = (api.predict_quantiles(test, model) for model in (free, bounded))
    assert before.to_numpy().min() < 0
    np.testing.assert_allclose(after, before.clip(0, 1), atol=1e-9)
    with pytest.raises(ValueError, match=r"values above target_maximum \(0.5\), such as .*sample"):
        api.train_regressor(train, share, target_maximum=0.5, **SMALL)


def test_a_run_with_other_covariates_or_weights_is_another_run(study):
    from run_inputs import inputs_of

    from q2_aam.core.data.sample_table import sample_table
    from q2_aam.core.training.preparation.weighting import Weighting

    train, _, score, covariates = study
    table = sample_table(train, None, 40)
    ids = list(table.sample_ids)
    inputs = inputs_of(table, score[ids], **SMALL)
    weights = pd.Series(np.arange(1.0, len(ids) + 1), ids)
    others = [
        replace(inputs, covariates=covariates.loc[ids]),
        replace(inputs, covariates=covariates.loc[ids].replace("gut", "skin")),
        replace(inputs, weighting=Weighting(weights)),
        replace(inputs, weighting=Weighting(None, covariates["site"])),
    ]
    found = {each.fingerprint(prepare(each).spec) for each in [inputs, *others]}
    assert len(found) == 5


def test_covariates_alone_know_groups_and_weights(study):
    """A person's covariate must not look useful because the person has several samples."""
    train, test, _, _ = study
    ids = list(train.ids())
    rng = np.random.default_rng(4)
    person = pd.Series([f"p{i // 5}" for i in range(len(ids))], ids, name="person")
    noise = dict(zip(person.unique(), rng.normal(size=person.nunique()), strict=True))
    value = person.map(noise).rename("value") + 0.01 * rng.normal(size=len(ids))
    mark = dict(zip(person.unique(), rng.normal(size=person.nunique()), strict=True))
    marks = pd.DataFrame({"mark": person.map(mark)})
    model = api.train_regressor(train, value, covariates=marks, groups=person, **SMALL)
    new = pd.DataFrame({"mark": rng.normal(size=test.shape[1])}, index=test.ids())
    said = api.predict_regression(test, model, covariates=new, only_covariates=True)
    free = api.train_regressor(train, value, covariates=marks, **SMALL)
    without = api.predict_regression(test, free, covariates=new, only_covariates=True)
    assert said.var() < 0.5 * without.var()


def test_a_prediction_at_its_limit_still_has_asvs_that_move_it(study):
    train, test, score, _ = study
    far = (score - score.max() - 50).clip(upper=-50).rename("far")
    model = api.train_regressor(train, far, target_maximum=0.0, **SMALL)
    bounded = replace(model.spec.target, maximum=float(far.min()))
    model = replace(model, spec=replace(model.spec, target=bounded))
    some = test.filter(set(test.ids()[:2]), inplace=False)
    said = api.predict_regression(some, model)
    assert (said == far.min()).all()
    found = api.importance(some, model, max_features=3)
    assert np.abs(found.sample_effects.matrix_data.data).max() > 0
