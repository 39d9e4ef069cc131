"""The parts of a batch are the batch: each sample, ASV, distance and mask once."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from run_inputs import inputs_of

from q2_aam.core.data.mini_batches import BatchDataset, plan_batches
from q2_aam.core.data.sample_table import sample_table
from q2_aam.core.training.preparation.prepared_run import prepare
from q2_aam.core.training.ranks import job
from q2_aam.core.training.ranks.division import PartsOfBatches


@pytest.fixture(scope="module")
def table(simulated):
    """Return the simulated samples as a run takes them."""
    return sample_table(simulated.table, None, 40)


def prepared(simulated, table, tree_path, kind="pretrain", **options):
    """Return a run on these samples, prepared."""
    values = {"pretrain": None, "site": simulated.metadata["site"][list(table.sample_ids)]}[kind]
    return prepare(inputs_of(table, values, str(tree_path), **options))


def batches(run, batch_size=7) -> BatchDataset:
    """Return the training batches of the first epoch."""
    part = run.data.training(0)
    plan = plan_batches(part.table.richness, batch_size, np.random.default_rng(1))
    return BatchDataset(
        part.table, plan, run.data.data, seed=(3, 0), masked=True, targets=part.targets,
        unifrac=part.unifrac, references=run.data.references, join=True,
    )  # fmt: skip


def samples(batch, n) -> list:
    """List what a batch says of each sample, whatever else is in it."""
    said = []
    for i in range(n):
        there = batch.counts[i] > 0
        asvs = batch.asvs[batch.asv_index[i, there]].tolist()
        said.append((int(batch.rows[i]), asvs, batch.counts[i, there].tolist()))
    return said


def masks(batch) -> list:
    """List the masked copies of a batch in which something is masked."""
    copies = zip(batch.asvs[batch.masked_of].tolist(), batch.masked_at, strict=True)
    return sorted((asv, at.nonzero().flatten().tolist()) for asv, at in copies if at.any())


@pytest.mark.parametrize("n_ranks", [2, 3, 9])
@pytest.mark.parametrize("stripe_mode", [True, False])
def test_parts_are_the_whole(simulated, table, tree_path, n_ranks, stripe_mode):
    run = prepared(simulated, table, tree_path, "site", stripe_mode=stripe_mode, batch_size=7)
    whole = batches(run)
    datasets = [PartsOfBatches(whole, rank, n_ranks) for rank in range(n_ranks)]
    for i, batch in enumerate(whole):
        parts = [dataset[i] for dataset in datasets]
        found = [sample for part in parts for sample in samples(part, part.n_mine)]
        assert sorted(found) == sorted(samples(batch, len(batch)))
        assert sorted(m for part in parts for m in masks(part)) == masks(batch)
        places = torch.cat([torch.nonzero(p.owner == r).squeeze(1) for r, p in enumerate(parts)])
        unifrac = torch.cat([part.unifrac[: part.n_mine] for part in parts])
        torch.testing.assert_close(unifrac, batch.unifrac[places])
        target = torch.cat([part.target for part in parts])
        assert torch.equal(target, batch.target[places[places < len(batch.target)]])
        for name in ("samples", "targets", "nucleotides"):
            assert sum(part.shares[name] for part in parts) == pytest.approx(1)


def test_a_part_has_nothing_that_it_does_not_need(simulated, table, tree_path):
    whole = batches(prepared(simulated, table, tree_path))
    for i in range(len(whole)):
        part = PartsOfBatches(whole, 1, 2)[i]
        assert torch.equal(part.asv_index[part.counts > 0].unique(), torch.arange(len(part.asvs)))
        assert (part.counts > 0).any(dim=0).all()
        assert len(part.masked_of) < len(whole[i].masked_of)


def test_more_ranks_than_samples_have_guests_that_count_for_nothing(simulated, table, tree_path):
    whole = batches(prepared(simulated, table, tree_path, stripe_mode=False), batch_size=2)
    part = PartsOfBatches(whole, 5, 6)[0]
    assert part.n_mine == 0
    assert len(part) == 1
    assert set(part.shares.values()) == {0.0}
    assert not part.masked_at.any()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("pretrain", {}),
        ("pretrain", {"lazy_unifrac": False}),
        ("pretrain", {"stripe_mode": False, "rarefy_each_epoch": True}),
        ("pretrain", {"unifrac_metric": "faith_pd", "test_size": 0.0}),
        ("site", {"class_weights": "balanced"}),
    ],
)
def test_a_job_is_read_as_it_was_written(simulated, table, tree_path, tmp_path, kind, options):
    run = prepared(simulated, table, tree_path, kind, **options)
    weights = {"scale": torch.tensor(2.0), "bias": torch.arange(3.0)}
    job.write(tmp_path, run, weights, {"hosts": 1})
    made = job.read(tmp_path)
    assert (made.spec, made.plan) == (run.spec, {"hosts": 1})
    assert made.settings == run.inputs.settings
    for name, value in job.start_weights(tmp_path).items():
        assert torch.equal(value, weights[name])
    for f in fields(run.objective):
        if f.name != "target_loss":
            assert getattr(made.objective, f.name) == getattr(run.objective, f.name)
    for epoch in (0, 1):
        mine, theirs = made.data.training(epoch), run.data.training(epoch)
        assert mine.table.sample_ids == theirs.table.sample_ids
        assert mine.table.feature_ids == theirs.table.feature_ids
        assert (mine.table.counts != theirs.table.counts).nnz == 0
        rows = np.arange(5)
        counts = mine.table.counts[rows]
        assert np.array_equal(mine.unifrac(rows, counts), theirs.unifrac(rows, counts))
    assert (made.data.validation is None) == (run.data.validation is None)
    if kind == "site":
        logits = torch.randn(len(run.spec.target.classes), len(run.spec.target.classes))
        true = torch.arange(len(logits))
        expected = run.objective.target_loss(logits, true)
        assert made.objective.target_loss(logits, true) == expected


def test_a_job_has_no_pickles(simulated, table, tree_path, tmp_path):
    job.write(tmp_path, prepared(simulated, table, tree_path), {}, {})
    with np.load(tmp_path / job.ARRAYS, allow_pickle=False) as file:
        assert not any(file[name].dtype.hasobject for name in file.files)
    assert {path.name for path in tmp_path.iterdir()} == {job.JOB, job.ARRAYS, job.START}
