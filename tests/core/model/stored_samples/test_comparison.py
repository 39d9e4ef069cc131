import numpy as np
import pytest
import torch

from q2_aam.core import api
from q2_aam.core.artifact import storage
from q2_aam.core.data.mini_batches import BatchDataset
from q2_aam.core.data.rarefaction import rarefy
from q2_aam.core.data.sample_table import sample_table
from q2_aam.core.model.specification import StoredSamplesSpec
from q2_aam.core.model.stored_samples import comparison
from q2_aam.core.model.stored_samples.comparison import LabelledSamples, fit_stored_samples
from q2_aam.core.model.stored_samples.extra_trees import POWERS, TREES_OF_EACH
from q2_aam.core.options.config import DataConfig
from q2_aam.core.training import stored_samples

RNG = np.random.default_rng(7)


@pytest.fixture(scope="module")
def known(simulated):
    table = rarefy(sample_table(simulated.table, None, 40), 100, 0)
    ages = simulated.metadata["age"][list(table.sample_ids)].to_numpy()
    embeddings = RNG.standard_normal((table.n_samples, 6)).astype(np.float32)
    return LabelledSamples(table, embeddings, (ages - ages.mean()) / ages.std())


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
        "vocabulary", "richness", "features", "roots", "embeddings", "scales", "dual",
        "intercept", "value", "tree_feature", "tree_threshold", "tree_skip", "tree_value",
        "tree_sizes",
    }  # fmt: skip


def test_state_dict_round_trip_predicts_the_same(known):
    made = fit_stored_samples(known, None, blend=0.7)
    restored = type(made)(made.info, 6)
    restored.load_state_dict(made.state_dict())
    for before, after in zip(
        made.predict_separately(known), restored.predict_separately(known), strict=True
    ):
        np.testing.assert_array_equal(before, after)


def test_classes_get_probabilities(known):
    groups = LabelledSamples(known.table, known.embeddings, (known.target > 0).astype(np.int64))
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
        ("tree_share", 1.5, "tree_share must be a number from 0 to 1, found 1.5"),
    ],
)
def test_a_neighbourhood_that_cannot_be_is_refused(known, name, value, said):
    values = fit_stored_samples(known, None).info.to_dict()
    with pytest.raises(ValueError, match=said):
        StoredSamplesSpec.from_dict(values | {name: value})


@pytest.mark.parametrize("tree_share", [0.0, 0.3, 1.0])
def test_trees_have_their_share(known, tree_share):
    made = fit_stored_samples(known, None, tree_share=tree_share)
    alike, by_trees, found = made.predict_separately(known)
    plan = [np.arange(known.table.n_samples)]
    batch = BatchDataset(known.table, plan, DataConfig(rarefy_depth=0))[0]
    said, share = made(batch, torch.from_numpy(known.embeddings)[batch.rows])
    order = batch.rows.argsort()
    expected = (1 - tree_share) * alike + tree_share * by_trees
    np.testing.assert_allclose(said[order].numpy(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(share[order].numpy(), found, rtol=1e-6)


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
    assert model.spec.neighbours.n_samples == 48
    storage.save(model, tmp_path / "model")
    loaded = storage.load(tmp_path / "model")
    before = api.predict_regression(simulated.table, model)
    assert before.equals(api.predict_regression(simulated.table, loaded))


def test_validation_samples_say_how_much_trees_and_stored_samples_count(
    simulated, quick, monkeypatch
):
    asked = {}

    def ensemble_weight(alike, by_trees, target, factors):
        asked["even"] = alike, by_trees
        return 0.25

    def cautious_ensemble_weight(by_model, by_neighbours, known, target, factors):
        asked["trusted"] = by_model, by_neighbours
        return 0.6

    monkeypatch.setattr(stored_samples, "ensemble_weight", ensemble_weight)
    monkeypatch.setattr(stored_samples, "cautious_ensemble_weight", cautious_ensemble_weight)
    info = train(simulated, quick).spec.neighbours
    assert (info.tree_share, info.blend) == (0.25, 0.6)
    alike, by_trees = asked["even"]
    assert len(alike) == 10
    by_model, by_neighbours = asked["trusted"]
    np.testing.assert_allclose(by_neighbours, 0.75 * alike + 0.25 * by_trees)
    assert not np.allclose(by_model, by_neighbours)


def test_without_validation_samples_the_shares_are_those_believed(simulated, quick):
    info = train(simulated, quick, test_size=0.0).spec.neighbours
    assert (info.tree_share, info.blend) == (0.5, stored_samples.UNTRIED_WEIGHT)


def test_stored_samples_bounds_how_many_are_kept(simulated, quick):
    assert train(simulated, quick, stored_samples=10).spec.neighbours.n_samples == 10


def test_stored_samples_zero_leaves_the_transformer_alone(simulated, quick):
    model = train(simulated, quick, stored_samples=0)
    assert model.spec.neighbours is None
    assert not [name for name in model.weights if name.startswith("neighbours.")]
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
    info = train(simulated, quick).spec.neighbours
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
    factors = model.weights["neighbours.value"]
    assert len(factors) == 3
    assert np.isfinite(factors).all()
    assert np.isfinite(api.predict_classification(simulated.table, model)[1]).all(axis=None)
