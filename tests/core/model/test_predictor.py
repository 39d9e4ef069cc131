"""The model against an obvious, slow one, and its invariances.

The slow one encodes every ASV of every sample by itself and pads to the token limit.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from q2_aam.core.data.mini_batches import BatchDataset, collate, plan_batches
from q2_aam.core.data.sample_table import sample_table
from q2_aam.core.data.target import CategoricalTarget, NumericTarget
from q2_aam.core.model.predictor import build, save_memory
from q2_aam.core.model.sample_encoder import SequenceEncoder
from q2_aam.core.model.specification import CLASSIFIER, ENCODER, REGRESSOR, ModelSpec, Reads
from q2_aam.core.model.tensor_shapes import tensor_shapes
from q2_aam.core.options.config import (
    ClassificationConfig,
    DataConfig,
    ModelConfig,
    RegressionConfig,
    TrainConfig,
    UniFracConfig,
)
from q2_aam.core.training.objective.losses import masked_bases, nucleotide_loss

SMALL = ModelConfig(embedding_dim=16, attention_heads=2, attention_layers=2, max_bp=60)


def spec_of(kind, fine_tuning, target, config=SMALL, n_vectors=0):
    parts = (
        config,
        DataConfig(rarefy_depth=0),
        UniFracConfig(),
        TrainConfig(),
        Reads(1, 1, 40, 40),
    )
    return ModelSpec(kind, *parts, fine_tuning, target, n_vectors=n_vectors)


@pytest.fixture(scope="module")
def table(simulated):
    return sample_table(simulated.table, None, 60)


@pytest.fixture
def predictor():
    torch.manual_seed(0)
    alone = ClassificationConfig(stored_samples=0, asv_dropout=0.0)
    model = build(spec_of(CLASSIFIER, alone, CategoricalTarget("site", ("a", "b", "c")))).eval()
    # What starts from zero would hide whatever is before it.
    torch.nn.init.normal_(model.readout.weight)
    torch.nn.init.normal_(model.comparison.sample_gate)
    return model


def batch_of(table, rows):
    rows = np.asarray(rows)
    return collate(table, rows, table.counts[rows])


def slow_batch(table, rows, token_limit=64):
    """Lay out a batch without any sharing: every occurrence is encoded, padding to the limit."""
    tokens, index, counts = [], [], []
    for row in rows:
        features, reads = table.counts[row].indices, table.counts[row].data
        first = len(tokens)
        tokens += [table.tokens[f] for f in features]
        empty = [0] * (token_limit - len(features))
        index.append([*range(first, first + len(features)), *empty])
        counts.append([*reads, *empty])
    return replace(
        batch_of(table, rows),
        asvs=torch.arange(len(tokens)),
        tokens=torch.from_numpy(np.stack(tokens)),
        asv_index=torch.tensor(index),
        counts=torch.tensor(counts, dtype=torch.float32),
    )


def test_predictor_equals_the_slow_way(table, predictor):
    rows = [3, 8, 1, 20]
    fast, slow = predictor(batch_of(table, rows)), predictor(slow_batch(table, rows))
    torch.testing.assert_close(fast.target, slow.target, atol=1e-5, rtol=0)
    torch.testing.assert_close(fast.embedding, slow.embedding, atol=1e-5, rtol=0)
    width = fast.abundance.shape[1]
    torch.testing.assert_close(fast.abundance, slow.abundance[:, :width], atol=1e-5, rtol=0)


def test_predictor_gradients_equal_the_slow_way(table, predictor):
    gradients = []
    for batch in (batch_of(table, [3, 8, 1]), slow_batch(table, [3, 8, 1])):
        predictor.zero_grad()
        predictor(batch).target.square().sum().backward()
        gradients.append([p.grad.clone() for p in predictor.parameters() if p.grad is not None])
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)


def test_prediction_does_not_depend_on_batch_mates(table, predictor):
    together, alone = predictor(batch_of(table, [3, 8, 1])), predictor(batch_of(table, [8]))
    torch.testing.assert_close(together.target[1:2], alone.target, atol=1e-5, rtol=0)


def test_prediction_does_not_depend_on_feature_order(simulated, predictor):
    ids = list(simulated.table.ids("observation"))
    shuffled = simulated.table.sort_order(ids[::-1], axis="observation")
    a, b = (sample_table(t, None, 60) for t in (simulated.table, shuffled))
    assert torch.equal(predictor(batch_of(a, [0])).target, predictor(batch_of(b, [0])).target)


def test_embedding_of_a_set_does_not_depend_on_its_order(table, predictor):
    batch = batch_of(table, [3])
    order = torch.randperm(batch.counts.shape[1], generator=torch.Generator().manual_seed(0))
    turned = replace(batch, asv_index=batch.asv_index[:, order], counts=batch.counts[:, order])
    torch.testing.assert_close(
        predictor(batch).embedding, predictor(turned).embedding, atol=1e-5, rtol=0
    )


def test_asv_encoder_does_not_depend_on_padding(predictor):
    encoder = predictor.base_model.asv_encoder
    short = torch.tensor([[1, 2, 3, 4, 1]])
    padded = torch.tensor([[1, 2, 3, 4, 1, 0, 0, 0]])
    torch.testing.assert_close(encoder(short), encoder(padded), atol=1e-6, rtol=0)


def test_asv_encoder_tells_sequences_apart(table, predictor):
    embedded = predictor.base_model.asv_encoder(torch.from_numpy(table.tokens))
    distances = torch.cdist(embedded, embedded) + 10 * torch.eye(len(embedded))
    assert distances.min() > 1e-3


@pytest.mark.parametrize(
    "options",
    [
        {"asv_chunk_size": 5},
        {"gradient_checkpointing": True},
        {"asv_chunk_size": 5, "gradient_checkpointing": True},
    ],
)
def test_save_memory_changes_no_gradient(table, predictor, options):
    gradients = []
    for config in (TrainConfig(), TrainConfig(**options)):
        save_memory(predictor, config)
        predictor.zero_grad()
        predictor.train()
        predictor.requires_grad_(True)
        predictor.comparison.dropout = 0.0
        for part in predictor.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
        predictor(batch_of(table, [3, 8, 1])).target.square().sum().backward()
        gradients.append([p.grad.clone() for p in predictor.parameters() if p.grad is not None])
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-4)


def test_asv_chunk_size_restores_the_same_nucleotides(table, predictor):
    tokens = torch.from_numpy(table.tokens[:7])
    masked_at = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(3)) < 0.3
    encoder, found = predictor.base_model.asv_encoder, []
    for size in (None, 2):
        encoder.chunk_size = size
        encoder.zero_grad()
        logits = encoder.restore_masked(tokens, masked_at)
        logits.square().sum().backward()
        found.append([logits.detach(), encoder.restore.weight.grad, encoder.position.grad])
    encoder.chunk_size = None
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-4)


def test_gradients_of_accumulated_batches_are_those_of_one(table, predictor):
    def gradient(parts):
        predictor.zero_grad()
        for rows in parts:
            (predictor(batch_of(table, rows)).target.square().mean() / len(parts)).backward()
        return [p.grad.clone() for p in predictor.parameters() if p.grad is not None]

    whole, halves = gradient([[0, 1, 2, 3]]), gradient([[0, 1], [2, 3]])
    torch.testing.assert_close(whole, halves, atol=1e-6, rtol=1e-4)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), scale=st.floats(0.1, 30))
def test_distance_is_zero_at_zero_symmetric_and_below_one(seed, scale):
    a = scale * torch.randn(4, 16, generator=torch.Generator().manual_seed(seed))
    distance = SequenceEncoder(SMALL).distance(a, a).detach()
    assert (distance.diagonal() == 0).all()
    torch.testing.assert_close(distance, distance.T)
    assert (distance <= 1).all()
    assert (distance >= 0).all()


def test_distance_grows_with_euclidean_distance():
    points = torch.linspace(0, 3, 10)[:, None] * torch.ones(16)
    distance = SequenceEncoder(SMALL).distance(points[:1], points).detach()[0]
    assert (distance.diff() > 0).all()


def test_distance_has_a_finite_gradient_at_zero():
    point = torch.zeros(2, 16, requires_grad=True)
    SequenceEncoder(SMALL).distance(point, point).sum().backward()
    assert point.grad.isfinite().all()


def test_set_typical_distance_makes_the_mean_so(table):
    torch.manual_seed(0)
    encoder = SequenceEncoder(SMALL).eval()
    with torch.no_grad():
        embedding = encoder(batch_of(table, range(10))).embedding
        encoder.set_typical_distance(embedding, 0.4)
        distance = encoder.distance(embedding, embedding)
    mean = distance[tuple(torch.triu_indices(10, 10, offset=1))].mean()
    assert abs(mean - 0.4) < 0.05


def test_restored_nucleotides_are_those_under_the_mask(table, predictor):
    plan = plan_batches(table.richness, 4)
    batch = BatchDataset(table, plan, DataConfig(), masked=True)[0]
    output = predictor(batch)
    assert output.nucleotides.shape == (int(batch.masked_at.sum()), 4)
    assert nucleotide_loss(output.nucleotides, masked_bases(batch)).isfinite()
    # What lies under the mask must not be seen.
    changed = batch.tokens.clone()
    rows = batch.masked_of
    changed[rows] = torch.where(batch.masked_at, (changed[rows] % 4) + 1, changed[rows])
    blind = predictor.base_model.asv_encoder
    before = blind.restore_masked(batch.tokens[rows], batch.masked_at)
    assert torch.equal(before, blind.restore_masked(changed[rows], batch.masked_at))


@pytest.mark.parametrize(
    ("kind", "fine_tuning", "target"),
    [
        (ENCODER, None, None),
        (REGRESSOR, RegressionConfig(), NumericTarget("age")),
        (REGRESSOR, RegressionConfig(loss_type="quantile"), NumericTarget("age")),
        (CLASSIFIER, ClassificationConfig(), CategoricalTarget("site", ("a", "b", "c"))),
        (CLASSIFIER, ClassificationConfig(ensemble=3), CategoricalTarget("site", ("a", "b"))),
        (
            CLASSIFIER,
            ClassificationConfig(stored_samples=0),
            CategoricalTarget("site", ("a", "b")),
        ),
    ],
)
@pytest.mark.parametrize("config", [SMALL, ModelConfig(embedding_dim=24, attention_layers=1)])
def test_tensor_shapes_are_those_of_the_model(config, kind, fine_tuning, target):
    spec = spec_of(kind, fine_tuning, target, config, n_vectors=0 if target is None else 5)
    state = {name: tuple(value.shape) for name, value in build(spec).state_dict().items()}
    assert state == {name: info.shape for name, info in tensor_shapes(spec).items()}
