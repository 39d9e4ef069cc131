"""What the phylogeny asks of a run: targets, reference samples, features that it lacks."""

import logging

import numpy as np
import pytest
from run_inputs import inputs_of

from q2_aam.core.data.sample_table import sample_table
from q2_aam.core.options.config import Settings
from q2_aam.core.phylogeny.branches import BranchTable
from q2_aam.core.phylogeny.unifrac import UniFracTargets
from q2_aam.core.training.objective.unifrac_prediction import (
    DiversityComparison,
    PairComparison,
    StripeComparison,
)
from q2_aam.core.training.preparation.phylogenetic_targets import (
    drop_missing_features,
    prepare_phylogeny,
)
from q2_aam.core.training.preparation.samples import prepare_samples

DROP = Settings.from_options({"missing_features": "drop"})


@pytest.fixture(scope="module")
def table(simulated):
    return sample_table(simulated.table, None, 150)


@pytest.fixture(scope="module")
def tree(tree_path):
    return str(tree_path)


def test_drop_missing_features_only_if_asked_to(table, tree):
    assert drop_missing_features(table, tree, Settings()) is table
    assert drop_missing_features(table, None, DROP) is table


def test_drop_missing_features_names_one(simulated, tree, caplog):
    ids = simulated.table.ids("observation")
    other = simulated.table.update_ids({ids[4]: "ACGT" * 10}, "observation", False, inplace=False)
    table = sample_table(other, None, 150)
    kept = drop_missing_features(table, tree, DROP)
    assert set(table.feature_ids) - set(kept.feature_ids) == {"ACGT" * 10}
    assert f"1 of {len(table.feature_ids)} features are not tips" in caplog.text
    assert "such as 'ACGTACGT" in caplog.text


def test_drop_missing_features_refuses_the_tree_of_another_table(table, tmp_path):
    path = tmp_path / "other.nwk"
    path.write_text("((x:1,y:1):1,z:1);")
    with pytest.raises(ValueError, match=r"None of the table's \d+ features.* phylogeny of this"):
        drop_missing_features(table, str(path), DROP)


@pytest.fixture(scope="module")
def phylogenetic(table, tree):
    def make(reference_ids=None, **options):
        inputs = inputs_of(table, phylogeny=tree, reference_ids=reference_ids, **options)
        samples = prepare_samples(inputs)
        return samples, prepare_phylogeny(inputs, samples)

    return make


def test_prepare_phylogeny_draws_references_among_training_samples(phylogenetic):
    samples, made = phylogenetic(reference_samples=12)
    assert len(set(made.references.rows)) == 12
    named = made.references.table.sample_ids
    assert named == tuple(samples.fixed.sample_ids[i] for i in made.references.rows)
    _, other = phylogenetic(reference_samples=12, random_seed=1)
    assert named != other.references.table.sample_ids


def test_prepare_phylogeny_takes_all_training_samples_if_there_are_no_more(phylogenetic):
    samples, made = phylogenetic(reference_samples=100)
    assert made.references.table.sample_ids == samples.fixed.sample_ids


def test_prepare_phylogeny_takes_named_references(phylogenetic):
    samples, _ = phylogenetic()
    names = list(samples.fixed.sample_ids[5:9])
    _, made = phylogenetic([*reversed(names), names[0]])
    assert list(made.references.table.sample_ids) == names


def test_prepare_phylogeny_refuses_held_out_references(phylogenetic):
    samples, _ = phylogenetic()
    name = samples.held.sample_ids[0]
    with pytest.raises(ValueError, match=rf"1 of 2 reference samples .*: {name}; .*test_size"):
        phylogenetic([name, samples.fixed.sample_ids[0]])


MODES = [
    ({}, StripeComparison),
    ({"stripe_mode": False}, PairComparison),
    ({"unifrac_metric": "weighted_normalized"}, StripeComparison),
    ({"unifrac_metric": "weighted_normalized", "stripe_mode": False}, PairComparison),
    ({"unifrac_metric": "faith_pd"}, DiversityComparison),
]


@pytest.mark.parametrize(("mode", "comparison"), MODES, ids=lambda m: str(m)[:40])
def test_prepare_phylogeny_computes_the_same_targets_at_once_or_lazily(
    phylogenetic, mode, comparison
):
    samples, lazy = phylogenetic(**mode)
    _, stored = phylogenetic(lazy_unifrac=False, **mode)
    for made in (lazy, stored):
        assert isinstance(made.comparison, comparison)
    rows = np.array([3, 0, 7])
    parts = [("training", samples.fixed), ("validation", samples.held)]
    for name, part in parts:
        a, b = (getattr(made, name)(rows, part.counts[rows]) for made in (lazy, stored))
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_prepare_phylogeny_says_what_memory_targets_take(phylogenetic, caplog):
    caplog.set_level(logging.INFO)
    phylogenetic(lazy_unifrac=False, stripe_mode=False)
    assert "targets of 38 samples take 0.0 MiB" in caplog.text
    assert "targets of 10 samples take 0.0 MiB" in caplog.text


def test_prepare_phylogeny_knows_unweighted_as_unifrac(phylogenetic):
    samples, made = phylogenetic(unifrac_metric="unifrac")
    _, same = phylogenetic(unifrac_metric="unweighted")
    rows = np.arange(5)
    a, b = (m.training(rows, samples.fixed.counts[rows]) for m in (made, same))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("prune", [True, False])
def test_prepare_phylogeny_moments_are_those_of_the_targets(table, tree, prune):
    inputs = inputs_of(table, phylogeny=tree, stripe_mode=False, prune_tree=prune)
    samples = prepare_samples(inputs)
    made = prepare_phylogeny(inputs, samples)
    branches = BranchTable.from_newick(tree, samples.fixed.feature_ids)
    whole = UniFracTargets(branches, "unweighted")(samples.fixed.counts)
    pairs = whole[np.triu_indices(38, 1)]
    assert made.mean == pytest.approx(pairs.mean(), rel=1e-5)
    assert made.variance == pytest.approx(pairs.var(), rel=1e-4)


def test_prepare_phylogeny_prunes_if_asked_to(table, tree, monkeypatch):
    asked = []
    original = BranchTable.from_newick

    def watched(*arguments, prune):
        asked.append(prune)
        return original(*arguments, prune=prune)

    monkeypatch.setattr(BranchTable, "from_newick", watched)
    for prune in (True, False):
        inputs = inputs_of(table, phylogeny=tree, prune_tree=prune)
        prepare_phylogeny(inputs, prepare_samples(inputs))
    assert asked == [True, False]
