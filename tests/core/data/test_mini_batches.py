import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from q2_aam.core.data import nucleotides
from q2_aam.core.data.mini_batches import (
    BatchDataset,
    References,
    collate,
    limit_asvs,
    mask_nucleotides,
    part_of,
    plan_batches,
)
from q2_aam.core.data.sample_table import sample_table
from q2_aam.core.options.config import DataConfig


@pytest.fixture(scope="module")
def table(simulated):
    return sample_table(simulated.table, None, 150)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
@pytest.mark.parametrize("seed", [None, 0])
def test_plan_batches_keeps_every_sample_once(table, batch_size, seed):
    rng = None if seed is None else np.random.default_rng(seed)
    plan = plan_batches(table.richness, batch_size, rng)
    assert sorted(np.concatenate(plan)) == list(range(table.n_samples))
    assert sum(len(rows) < batch_size for rows in plan) <= 1


def test_collate_restores_the_counts(table):
    rows = np.array([5, 0, 9])
    batch = collate(table, rows, table.counts[rows])
    restored = np.zeros((3, len(table.feature_ids)))
    for i in range(3):
        present = batch.counts[i] > 0
        restored[i, batch.asvs[batch.asv_index[i, present]]] = batch.counts[i, present]
    assert np.array_equal(restored, table.counts[rows].toarray())
    assert len(set(batch.asvs.tolist())) == len(batch.asvs)


def test_collate_pads_to_the_batch_only(table):
    rows = np.argsort(table.richness)[:4]
    assert collate(table, rows, table.counts[rows]).counts.shape[1] == table.richness[rows].max()


def limited(table, data, rows=None, seed=(0,)):
    return limit_asvs(table, np.arange(table.n_samples) if rows is None else rows, data, seed)


@pytest.mark.parametrize("how", ["abundance", "first", "random"])
def test_limit_asvs_keeps_as_many(table, how):
    kept = limited(table, DataConfig(token_limit=4, asv_sampling=how))
    assert np.array_equal(np.diff(kept.indptr), np.minimum(table.richness, 4))
    changed = kept.toarray() != table.counts.toarray()
    assert not kept.toarray()[changed].any()


def test_limit_asvs_by_abundance_keeps_the_most_abundant(table):
    for before, after in zip(table.counts, limited(table, DataConfig(token_limit=4)), strict=True):
        left_out = np.setdiff1d(before.indices, after.indices)
        assert before[:, left_out].toarray().max(initial=0) <= after.data.min()


def test_limit_asvs_first_is_the_order_of_sequences(table):
    kept = limited(table, DataConfig(token_limit=4, asv_sampling="first"))
    assert np.array_equal(kept[0].indices, table.counts[0].indices[:4])


def test_limit_asvs_random_differs_between_epochs(table):
    data = DataConfig(token_limit=4, asv_sampling="random")
    draws = [limited(table, data, seed=(0, epoch)).indices for epoch in (0, 1)]
    assert not np.array_equal(*draws)


def test_limit_asvs_random_keeps_each_asv_as_often(table):
    data, row = DataConfig(token_limit=3, asv_sampling="random"), int(table.richness.argmax())
    draws = [limited(table, data, [row], seed=(i,)).indices for i in range(600)]
    shares = np.bincount(np.concatenate(draws))[table.counts[row].indices] / 600
    expected = 3 / table.richness[row]
    assert np.abs(shares - expected).max() < 4 * np.sqrt(expected * (1 - expected) / 600)


@pytest.mark.parametrize("how", ["abundance", "first", "random"])
def test_limit_asvs_of_a_sample_does_not_depend_on_its_batch(table, how):
    data = DataConfig(token_limit=4, asv_sampling=how)
    together, alone = limited(table, data, [9, 5, 20]), limited(table, data, [5])
    assert np.array_equal(together[1].toarray(), alone.toarray())


@pytest.mark.parametrize("strategy", ["random", "span"])
def test_mask_nucleotides_masks_the_share_asked_for(table, strategy):
    data = DataConfig(nuc_mask_ratio=0.25, nuc_mask_strategy=strategy)
    masked = mask_nucleotides(table.tokens, data, np.random.default_rng(0))
    assert set(masked["masked_at"].sum(dim=1).tolist()) == {10}


def test_mask_nucleotides_span_is_one_run(table):
    data = DataConfig(nuc_mask_ratio=0.25, nuc_mask_strategy="span")
    masked = mask_nucleotides(table.tokens, data, np.random.default_rng(0))["masked_at"].int()
    starts = torch.diff(masked, dim=1, prepend=torch.zeros(len(masked), 1, dtype=torch.int)) == 1
    assert starts.sum(dim=1).tolist() == [1] * len(masked)


