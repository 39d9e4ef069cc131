"""The samples that a model stores, and what predicts from them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score

from q2_aam.core import api
from q2_aam.core.artifact import storage
from q2_aam.core.data.mini_batches import BatchDataset
from q2_aam.core.data.rarefaction import rarefy
from q2_aam.core.data.sample_table import sample_table
from q2_aam.core.model.specification import PARTS, StoredSamplesSpec
from q2_aam.core.model.stored_samples import comparison
from q2_aam.core.model.stored_samples.comparison import LabelledSamples, fit_stored_samples
from q2_aam.core.model.stored_samples.ensemble_weights import EVEN, mix
from q2_aam.core.model.stored_samples.extra_trees import POWERS, TREES_OF_EACH
from q2_aam.core.options.config import DataConfig
from q2_aam.core.training import stored_samples

RNG = np.random.default_rng(7)


@pytest.fixture(scope="module")
def known(simulated):
    table = rarefy(sample_table(simulated.table, None, 40), 100, 0)
    ages = simulated.metadata["age"][list(table.sample_ids)].to_numpy()
    embeddings = RNG.standard_normal((table.n_samples, 6)).astype(np.float32)
    places = RNG.standard_normal((table.n_samples, 10)).astype(np.float32)
    return LabelledSamples(table, embeddings, (ages - ages.mean()) / ages.std(), places)


def test_both_opinions_fit_the_samples_they_were_made_from(known):
    alike, by_trees, found = fit_stored_samples(known, None).predict_separately(known)
    assert alike.shape == by_trees.shape == (known.table.n_samples, 1)
    assert np.corrcoef(alike[:, 0], known.target)[0, 1] > 0.9
    assert np.corrcoef(by_trees[:, 0], known.target)[0, 1] > 0.9
    np.testing.assert_allclose(found, 1.0)


def test_remember_keeps_only_the_asvs_that_occur(known):
    few = known.take(np.arange(5))
    info = fit_stored_samples(few, None).info
    assert info.n_samples == 5
    assert info.n_features == len(np.unique(few.table.counts.indices))
    assert info.n_entries == few.table.counts.nnz


def test_remember_does_not_store_sample_ids(known):
    content = fit_stored_samples(known, None).state_dict()
    assert set(content) == {
        "vocabulary", "richness", "features", "roots", "embeddings", "places", "target",
        "scales", "dual", "intercept", "value", "tree_feature", "tree_threshold", "tree_skip",
        "tree_value", "tree_sizes",
    }  # fmt: skip


def test_state_dict_round_trip_predicts_the_same(known):
    made = fit_stored_samples(known, None)
    restored = type(made)(made.info, 6, 10)
    restored.load_state_dict(made.state_dict())
    for before, after in zip(
        made.predict_separately(known), restored.predict_separately(known), strict=True
    ):
        np.testing.assert_array_equal(before, after)


def test_classes_get_probabilities(known):
    groups = replace(known, target=(known.target > 0).astype(np.int64))
    *guesses, _ = fit_stored_samples(groups, np.ones(2)).predict_separately(groups)
    for guess in guesses:
        np.testing.assert_allclose(guess.sum(axis=1), 1)
        assert (guess.argmax(axis=1) == groups.target).mean() > 0.9


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("n_trees", 1001, "n_trees must be at most 1000, found 1001"),
        ("n_trees", 0, "n_trees must be an integer from 1"),
        ("n_nodes", 0.5, "n_nodes must be an integer from 1"),
        ("score", 1.5, "score must be a number from"),
        ("parts", {}, "parts has missing keys"),
    ],
)
def test_a_neighbourhood_that_cannot_be_is_refused(known, name, value, said):
    values = fit_stored_samples(known, None).info.to_dict()
    with pytest.raises(ValueError, match=said):
        StoredSamplesSpec.from_dict(values | {name: value})


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"weight": 0.9, "score": None}, "must sum to 1"),
        ({"weight": 2, "score": None}, "weight must be a number from 0 to 1"),
        ({"weight": 1 / 3}, "a part has missing keys"),
    ],
)
def test_parts_that_cannot_be_are_refused(known, part, said):
    values = fit_stored_samples(known, None).info.to_dict()
    parts = values["parts"] | {"trees": part}
    with pytest.raises(ValueError, match=said):
        StoredSamplesSpec.from_dict(values | {"parts": parts})


def test_info_round_trip(known):
    info = fit_stored_samples(known, None).info
    assert StoredSamplesSpec.from_dict(info.to_dict()) == info
    assert info.with_weights(0.5, 0.25, 0.25).weights == (0.5, 0.25, 0.25)


def test_a_batch_is_predicted_as_samples_are(known):
    made = fit_stored_samples(known, None)
    plan = [np.arange(known.table.n_samples)]
    batch = BatchDataset(known.table, plan, DataConfig(rarefy_depth=0))[0]
    said = made(batch, torch.from_numpy(known.embeddings)[batch.rows])
    order = batch.rows.argsort()
    for by_batch, expected in zip(said, made.predict_separately(known), strict=True):
        np.testing.assert_allclose(by_batch[order].numpy(), expected, rtol=1e-5, atol=1e-6)


def test_asvs_with_vectors_are_numbered_first(known):
    first = known.table.tokens[[7, 3]]
    made = fit_stored_samples(known, None, first=first)
    tokens = made.known_asvs.tokens
    np.testing.assert_array_equal(tokens[:2], first)
    assert len(np.unique(tokens, axis=0)) == len(tokens)
    others = fit_stored_samples(known, None)
    ridge, without = (each.predict_separately(known)[0] for each in (made, others))
    np.testing.assert_allclose(ridge, without, atol=1e-6)


def test_the_seed_is_that_of_the_trees(known):
    first, again, other = (
        fit_stored_samples(known, None, seed=seed).predict_separately(known) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first[1], again[1])
    np.testing.assert_array_equal(first[0], other[0])
    assert not np.array_equal(first[1], other[1])


def train(simulated, quick, **options):
    return api.train_regressor(
        simulated.table, simulated.metadata["age"], **(quick | {"epochs": 1} | options)
    )


def test_stored_samples_are_part_of_the_model(simulated, quick, tmp_path):
    model = train(simulated, quick)
    assert model.spec.stored.n_samples == 48
    storage.save(model, tmp_path / "model")
    loaded = storage.load(tmp_path / "model")
    before = api.predict_regression(simulated.table, model)
    assert before.equals(api.predict_regression(simulated.table, loaded))


def test_validation_samples_say_how_much_trees_and_stored_samples_count(
    simulated, quick, monkeypatch
):
    asked = []

    def ensemble_weights(parts, known, target, factors, weights):
        assert weights is None
        asked.append((parts, known, target))
        return 0.6, 0.3, 0.1

    monkeypatch.setattr(stored_samples, "ensemble_weights", ensemble_weights)
    info = train(simulated, quick).spec.stored
    assert info.weights == (0.6, 0.3, 0.1)
    [(parts, known, target)] = asked
    assert [len(said) for said in parts] == [10] * 3
    for said, name in zip(parts, PARTS, strict=True):
        assert info.parts[name].score == pytest.approx(r2_score(target, said[:, 0]), abs=1e-6)
    mixture = mix(*parts, known, info.weights)
    assert info.score == pytest.approx(r2_score(target, mixture[:, 0]), abs=1e-6)


def test_without_validation_samples_the_weights_are_even(simulated, quick):
    info = train(simulated, quick, test_size=0.0).spec.stored
    assert info.weights == EVEN
    assert info.score is None


def test_stored_samples_bounds_how_many_are_kept(simulated, quick):
    assert train(simulated, quick, stored_samples=10).spec.stored.n_samples == 10


def test_stored_samples_zero_keeps_no_sample_and_no_sequence(simulated, quick):
    model = train(simulated, quick, stored_samples=0)
    assert model.spec.stored is None
    assert not [name for name in model.weights if name.startswith("stored.")]
    assert "comparison.vectors" not in model.weights
    assert np.isfinite(api.predict_regression(simulated.table, model)).all()


def test_predictions_survive_one_wrong_nucleotide_in_every_asv(simulated, quick):
    model = train(simulated, quick | {"test_size": 0.0})
    places = {"A": "C", "C": "G", "G": "T", "T": "A"}
    changed = [name[:20] + places[name[20]] + name[21:] for name in
               simulated.table.ids("observation")]  # fmt: skip
    sequences = dict(zip(simulated.table.ids("observation"), changed, strict=True))
    before = api.predict_regression(simulated.table, model)
    after = api.predict_regression(simulated.table, model, sequences=sequences)
    assert np.corrcoef(before, after)[0, 1] > 0.7


def test_few_trees_decide_on_the_weight_of_many(simulated, quick, monkeypatch):
    grown, original = [], comparison.grow

    def watched(*arguments, trees_of_each, **options):
        grown.append(trees_of_each)
        return original(*arguments, trees_of_each=trees_of_each, **options)

    monkeypatch.setattr(comparison, "grow", watched)
    info = train(simulated, quick).spec.stored
    assert grown == [stored_samples.TRIAL_TREES, TREES_OF_EACH]
    assert info.n_trees == TREES_OF_EACH * len(POWERS)


def test_of_many_samples_some_are_stored_and_some_decide(simulated, quick, monkeypatch):
    seen, original = [], stored_samples._labelled

    def watched(model, part, data):
        seen.append(part)
        return original(model, part, data)

    monkeypatch.setattr(stored_samples, "_labelled", watched)
    monkeypatch.setattr(stored_samples, "MOST_VALIDATION", 4)
    train(simulated, quick, stored_samples=20)
    assert [part.table.n_samples for part in seen] == [20, 4]
    ages = simulated.metadata["age"]
    for part in seen:
        true = ages[list(part.table.sample_ids)].to_numpy()
        assert np.corrcoef(true, part.targets)[0, 1] > 0.999


def test_class_weights_hold_where_a_class_is_not_among_the_stored_samples(simulated, quick):
    model = api.train_classifier(
        simulated.table, simulated.metadata["site"], class_weights="balanced", stored_samples=2,
        **(quick | {"epochs": 1}),
    )  # fmt: skip
    factors = model.weights["stored.value"]
    assert len(factors) == 3
    assert np.isfinite(factors).all()
    assert np.isfinite(api.predict_classification(simulated.table, model)[1]).all(axis=None)
