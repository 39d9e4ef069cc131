"""What a run trains on: which samples, which draws, which phylogenetic targets."""

import logging

import numpy as np
import pandas as pd
import pytest

from q2_aam.core.data.sample_table import sample_table
from q2_aam.core.options.config import RegressionConfig, Settings
from q2_aam.core.phylogeny.branches import BranchTable
from q2_aam.core.phylogeny.unifrac import UniFracTargets
from q2_aam.core.training.objective.unifrac_prediction import (
    DiversityComparison,
    PairComparison,
    StripeComparison,
)
from q2_aam.core.training.preparation.prepared_run import (
    drop_missing_features,
    prepare_phylogeny,
    prepare_run,
    prepare_samples,
)


@pytest.fixture(scope="module")
def table(simulated):
    return sample_table(simulated.table, None, 150)


@pytest.fixture(scope="module")
def tree(tree_path):
    return str(tree_path)


def settings_of(fine_tuning=None, **options):
    return Settings.from_options({"rarefy_depth": 100, **options}, fine_tuning)


def test_prepare_samples_holds_a_share_out(table):
    samples = prepare_samples(table, settings_of(test_size=0.25))
    train, held = samples.fixed.sample_ids, samples.held.sample_ids
    assert len(held) == 12
    assert sorted(train + held) == sorted(table.sample_ids)


def test_prepare_samples_holds_others_out_for_another_seed(table):
    held = [prepare_samples(table, settings_of(random_seed=s)).held.sample_ids for s in (0, 0, 1)]
    assert held[0] == held[1] != held[2]


def test_prepare_samples_without_test_size_holds_none_out(table):
    samples = prepare_samples(table, settings_of(test_size=0.0))
    assert samples.held is None
    assert samples.fixed.n_samples == table.n_samples


def test_prepare_samples_rarefies_training_and_validation(table):
    samples = prepare_samples(table, settings_of())
    assert set(samples.fixed.depths) | set(samples.held.depths) == {100}


def test_prepare_samples_depth_zero_keeps_all_reads(table):
    samples = prepare_samples(table, settings_of(rarefy_depth=0))
    depth_of = dict(zip(table.sample_ids, table.depths, strict=True))
    assert samples.fixed.depths.tolist() == [depth_of[n] for n in samples.fixed.sample_ids]


def test_prepare_samples_leaves_shallow_samples_out_and_names_them(simulated, caplog):
    def thin(values, name, _):
        return values // 10 if name in {"sample03", "sample40"} else values

    thinned = sample_table(simulated.table.transform(thin, inplace=False), None, 150)
    samples = prepare_samples(thinned, settings_of())
    used = samples.fixed.sample_ids + samples.held.sample_ids
    assert set(thinned.sample_ids) - set(used) == {"sample03", "sample40"}
    assert "2 of 48 samples have fewer than 100 reads and are left out" in caplog.text
    assert "sample03, sample40" in caplog.text


def test_prepare_samples_divides_classes_in_proportion(table):
    classes = pd.Series(["a"] * 30 + ["b"] * 10 + ["c"] * 8, index=table.sample_ids)
    samples = prepare_samples(table, settings_of(test_size=0.5), classes)
    held = classes[list(samples.held.sample_ids)].value_counts()
    assert held.to_dict() == {"a": 15, "b": 5, "c": 4}


def test_prepare_samples_refuses_two_samples(table):
    with pytest.raises(ValueError, match=r"Only 2 of 2 samples .* give more samples"):
        prepare_samples(table.take([0, 1]), settings_of())


def test_prepare_samples_refuses_classes_of_one_sample_each(table):
    classes = pd.Series(table.sample_ids, index=table.sample_ids)
    with pytest.raises(ValueError, match="classes of the metadata column has one sample"):
        prepare_samples(table, settings_of(), classes)