def test_mask_nucleotides_leaves_padding_and_ambiguous_codes(table):
    tokens = np.tile(
        np.array([1, nucleotides.FIRST_AMBIGUOUS, 2, nucleotides.PAD], np.uint8), (8, 1)
    )
    data = DataConfig(nuc_mask_ratio=0.9)
    masked = mask_nucleotides(tokens, data, np.random.default_rng(0))["masked_at"]
    assert masked[:, [0, 2]].all()
    assert not masked[:, [1, 3]].any()


def test_mask_nucleotides_ratio_zero_masks_nothing(table):
    data = DataConfig(nuc_mask_ratio=0.0)
    assert not mask_nucleotides(table.tokens, data, np.random.default_rng(0))["masked_at"].any()


def test_references_join_all_in_turn(table):
    rows = np.array([2, 5, 11, 17, 30])
    references = References(rows, joining=2, table=table.take(rows))
    joined = [references.join(np.array([0, 1]), step)[2:] for step in range(3)]
    assert set(np.concatenate(joined)) == set(rows)


@given(
    n_references=st.integers(1, 9),
    joining=st.integers(1, 9),
    rows=st.sets(st.integers(0, 35), min_size=1, max_size=12),
    step=st.integers(0, 1000),
)
def test_references_join_no_sample_twice_and_never_outnumber(
    table, n_references, joining, rows, step
):
    chosen, rows = np.arange(0, 4 * n_references, 4), np.array(sorted(rows))
    references = References(chosen, joining=joining, table=table.take(chosen))
    joined = references.join(rows, step)
    assert joined[: len(rows)].tolist() == rows.tolist()
    assert len(set(joined)) == len(joined)
    assert set(joined[len(rows) :]) <= set(chosen)
    left = n_references - np.isin(rows, chosen).sum()
    assert len(joined) - len(rows) == min(joining, len(rows), left)


def test_references_that_join_have_no_target(table):
    """As samples of their own they have one, once an epoch."""
    chosen, targets = np.arange(10), np.arange(table.n_samples, dtype=np.float32)
    references = References(chosen, joining=4, table=table.take(chosen))
    plan = plan_batches(table.richness, 8)
    batches = BatchDataset(
        table, plan, DataConfig(), targets=targets, references=references, join=True
    )
    seen = []
    for i, rows in enumerate(plan):
        assert len(batches[i]) == len(rows) + 4
        assert torch.equal(batches[i].target, batches[i].rows[: len(rows)].float())
        seen.extend(batches[i].target.tolist())
    assert sorted(seen) == targets.tolist()


def test_batch_dataset_gives_the_same_batch_again(table):
    plan = plan_batches(table.richness, 8)
    dataset = BatchDataset(table, plan, DataConfig(), seed=(1, 2), masked=True)
    a, b = dataset[3], dataset[3]
    assert torch.equal(a.masked_at, b.masked_at)
    other = BatchDataset(table, plan, DataConfig(), seed=(1, 3), masked=True)[3]
    assert not torch.equal(a.masked_at, other.masked_at)


@given(st.data())
def test_part_of_shares_samples_and_copies_out(table, data):
    """Parts hold every sample and every masked copy once, with what belongs to each."""
    references = References(np.array([1, 7]), 2, table.take([1, 7]))
    batches = BatchDataset(
        table, [np.array([5, 0, 9, 1, 4])], DataConfig(), masked=True,
        targets=np.arange(table.n_samples, dtype=np.float32), references=references, join=True,
        unifrac=lambda rows, counts: np.outer(rows, [1, 7]),
    )  # fmt: skip
    batch = batches[0]
    where = data.draw(st.lists(st.integers(0, 2), min_size=len(batch), max_size=len(batch)))
    whose = torch.arange(len(batch.masked_of)) % 3
    parts = [
        part_of(batch, *(torch.nonzero(of == i)[:, 0] for of in (torch.tensor(where), whose)))
        for i in range(3)
    ]
    assert sum(len(part) for part in parts) == len(batch)
    assert sum(len(part.target) for part in parts) == len(batch.target) == 5
    for part in parts:
        assert part.tokens is batch.tokens
        own = part.rows[: len(part.target)]
        assert torch.equal(part.target, own.float())
        assert torch.equal(part.unifrac, part.rows[:, None] * torch.tensor([1.0, 7.0]))
        assert torch.equal(part.reference >= 0, torch.isin(part.rows, torch.tensor([1, 7])))
        for row, index, counts in zip(part.rows, part.asv_index, part.counts, strict=True):
            present = counts > 0
            asvs = part.asvs[index[present]].numpy()
            assert np.array_equal(table.counts[int(row), asvs].toarray()[0], counts[present])
    copies = torch.cat([part.masked_of for part in parts])
    assert torch.equal(copies.sort().values, batch.masked_of)
    assert sum(int(part.masked_at.sum()) for part in parts) == int(batch.masked_at.sum())
    assert part_of(batch, torch.tensor([0])).masked_of is None
