"""What predictions are compared with, and how old the references' embeddings may be."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from q2_aam.core.comparison import DiversityComparison, PairComparison, StripeComparison
from q2_aam.core.config import ModelConfig, Settings
from q2_aam.core.dataset import collate
from q2_aam.core.model import Output, SequenceEncoder
from q2_aam.core.prepare import MAX_AGE, prepare_phylogeny, prepare_run, prepare_samples
from q2_aam.core.simulate import SimulationConfig, simulate
from q2_aam.core.table import sample_table
from q2_aam.core.training import DataModule

SMALL = ModelConfig(embedding_dim=8, attention_heads=2, attention_layers=1)


@pytest.fixture(scope="module")
def table(simulated):
    return sample_table(simulated.table, None, 150)


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return SequenceEncoder(SMALL).train()


def batch_of(table, rows, **labels):
    rows = np.asarray(rows)
    batch = collate(table, rows, table.counts[rows])
    return replace(batch, **{name: torch.as_tensor(v) for name, v in labels.items()})


def test_diversity_comparison_gives_each_samples_own(table, encoder):
    batch = batch_of(table, [0, 1], unifrac=[2.0, 3.0])
    output = Output(diversity=torch.tensor([1.0, 5.0]))
    predicted, true = DiversityComparison()(encoder, batch, output)
    assert (predicted.tolist(), true.tolist()) == ([1.0, 5.0], [2.0, 3.0])


def test_pair_comparison_takes_each_pair_once(table, encoder):
    true = torch.arange(16.0).view(4, 4)
    output = encoder(batch := batch_of(table, range(4), unifrac=true))
    predicted, compared = PairComparison()(encoder, batch, output)
    assert compared.tolist() == [1, 2, 3, 6, 7, 11]
    whole = encoder.distance(output.embedding, output.embedding)
    assert torch.equal(predicted[4], whole[1, 3])


def test_pair_comparison_of_one_sample_has_no_pairs(table, encoder):
    output = encoder(batch := batch_of(table, [0], unifrac=torch.zeros(1, 1)))
    predicted, true = PairComparison()(encoder, batch, output)
    assert predicted.numel() == true.numel() == 0


@pytest.fixture
def stripes(table, encoder):
    """Return a comparison with three references, the second of which is in the batch."""
    comparison = StripeComparison(3, 8)
    comparison.fill(torch.arange(24.0).view(3, 8))
    batch = batch_of(table, [7, 8], unifrac=torch.rand(2, 3), bank_slots=[-1, 1])
    return comparison, batch, encoder(batch)


def test_stripe_comparison_compares_with_references_as_they_are_now(stripes, encoder):
    comparison, batch, output = stripes
    bank = comparison.bank.clone()
    predicted, true = comparison(encoder, batch, output)
    bank[1] = output.embedding[1].detach()
    torch.testing.assert_close(predicted, encoder.distance(output.embedding, bank))
    assert true is batch.unifrac
    assert torch.equal(comparison.bank, bank)


def test_stripe_comparison_learns_from_both_sides(stripes, encoder):
    """The reference in the batch has a gradient of its own, and the bank keeps none."""
    comparison, batch, output = stripes
    output.embedding.retain_grad()
    comparison(encoder, batch, output)[0][0, 1].backward()
    assert output.embedding.grad[1].abs().sum() > 0
    assert not comparison.bank.requires_grad


def test_stripe_comparison_leaves_the_bank_alone_in_validation(stripes, encoder):
    comparison, batch, output = stripes
    bank = comparison.bank.clone()
    comparison(encoder.eval(), batch, output)
    assert torch.equal(comparison.bank, bank)


def test_stripe_comparison_bank_is_not_part_of_the_model():
    assert not StripeComparison(3, 8).state_dict()


class Clock(torch.nn.Module):
    """A model that answers every distance with the embeddings themselves."""

    @property
    def base_model(self):
        return self

    def distance(self, a, b):
        return b.squeeze(1)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Return 125 samples and the path of their tree."""
    data = simulate(SimulationConfig(n_samples=125, n_features=30, n_bp=20, depth=50, seed=0))
    path = tmp_path_factory.mktemp("many") / "tree.nwk"
    path.write_text(data.newick)
    return sample_table(data.table, None, 150), str(path)


@pytest.mark.parametrize("n_references", [1, 7, 49, 51, 120])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_no_target_is_compared_with_an_older_embedding_than_is_said(
    many, n_references, batch_size
):
    """Embeddings are the step at which they were computed, so the bank tells their ages."""
    options = {"rarefy_depth": 0, "test_size": 0.0, "batch_size": batch_size}
    settings = Settings.from_options({**options, "reference_samples": n_references})
    samples = prepare_samples(many[0], settings)
    phylogenetic = prepare_phylogeny(many[1], samples, settings)
    run = prepare_run(samples, settings, phylogenetic=phylogenetic, masked=False)
    module, clock = DataModule(run, settings.training), Clock().train()
    comparison, step, ages = StripeComparison(n_references, 1), 0, []
    for epoch in range(4):
        for batch in module.batches(epoch):
            now = torch.full((len(batch), 1), float(step))
            compared, _ = comparison(clock, batch, Output(embedding=now))
            ages.append(step - int(compared.min()))
            step += 1
    assert step > 2 * MAX_AGE
    assert max(ages) < MAX_AGE
