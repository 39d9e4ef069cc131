"""Explanations are held against definitions, and against the clade that is known to matter."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from q2_aam.core import api
from q2_aam.core.data.simulate import SimulationConfig, simulate
from q2_aam.core.explain import attribution
from q2_aam.core.explain.attribution import Question
from q2_aam.core.model import inference

OPTIONS = {
    "embedding_dim": 16,
    "attention_heads": 2,
    "attention_layers": 1,
    "rarefy_depth": 200,
    "epochs": 15,
    "lr": 3e-3,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def data():
    return simulate(
        SimulationConfig(n_samples=120, n_features=60, n_bp=40, depth=400, age_effect=3.0, seed=3)
    )


@pytest.fixture(scope="module")
def regressor(data):
    return api.train_regressor(data.table, data.metadata["age"], **OPTIONS)


@pytest.fixture(scope="module")
def classifier(simulated):
    options = OPTIONS | {"epochs": 2, "rarefy_depth": 100}
    return api.train_classifier(simulated.table, simulated.metadata["site"], **options)


def parts(model, table, n=6):
    samples = api.samples_for(model, table, None).take(range(n))
    return api.module_of(model, "cpu").requires_grad_(False), samples, model.spec.data


def ranks_causal_features(data, found):
    causal = found.index.isin(data.age_features)
    return roc_auc_score(causal, found["importance"])


@pytest.mark.parametrize("method", ["occlusion", "integrated-gradients"])
def test_importance_finds_the_clade_that_grows_with_age(data, regressor, method):
    table = data.table.filter(data.table.ids()[:40], inplace=False)
    found = api.importance(table, regressor, method=method)
    assert ranks_causal_features(data, found.importance) > 0.7
    causal = found.mean_effects.index.isin(data.age_features)
    effects = found.mean_effects["mean_effect"]
    assert effects[causal].mean() > effects[~causal].mean()


@pytest.mark.parametrize("method", ["occlusion", "integrated-gradients"])
def test_importance_of_random_weights_is_another(data, regressor, method):
    table = data.table.filter(data.table.ids()[:20], inplace=False)
    generator = torch.Generator().manual_seed(5)
    weights = {
        name: torch.randn(value.shape, generator=generator) * value.std()
        if value.is_floating_point() and value.dim() > 1 and "stored" not in name
        else value
        for name, value in regressor.weights.items()
    }
    spec = replace(regressor.spec, stored=regressor.spec.stored.with_weights(1.0, 0.0, 0.0))
    spoilt = replace(regressor, spec=spec, weights=weights)
    before = api.importance(table, regressor, method=method).mean_effects
    after = api.importance(table, spoilt, method=method).mean_effects
    assert abs(spearmanr(before["mean_effect"], after["mean_effect"])[0]) < 0.5


def test_occlude_is_the_difference_of_two_predictions(data, regressor):
    module, samples, config = parts(regressor, data.table, 3)
    question = Question(regressor.spec.target)
    effects = attribution.occlude(module, samples, config, question, 0)
    assert effects.nnz <= samples.counts.nnz
    feature = samples.counts.indices[0]
    fewer = samples.counts.copy()
    fewer[0, feature] = 0
    fewer.eliminate_zeros()
    values = [
        regressor.spec.target.to_units(inference.predict(module, each, config)[0, 0])
        for each in (samples, replace(samples, counts=fewer))
    ]
    assert effects[0, feature] == pytest.approx(values[0] - values[1], rel=1e-3, abs=1e-4)


def test_occlude_takes_the_most_abundant_only(data, regressor):
    module, samples, config = parts(regressor, data.table, 4)
    effects = attribution.occlude(module, samples, config, Question(regressor.spec.target), 3)
    for i in range(4):
        kept = samples.counts[i, effects[i].indices].toarray().ravel()
        assert len(kept) == 3
        assert kept.min() >= np.sort(samples.counts[i].data)[-3]


def test_occlude_leaves_samples_of_one_asv_alone(data, regressor, caplog):
    module, samples, config = parts(regressor, data.table, 2)
    counts = samples.counts.copy()
    counts.data[1 : counts.indptr[1]] = 0
    counts.eliminate_zeros()
    poor = replace(samples, counts=counts)
    effects = attribution.occlude(module, poor, config, Question(regressor.spec.target), 0)
    assert effects[0].nnz == 0
    assert "1 samples have a single ASV" in caplog.text


def network_says(module, samples, config, question, towards):
    """Return what the networks say of samples whose ASVs are all average, or their own."""
    asvs = inference.encode_asvs(module, samples)
    seen = np.unique(samples.counts.indices)
    own = asvs if towards == "own" else asvs[seen].mean(dim=0).expand_as(asvs)
    plan = [np.arange(samples.n_samples)]
    batch = attribution.BatchDataset(samples, plan, config)[0]
    with torch.no_grad():
        chosen = question.chosen(module(batch, asvs[batch.asvs]).target)
        vectors = module.comparison.vectors_of(module.numbers_of(batch))
        assert vectors.abs().max() > 0
        vectors = vectors * (towards == "own")
        said = module(batch, own[batch.asvs], vectors=vectors).target
        return question.of_outputs(said, chosen).numpy()


@pytest.mark.parametrize("kind", ["number", "class", "predicted class"])
def test_integrated_gradients_are_complete(data, simulated, regressor, classifier, kind):
    model, table = (regressor, data.table) if kind == "number" else (classifier, simulated.table)
    question = Question(
        model.spec.target if kind == "number" else None, 1 if kind == "class" else None
    )
    module, samples, config = parts(model, table)
    change = network_says(module, samples, config, question, "own") - network_says(
        module, samples, config, question, "average"
    )
    errors = []
    for steps in (10, 100):
        shares = attribution.integrate_gradients(module, samples, config, question, steps)
        errors.append(abs(np.asarray(shares.sum(axis=1)).ravel() - change).max())
    assert errors[1] < 0.01 * abs(change).max()
    assert errors[1] < errors[0]


def test_integrated_gradients_do_not_depend_on_the_batch(data, regressor):
    module, samples, config = parts(regressor, data.table, 12)
    question = Question(regressor.spec.target)
    given = module, samples, config, question, 4
    shares = attribution.integrate_gradients(*given).toarray()
    turned = attribution.integrate_gradients(module, samples.take(range(11, -1, -1)), *given[2:])
    np.testing.assert_allclose(shares, turned.toarray()[::-1], rtol=1e-3, atol=1e-5)


def test_question_log_odds_of_answers_and_of_outputs_agree():
    outputs = torch.tensor([[0.3, -1.0, 2.0], [1.0, 0.0, 0.5]])
    for question in (Question(), Question(class_index=1)):
        chosen = question.chosen(outputs)
        expected = question.of_answers(outputs.softmax(dim=1), chosen)
        found = question.of_outputs(outputs, chosen).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("transform", ["none", "zscore", "log-minmax"])
def test_question_units_of_answers_and_of_outputs_agree(transform):
    target = attribution.NumericTarget.fit("age", [1.0, 5.0, 30.0], transform)
    outputs, chosen = torch.tensor([[0.1], [0.7]]), torch.zeros(2, dtype=torch.int64)
    question = Question(target)
    np.testing.assert_allclose(
        question.of_outputs(outputs, chosen).numpy(),
        question.of_answers(outputs, chosen),
        rtol=1e-5,
    )


def test_importance_by_groups(simulated, classifier):
    groups = simulated.metadata["site"]
    found = api.importance(
        simulated.table, classifier, groups=groups, method="integrated-gradients", steps=2
    )
    assert list(found.importance.columns) == [
        "importance_gut",
        "importance_oral",
        "importance_skin",
    ]
    assert (found.importance.to_numpy() >= abs(found.mean_effects.to_numpy()) - 1e-12).all()
    rows = found.sample_effects.filter(groups.index[groups == "oral"], inplace=False)
    expected = rows.matrix_data.mean(axis=1)
    np.testing.assert_allclose(
        found.mean_effects["mean_effect_oral"], np.asarray(expected).ravel()
    )


def test_importance_refuses_what_it_cannot_answer(simulated, data, classifier, regressor):
    with pytest.raises(ValueError, match="target_class 'nose' is not one of"):
        api.importance(simulated.table, classifier, target_class="nose")
    with pytest.raises(ValueError, match="predicts a number"):
        api.importance(data.table, regressor, target_class="gut")
    with pytest.raises(ValueError, match="method must be"):
        api.importance(simulated.table, classifier, method="guess")
