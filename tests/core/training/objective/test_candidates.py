"""Which training samples a batch is compared with, and what they are to the networks."""

import numpy as np
import pytest
import torch

from q2_aam.core.data.mini_batches import collate
from q2_aam.core.data.sample_table import sample_table
from q2_aam.core.data.target import NumericTarget
from q2_aam.core.model import inference
from q2_aam.core.model.learnt_comparison import Occurrences
from q2_aam.core.model.predictor import build
from q2_aam.core.model.specification import REGRESSOR, ModelSpec, Reads
from q2_aam.core.model.stored_samples.similarity import Vocabulary
from q2_aam.core.options.config import DataConfig, ModelConfig, RegressionConfig, Settings
from q2_aam.core.training.objective import candidates
from q2_aam.core.training.objective.candidates import TrainingSamples
from q2_aam.core.training.preparation.run_data import Pass

DATA = DataConfig(rarefy_depth=0)


@pytest.fixture(scope="module")
def table(simulated):
    return sample_table(simulated.table, None, 40)


@pytest.fixture(scope="module")
def model(table):
    config = ModelConfig(embedding_dim=16, attention_heads=2, attention_layers=1, max_bp=40)
    settings = Settings(config, DATA, fine_tuning=RegressionConfig(asv_dropout=0.0))
    spec = ModelSpec.of(
        REGRESSOR, settings, Reads(1, 1, 40, 40), NumericTarget("age"), n_vectors=30
    )
    torch.manual_seed(0)
    made = build(spec).eval()
    made.vocabulary = Vocabulary(table.tokens[:30])
    return made


@pytest.fixture(scope="module")
def samples(table, model):
    targets = np.arange(table.n_samples, dtype=np.float32)
    groups = np.arange(table.n_samples) // 4
    made = TrainingSamples(Pass(table, targets, None, groups), DATA, model.vocabulary)
    made.encode(model)
    return made


def test_a_draw_depends_on_its_seed_alone(samples):
    rows = np.array([0, 1])
    first, again, other = (samples.draw(rows, seed) for seed in ((0, 1, 2), (0, 1, 2), (0, 1, 3)))
    assert torch.equal(first.targets, again.targets)
    assert not torch.equal(first.targets, other.targets)


def test_no_sample_is_asked_about_its_own_group(samples):
    rows = np.array([5, 40, 17])
    drawn = samples.draw(rows, (0, 0, 0))
    of_candidates = drawn.targets.long().numpy()  # targets are rows here
    assert len(set(of_candidates)) == len(of_candidates) == round(candidates.SHARE * 48)
    asked = np.concatenate([rows, of_candidates[: drawn.n_asked]])
    np.testing.assert_array_equal(
        drawn.left_out.numpy(), asked[:, None] // 4 == of_candidates // 4
    )
    assert drawn.asked.weights is None
    np.testing.assert_array_equal(drawn.asked.true, drawn.targets[: drawn.n_asked])


def test_without_groups_a_sample_is_not_asked_about_itself(table, model):
    targets = np.arange(table.n_samples, dtype=np.float32)
    samples = TrainingSamples(Pass(table, targets), DATA, model.vocabulary)
    samples.encode(model)
    drawn = samples.draw(np.array([7]), (0, 0, 0))
    of_candidates = drawn.targets.long().numpy()
    expected = np.concatenate([[7], of_candidates])[:, None] == of_candidates
    np.testing.assert_array_equal(drawn.left_out.numpy(), expected)


def test_candidates_are_what_a_batch_of_them_is(table, model, samples):
    drawn = samples.draw(np.array([0]), (0, 0, 0))
    rows = drawn.targets.long().numpy()
    batch = collate(table, rows, table.counts[rows])
    with torch.no_grad():
        asvs = inference.encode_asvs(model, table)[batch.asvs]
        by_batch = model.places_of(
            Occurrences.of(batch, model.numbers_of(batch)), asvs,
            model.base_model(batch, asvs).embedding,
        )  # fmt: skip
        by_draw = model.places_of(drawn.occurrences, drawn.asvs, drawn.embeddings)
    torch.testing.assert_close(by_batch, by_draw, atol=1e-4, rtol=1e-4)


def test_others_are_all_training_samples_at_their_places(model, samples):
    drawn, others = samples.draw(np.array([0]), (0, 0, 0)), samples.others(model)
    assert others.targets.tolist() == list(range(48))
    with torch.no_grad():
        places = model.places_of(drawn.occurrences, drawn.asvs, drawn.embeddings)
    torch.testing.assert_close(others.places[:, drawn.targets.long()], places, atol=1e-5, rtol=0)


def test_others_are_a_bounded_number(model, samples, monkeypatch):
    monkeypatch.setattr(candidates, "MOST_OTHERS", 10)
    monkeypatch.setattr(candidates, "MOST", 4)
    assert samples.others(model).places.shape[1] == 10


def test_a_batch_is_compared_with_its_candidates(table, model, samples):
    rows = np.array([3, 8])
    drawn = samples.draw(rows, (0, 0, 0))
    batch = collate(table, rows, table.counts[rows])
    with torch.no_grad():
        output = model(batch, candidates=drawn, with_abundance=False)
        others = model.places_of(drawn.occurrences, drawn.asvs, drawn.embeddings)
    assert [len(said) for said in output.compared] == [2 + drawn.n_asked] * 4
    for said, places in zip(output.compared, others, strict=True):
        own = 2  # the first candidate that is asked, after the two of the batch
        apart = torch.linalg.norm(places - places[0], dim=1)
        apart[drawn.left_out[own]] = float("inf")
        expected = ((-apart).softmax(0) * drawn.targets).sum()
        torch.testing.assert_close(said[own, 0], expected, atol=1e-2, rtol=1e-3)
