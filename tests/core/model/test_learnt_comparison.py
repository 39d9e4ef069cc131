"""The learnt comparison against an obvious, slow one."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from q2_aam.core.data.mini_batches import collate
from q2_aam.core.data.sample_table import most_prevalent, sample_table
from q2_aam.core.model.learnt_comparison import (
    LearntComparison,
    Occurrences,
    distances,
    mean_of_targets,
)
from q2_aam.core.options.config import ModelConfig

CONFIG = ModelConfig(embedding_dim=16, attention_heads=2, attention_layers=1, max_bp=40)


@pytest.fixture(scope="module")
def table(simulated):
    return sample_table(simulated.table, None, 40)


@pytest.fixture
def comparison(table):
    torch.manual_seed(3)
    made = LearntComparison(CONFIG, 20, 2, 0.5).eval()
    torch.nn.init.normal_(made.sample_gate)
    torch.nn.init.normal_(made.sequence.bias)
    made.scale.fit(torch.randn(30, 48))
    return made


def parts(table, rows):
    """Return a batch, the numbers of vectors and the embeddings of its ASVs and samples."""
    rows = np.asarray(rows)
    batch = collate(table, rows, table.counts[rows])
    numbers = torch.where(batch.asvs < 20, batch.asvs, -1)
    generator = torch.Generator().manual_seed(0)
    asvs = torch.randn(len(table.feature_ids), 16, generator=generator)
    samples = torch.randn(table.n_samples, 16, generator=generator)
    return batch, numbers, asvs[batch.asvs], samples[torch.from_numpy(rows)]


def slow_places(comparison, table, rows):
    """Place samples one by one and network by network, from the formula."""
    batch, numbers, asvs, samples = parts(table, rows)
    found = torch.zeros(2, len(rows), 8)
    for m in range(2):

        def linear(layer, x, m=m):
            return x @ layer.weight[m] + layer.bias[m, 0]

        for i in range(len(rows)):
            own, by_sequence = torch.zeros(24), torch.zeros(16)
            for place, reads in enumerate(batch.counts[i]):
                if reads == 0:
                    continue
                root, asv = (reads / batch.counts[i].sum()).sqrt(), batch.asv_index[i, place]
                by_sequence += root * asvs[asv]
                if numbers[asv] >= 0:
                    own += root * comparison.vectors[numbers[asv], 24 * m : 24 * (m + 1)]
            x = linear(comparison.sequence, by_sequence) + own
            scale = comparison.scale
            span = slice(24 * m, 24 * (m + 1))
            x = (x - scale.mean[span]) / scale.deviation[span]
            x = x + comparison.sample_gate[m, 0] * linear(comparison.sample, samples[i])
            x = x + linear(comparison.contract, F.gelu(linear(comparison.expand, x)))
            x = F.layer_norm(x, (24,)) * comparison.norm_weight[m, 0]
            found[m, i] = linear(comparison.place, x)
    return found


def test_places_equal_the_slow_way(table, comparison):
    rows = [4, 9, 1]
    batch, numbers, asvs, samples = parts(table, rows)
    with torch.no_grad():
        fast = comparison(Occurrences.of(batch, numbers), asvs, samples)
        torch.testing.assert_close(fast, slow_places(comparison, table, rows), atol=1e-5, rtol=0)


def test_given_vectors_stand_for_those_learnt(table, comparison):
    batch, numbers, asvs, samples = parts(table, [4, 9, 1])
    occurrences = Occurrences.of(batch, numbers)
    learnt = comparison(occurrences, asvs, samples)
    given_ = comparison(occurrences, asvs, samples, comparison.vectors_of(numbers))
    torch.testing.assert_close(learnt, given_, atol=1e-5, rtol=0)
    without = comparison(occurrences, asvs, samples, torch.zeros(len(asvs), 48))
    assert not torch.allclose(learnt, without)


def test_unknown_asvs_count_by_their_sequence(table, comparison):
    batch, numbers, asvs, samples = parts(table, [4, 9])
    unknown = Occurrences.of(batch, torch.full_like(numbers, -1))
    by_sequence = comparison(unknown, asvs, samples)
    assert not torch.allclose(by_sequence, comparison(unknown, asvs + 1, samples))
    empty = LearntComparison(CONFIG, 0, 2, 0.0).eval()
    assert empty(unknown, asvs, samples).isfinite().all()


def test_asvs_are_left_out_in_training_alone(table, comparison):
    batch, numbers, asvs, samples = parts(table, [4, 9])
    occurrences = Occurrences.of(batch, numbers)
    assert torch.equal(*(comparison(occurrences, asvs, samples) for _ in range(2)))
    torch.manual_seed(0)
    comparison.dropout = 0.0
    first, second = (comparison.train()(occurrences, asvs, samples) for _ in range(2))
    assert not torch.allclose(first, second)


def test_networks_learn_apart(table, comparison):
    batch, numbers, asvs, samples = parts(table, [4, 9, 1])
    places = comparison(Occurrences.of(batch, numbers), asvs, samples)
    places[0].square().sum().backward()
    for name, parameter in comparison.named_parameters():
        halves = parameter.grad.chunk(2, dim=1 if name == "vectors" else 0)
        assert halves[1].abs().max() == 0, name
        assert halves[0].abs().max() > 0, name


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6))
def test_mean_of_targets_is_the_softmax_of_distances(seed):
    generator = torch.Generator().manual_seed(seed)
    places, others = (torch.randn(2, n, 5, generator=generator) for n in (4, 7))
    targets = torch.randn(7, 3, generator=generator)
    left_out = torch.rand(4, 7, generator=generator) < 0.3
    left_out[:, 0] = False
    torch.testing.assert_close(
        distances(places, others), torch.cdist(places, others), atol=2e-3, rtol=1e-3
    )
    said = mean_of_targets(places, others, targets, left_out)
    for m in range(2):
        for i in range(4):
            kept = ~left_out[i]
            d = torch.linalg.norm(others[m, kept] - places[m, i], dim=1)
            expected = (-d).softmax(0) @ targets[kept]
            torch.testing.assert_close(said[m, i], expected, atol=2e-3, rtol=1e-3)


def test_mean_of_targets_has_a_gradient_where_places_are_the_same():
    places = torch.zeros(1, 2, 3, requires_grad=True)
    mean_of_targets(places, places, torch.tensor([[1.0], [2.0]])).sum().backward()
    assert places.grad.isfinite().all()


def test_most_prevalent_chooses_by_samples_and_takes_what_none_has_out(table):
    prevalence = np.bincount(table.counts.indices, minlength=len(table.feature_ids))
    chosen = most_prevalent(table.tokens, table.counts, 5)
    assert len(chosen) == 5
    numbers = [int(np.flatnonzero((table.tokens == row).all(axis=1))[0]) for row in chosen]
    assert min(prevalence[numbers]) >= np.sort(prevalence)[-5]
    everything = most_prevalent(table.tokens, table.counts, 10_000)
    assert len(everything) == (prevalence > 0).sum()
    twice = np.concatenate([table.tokens, table.tokens])
    assert len(most_prevalent(twice, table.counts, 10_000)) == len(everything)
