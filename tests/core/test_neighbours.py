import numpy as np
import pytest

from q2_aam.core import api, checkpoint
from q2_aam.core.neighbours import Known, remember
from q2_aam.core.table import rarefy, sample_table

RNG = np.random.default_rng(7)


@pytest.fixture(scope="module")
def known(simulated):
    table = rarefy(sample_table(simulated.table, None, 40), 100, 0)
    ages = simulated.metadata["age"][list(table.sample_ids)].to_numpy()
    embeddings = RNG.standard_normal((table.n_samples, 6)).astype(np.float32)
    return Known(table, embeddings, (ages - ages.mean()) / ages.std())


def test_both_opinions_fit_the_samples_they_were_made_from(known):
    alike, by_trees, found = remember(known, None).opinions(known)
    assert alike.shape == by_trees.shape == (known.table.n_samples, 1)
    assert np.corrcoef(alike[:, 0], known.target)[0, 1] > 0.9
    assert np.corrcoef(by_trees[:, 0], known.target)[0, 1] > 0.9
    np.testing.assert_allclose(found, 1.0)


def test_remember_keeps_only_the_asvs_that_occur(known):
    few = known.take(np.arange(5))
    info = remember(few, None).info
    assert info.n_samples == 5
    assert info.n_features == len(np.unique(few.table.counts.indices))
    assert info.n_entries == few.table.counts.nnz


def test_remember_does_not_store_sample_ids(known):
    content = remember(known, None).state_dict()
    assert set(content) == {
        "vocabulary", "richness", "features", "roots", "embeddings", "scales", "dual",
        "intercept", "value", "tree_feature", "tree_threshold", "tree_skip", "tree_value",
        "tree_sizes",
    }  # fmt: skip


def test_state_dict_round_trip_predicts_the_same(known):
    made = remember(known, None, blend=0.7)
    restored = type(made)(made.info, 6)
    restored.load_state_dict(made.state_dict())
    for before, after in zip(made.opinions(known), restored.opinions(known), strict=True):
        np.testing.assert_array_equal(before, after)


def test_classes_get_probabilities(known):
    groups = Known(known.table, known.embeddings, (known.target > 0).astype(np.int64))
    *guesses, _ = remember(groups, np.ones(2)).opinions(groups)
    for guess in guesses:
        np.testing.assert_allclose(guess.sum(axis=1), 1)
        assert (guess.argmax(axis=1) == groups.target).mean() > 0.9


def test_the_seed_is_that_of_the_trees(known):
    first, again, other = (remember(known, None, seed=seed).opinions(known) for seed in (0, 0, 1))
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
    checkpoint.save(model, tmp_path / "model")
    loaded = checkpoint.load(tmp_path / "model")
    before = api.predict_regression(simulated.table, model)
    assert before.equals(api.predict_regression(simulated.table, loaded))


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
