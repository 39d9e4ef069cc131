import numpy as np
import pytest
import torch

from q2_aam.core import api, checkpoint
from q2_aam.core.neighbours import Known, best_blend, mix, remember
from q2_aam.core.table import rarefy, sample_table

RNG = np.random.default_rng(7)


@pytest.fixture(scope="module")
def known(simulated):
    table = rarefy(sample_table(simulated.table, None, 40), 100, 0)
    ages = simulated.metadata["age"][list(table.sample_ids)].to_numpy()
    embeddings = RNG.standard_normal((table.n_samples, 6)).astype(np.float32)
    return Known(table, embeddings, (ages - ages.mean()) / ages.std())


def test_of_table_fits_the_samples_it_was_given(known):
    guess, found = remember(known, None, 1.0).of_table(known)
    assert np.corrcoef(guess[:, 0], known.target)[0, 1] > 0.9
    np.testing.assert_allclose(found, 1.0)


def test_remember_keeps_only_the_asvs_that_occur(known):
    few = known.take(np.arange(5))
    info = remember(few, None, 1.0).info
    assert info.n_samples == 5
    assert info.n_features == len(np.unique(few.table.counts.indices))
    assert info.n_entries == few.table.counts.nnz


def test_remember_does_not_store_sample_ids(known):
    content = remember(known, None, 1.0).state_dict()
    assert set(content) == {
        "vocabulary", "richness", "features", "roots", "embeddings", "scales", "dual",
        "intercept", "value",
    }  # fmt: skip


def test_state_dict_round_trip_predicts_the_same(known):
    made = remember(known, None, 0.7)
    restored = type(made)(made.info, 6)
    restored.load_state_dict(made.state_dict())
    np.testing.assert_array_equal(made.of_table(known)[0], restored.of_table(known)[0])


def test_classes_get_probabilities(known):
    groups = Known(known.table, known.embeddings, (known.target > 0).astype(np.int64))
    guess, _ = remember(groups, np.ones(2), 1.0).of_table(groups)
    np.testing.assert_allclose(guess.sum(axis=1), 1)
    assert (guess.argmax(axis=1) == groups.target).mean() > 0.9


def test_mix_leaves_the_model_alone_where_nothing_is_known():
    model, other = torch.tensor([[1.0], [1.0]]), torch.tensor([[3.0], [3.0]])
    assert mix(model, other, torch.tensor([0.0, 0.5])).squeeze(1).tolist() == [1.0, 2.0]


def test_best_blend_trusts_whoever_is_right():
    target = RNG.standard_normal(40)
    noise = RNG.standard_normal((40, 1))
    assert best_blend(target[:, None], noise, np.ones(40), target, None) == 0
    assert best_blend(noise, target[:, None], np.ones(40), target, None) == 1
    both = target[:, None] + noise, target[:, None] - noise
    assert best_blend(*both, np.ones(40), target, None) == 0.5


def test_best_blend_of_classes_follows_the_likelihood():
    target = RNG.integers(0, 2, 30)
    right = np.where(np.eye(2)[target] > 0, 0.9, 0.1)
    assert best_blend(right, 1 - right, np.ones(30), target, np.ones(2)) == 0


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
