"""Which samples a run trains on, and which it validates with."""

import logging
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from run_inputs import inputs_of

from q2_aam.core.data.sample_table import sample_table
from q2_aam.core.training.preparation.samples import prepare_samples


@pytest.fixture(scope="module")
def table(simulated):
    return sample_table(simulated.table, None, 150)


def test_prepare_samples_holds_a_share_out(table):
    samples = prepare_samples(inputs_of(table, test_size=0.25))
    train, held = samples.fixed.sample_ids, samples.held.sample_ids
    assert len(held) == 12
    assert sorted(train + held) == sorted(table.sample_ids)


def test_prepare_samples_holds_others_out_for_another_seed(table):
    held = [prepare_samples(inputs_of(table, random_seed=s)).held.sample_ids for s in (0, 0, 1)]
    assert held[0] == held[1] != held[2]


def test_prepare_samples_without_test_size_holds_none_out(table):
    samples = prepare_samples(inputs_of(table, test_size=0.0))
    assert samples.held is None
    assert samples.fixed.n_samples == table.n_samples


def test_prepare_samples_rarefies_training_and_validation(table):
    samples = prepare_samples(inputs_of(table))
    assert set(samples.fixed.depths) | set(samples.held.depths) == {100}


def test_prepare_samples_depth_zero_keeps_all_reads(table):
    samples = prepare_samples(inputs_of(table, rarefy_depth=0))
    depth_of = dict(zip(table.sample_ids, table.depths, strict=True))
    assert samples.fixed.depths.tolist() == [depth_of[n] for n in samples.fixed.sample_ids]


def test_prepare_samples_leaves_shallow_samples_out_and_names_them(simulated, caplog):
    def thin(values, name, _):
        return values // 10 if name in {"sample03", "sample40"} else values

    thinned = sample_table(simulated.table.transform(thin, inplace=False), None, 150)
    samples = prepare_samples(inputs_of(thinned))
    used = samples.fixed.sample_ids + samples.held.sample_ids
    assert set(thinned.sample_ids) - set(used) == {"sample03", "sample40"}
    assert "2 of 48 samples have fewer than 100 reads and are left out" in caplog.text
    assert "sample03, sample40" in caplog.text


def test_most_samples_are_left_out_only_if_asked_for(simulated, caplog):
    def thin(values, name, _):
        return values if name in names[:20] else values // 10

    names = list(simulated.table.ids())
    thinned = sample_table(simulated.table.transform(thin, inplace=False), None, 150)
    said = (
        r"Rarefaction to 100 reads would leave out 28 of 48 .* more than half, such as 'sample21'"
    )
    with pytest.raises(ValueError, match=said):
        prepare_samples(inputs_of(thinned))
    samples = prepare_samples(inputs_of(thinned, shallow_samples="ignore"))
    assert sorted(samples.sample_ids) == names[:20]
    assert "28 of 48 samples have fewer than 100 reads and are left out" in caplog.text


def test_prepare_samples_says_what_left_the_others_out(table):
    few = table.take([0, 1, 2, 3])
    depth = int(np.sort(few.depths)[2])
    said = (
        rf"Only 2 of 4 samples can be used.*: 2 have fewer than {depth} reads \(rarefy_depth\), "
    )
    with pytest.raises(ValueError, match=said + r"and --p-rarefy-depth \d+ would keep 4"):
        prepare_samples(inputs_of(few, rarefy_depth=depth))


def test_prepare_samples_warns_of_samples_that_are_read_in_part(table, caplog):
    richness = prepare_samples(inputs_of(table, test_size=0.0)).fixed.richness
    assert not caplog.messages
    limit = int(np.sort(richness)[-3])
    prepare_samples(inputs_of(table, token_limit=limit))
    n = int((richness > limit).sum())
    said = f"{n} of 48 samples have more than {limit} ASVs (token_limit), such as 'sample"
    assert said in caplog.text
    assert f"with {richness.max()}, and the model does not read all" in caplog.text


def test_prepare_samples_divides_classes_in_proportion(table):
    classes = pd.Series(["a"] * 30 + ["b"] * 10 + ["c"] * 8, index=table.sample_ids)
    samples = prepare_samples(inputs_of(table, classes, test_size=0.5))
    held = classes[list(samples.held.sample_ids)].value_counts()
    assert held.to_dict() == {"a": 15, "b": 5, "c": 4}


def test_prepare_samples_keeps_groups_together_and_says_so(table, caplog):
    caplog.set_level(logging.INFO)
    groups = pd.Series([f"p{i // 3}" for i in range(48)], table.sample_ids, name="person")
    samples = prepare_samples(replace(inputs_of(table, test_size=0.25), groups=groups))
    train, held = list(samples.fixed.sample_ids), list(samples.held.sample_ids)
    assert not set(groups[train]) & set(groups[held])
    assert "Validation samples: 12 of 48, from 4 of 16 groups." in caplog.text


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        (["p1"] * 24 + ["p2"] * 24, "24 of 48 samples are validation samples, where test_size"),
        (range(48), "Each of the 48 samples is a group of its own in metadata column 'person'"),
    ],
)
def test_prepare_samples_warns_of_groups_that_do_not_suit(table, caplog, groups, said):
    groups = pd.Series([str(name) for name in groups], table.sample_ids, name="person")
    prepare_samples(replace(inputs_of(table), groups=groups))
    assert said in caplog.text


def test_prepare_samples_refuses_two_samples(table):
    with pytest.raises(ValueError, match=r"Only 2 of 2 samples .* give more samples"):
        prepare_samples(inputs_of(table.take([0, 1])))


def test_prepare_samples_refuses_classes_of_one_sample_each(table):
    classes = pd.Series(table.sample_ids, index=table.sample_ids)
    with pytest.raises(ValueError, match="classes of the metadata column has one sample"):
        prepare_samples(inputs_of(table, classes))


def test_prepare_samples_refuses_r2_of_one_sample(table):
    ages = pd.Series(np.arange(20.0), index=table.sample_ids[:20])
    with pytest.raises(ValueError, match=r"test_size 0.05 of 20 samples makes 1: raise test_size"):
        prepare_samples(inputs_of(table.take(range(20)), ages, best_metric="r2", test_size=0.05))


def test_reads_are_those_of_the_training_samples(table):
    samples = prepare_samples(inputs_of(table))
    reads = samples.reads
    seen = (samples.fixed.counts.sum(axis=0) > 0).sum()
    assert (reads.n_samples, reads.n_features) == (38, seen)
    assert (reads.shortest, reads.longest) == (40, 40)
