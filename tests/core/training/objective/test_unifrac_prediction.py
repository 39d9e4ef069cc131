"""What predictions are compared with, and when."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from run_inputs import inputs_of

from q2_aam.core.data.mini_batches import collate
from q2_aam.core.data.sample_table import sample_table
from q2_aam.core.data.simulate import SimulationConfig, simulate
from q2_aam.core.model.output import Output
from q2_aam.core.model.sample_encoder import SequenceEncoder
from q2_aam.core.options.config import ModelConfig
from q2_aam.core.training.loop.lightning_module import DataModule
from q2_aam.core.training.objective.unifrac_prediction import (
    DiversityComparison,
    PairComparison,
    StripeComparison,
)
from q2_aam.core.training.preparation.phylogenetic_targets import JOINING_REFERENCES
from q2_aam.core.training.preparation.prepared_run import prepare

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
    batch = batch_of(table, [7, 8], unifrac=torch.rand(2, 3), reference=[-1, 1])
    return comparison, batch, encoder(batch)


def test_stripe_comparison_trains_on_the_references_in_the_batch(stripes, encoder):
    comparison, batch, output = stripes
    predicted, true = comparison(encoder, batch, output)
    live = output.embedding[1:]
    torch.testing.assert_close(predicted, encoder.distance(output.embedding, live))
    assert torch.equal(true, batch.unifrac[:, 1:2])


def test_stripe_comparison_learns_from_both_sides(stripes, encoder):
    comparison, batch, output = stripes
    output.embedding.retain_grad()
    comparison(encoder, batch, output)[0][0, 0].backward()
    assert (output.embedding.grad.abs().sum(dim=1) > 0).all()
    torch.testing.assert_close(output.embedding.grad.sum(dim=0), torch.zeros(8))


def test_stripe_comparison_validates_against_all_references(stripes, encoder):
    comparison, batch, output = stripes
    predicted, true = comparison(encoder.eval(), batch, output)
    expected = encoder.distance(output.embedding, torch.arange(24.0).view(3, 8))
    torch.testing.assert_close(predicted, expected)
    assert true is batch.unifrac


def test_stripe_comparison_bank_is_not_part_of_the_model():
    assert not StripeComparison(3, 8).state_dict()


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Return 125 samples and the path of their tree."""
    data = simulate(SimulationConfig(n_samples=125, n_features=30, n_bp=20, depth=50, seed=0))
    path = tmp_path_factory.mktemp("many") / "tree.nwk"
    path.write_text(data.newick)
    return sample_table(data.table, None, 150), str(path)


@pytest.mark.parametrize("n_references", [1, 7, 49, 120])
@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_every_batch_has_references_and_every_reference_its_turn(many, n_references, batch_size):
    options = {"rarefy_depth": 0, "test_size": 0.0, "batch_size": batch_size}
    options |= {"reference_samples": n_references, "nuc_penalty": 0.0}
    inputs = inputs_of(many[0], phylogeny=many[1], **options)
    module, epochs = DataModule(prepare(inputs).data, inputs.settings.training), 30
    times = np.full(n_references, -epochs)  # once an epoch each is there as any sample is
    for epoch in range(epochs):
        for batch in module.batches(epoch):
            present = batch.reference[batch.reference >= 0].numpy()
            assert len(present) >= min(n_references, JOINING_REFERENCES, len(batch) // 2)
            times[present] += 1
    assert times.min() > 0
    assert times.max() < 3 * times.mean()