def test_prepare_samples_refuses_r2_of_one_sample(table):
    settings = settings_of(RegressionConfig, best_metric="r2", test_size=0.05)
    with pytest.raises(ValueError, match=r"test_size 0.05 of 20 samples makes 1: raise test_size"):
        prepare_samples(table.take(range(20)), settings)


def test_reads_are_those_of_the_training_samples(table):
    samples = prepare_samples(table, settings_of())
    reads = samples.reads
    seen = (samples.fixed.counts.sum(axis=0) > 0).sum()
    assert (reads.n_samples, reads.n_features) == (38, seen)
    assert (reads.shortest, reads.longest) == (40, 40)


def run_of(table, **options):
    settings = settings_of(**options)
    return prepare_run(prepare_samples(table, settings), settings, masked=True)


def test_prepare_run_draws_anew_each_epoch_if_asked_to(table):
    run = run_of(table, rarefy_each_epoch=True)
    draws = [run.training(epoch).table for epoch in (0, 1, 2)]
    for draw in draws:
        assert set(draw.depths) == {100}
        assert draw.sample_ids == draws[0].sample_ids
        assert draw.feature_ids == draws[0].feature_ids
    for a, b in ((0, 1), (1, 2), (0, 2)):
        assert (draws[a].counts != draws[b].counts).nnz
    again = run_of(table, rarefy_each_epoch=True).training(2).table
    assert not (again.counts != draws[2].counts).nnz


def test_prepare_run_draws_once_otherwise(table):
    run = run_of(table)
    assert run.training(0).table is run.training(7).table


def test_prepare_run_validates_on_the_same_draw_either_way(table):
    fixed, anew = run_of(table), run_of(table, rarefy_each_epoch=True)
    assert fixed.validation.table.sample_ids == anew.validation.table.sample_ids
    assert (fixed.validation.table.depths == anew.validation.table.depths).all()


def test_prepare_run_gives_numbers_in_single_precision_and_classes_as_they_are(table):
    settings = settings_of()
    samples = prepare_samples(table, settings)
    targets = np.linspace(0, 1, 38), np.arange(10)
    run = prepare_run(samples, settings, targets=targets, masked=True)
    assert run.training(0).targets.dtype == np.float32
    assert run.validation.targets.dtype.kind == "i"


def test_drop_missing_features_only_if_asked_to(table, tree):
    assert drop_missing_features(table, tree, settings_of()) is table
    assert drop_missing_features(table, None, settings_of(missing_features="drop")) is table


def test_drop_missing_features_names_one(simulated, tree, caplog):
    ids = simulated.table.ids("observation")
    other = simulated.table.update_ids({ids[4]: "ACGT" * 10}, "observation", False, inplace=False)
    table = sample_table(other, None, 150)
    kept = drop_missing_features(table, tree, settings_of(missing_features="drop"))
    assert set(table.feature_ids) - set(kept.feature_ids) == {"ACGT" * 10}
    assert f"1 of {len(table.feature_ids)} features are not tips" in caplog.text
    assert "such as 'ACGTACGT" in caplog.text


def test_drop_missing_features_refuses_the_tree_of_another_table(table, tmp_path):
    path = tmp_path / "other.nwk"
    path.write_text("((x:1,y:1):1,z:1);")
    with pytest.raises(ValueError, match=r"None of the table's \d+ features.* phylogeny of this"):
        drop_missing_features(table, str(path), settings_of(missing_features="drop"))


@pytest.fixture(scope="module")
def phylogenetic(table, tree):
    def make(reference_ids=None, **options):
        settings = settings_of(**options)
        samples = prepare_samples(table, settings)
        return samples, prepare_phylogeny(tree, samples, settings, reference_ids)

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
    settings = settings_of(stripe_mode=False, prune_tree=prune)
    samples = prepare_samples(table, settings)
    made = prepare_phylogeny(tree, samples, settings)
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
        settings = settings_of(prune_tree=prune)
        prepare_phylogeny(tree, prepare_samples(table, settings), settings)
    assert asked == [True, False]
