"""Reads drawn from each sample."""

import biom
import numpy as np
import pytest

from q2_aam.core.data.rarefaction import check_depth, rarefy, suitable_depth
from q2_aam.core.data.sample_table import sample_table

SEQUENCES = ["ACGTACGTAA", "TTTTACGTAC", "CCCCACGTAC", "GGGGACGTAC"]


def make_table(counts, features=SEQUENCES, samples=None):
    counts = np.asarray(counts, dtype=float)
    samples = samples or [f"s{i}" for i in range(counts.shape[1])]
    return biom.Table(counts, features[: counts.shape[0]], samples)


@pytest.fixture
def table():
    return make_table([[5, 0, 3], [1, 0, 0], [0, 2, 9], [4, 8, 0]])


def test_rarefy_draws_the_depth_without_replacement(table):
    before = sample_table(table, None, 150)
    after = rarefy(before, 7, seed=3)
    assert set(after.depths) == {7}
    kept = before.select(after.sample_ids)
    assert (after.counts > kept.counts).nnz == 0


def test_rarefy_of_a_sample_does_not_depend_on_the_others(table):
    whole = sample_table(table, None, 150)
    alone = whole.select(["s2"])
    a, b = rarefy(whole, 5, seed=3).select(["s2"]), rarefy(alone, 5, seed=3)
    assert np.array_equal(a.counts.toarray(), b.counts.toarray())


def test_rarefy_names_what_it_leaves_out(table, caplog):
    after = rarefy(sample_table(table, None, 150), 11, seed=0)
    assert after.sample_ids == ("s2",)
    assert "2 of 3 samples have fewer than 11 reads and are left out: s0, s1" in caplog.text


def test_rarefy_can_keep_shallow_samples(table):
    before = sample_table(table, None, 150)
    after = rarefy(before, 11, seed=0, keep_shallow=True)
    assert after.sample_ids == before.sample_ids
    assert after.depths.tolist() == [10, 10, 11]


def test_rarefy_to_nothing_says_what_to_do(table):
    with pytest.raises(ValueError, match=r"No sample is left .* 100 reads.* has 12.*rarefy_depth"):
        rarefy(sample_table(table, None, 150), 100, seed=0)


@pytest.mark.parametrize(
    ("depths", "proposed"),
    [
        (range(1000, 2000, 100), 1100),
        ([4321] * 60, 4300),
        ([0, 0, 0, 57], 57),
        ([3, 900, 900], 3),
        ([12_345_678] * 20 + [1], 12_000_000),
        ([0, 0], 0),
    ],
)
def test_suitable_depth_is_round_and_keeps_nine_of_ten(depths, proposed):
    depths = np.array(depths)
    assert suitable_depth(depths) == proposed
    assert (depths >= proposed).sum() >= 0.9 * (depths > 0).sum()


@pytest.mark.parametrize(("depth", "refused"), [(10, False), (11, True), (12, True), (1, False)])
def test_check_depth_refuses_what_more_than_half_do_not_have(table, depth, refused):
    made = sample_table(table, None, 150)
    given = made.sample_ids, made.depths, depth
    if not refused:
        check_depth(*given)
        return
    with pytest.raises(
        ValueError, match=r"2 of 3 samples, .* such as 's0' with 10 .*depth 10 keeps 3"
    ):
        check_depth(*given)


def test_rarefy_proposes_a_depth(table, caplog):
    rarefy(sample_table(table, None, 150), 11, seed=0)
    assert "A rarefy_depth of 10 would keep 3 samples." in caplog.text
    caplog.clear()
    rarefy(sample_table(table, None, 150), 11, seed=0, keep_shallow=True)
    assert "would keep" not in caplog.text


def test_rarefy_is_unbiased():
    table = make_table([[600], [300], [100]])
    before = sample_table(table, None, 150)
    mean = np.mean([rarefy(before, 100, seed=s).counts.toarray()[0] for s in range(300)], axis=0)
    assert np.allclose(mean, before.counts.toarray()[0] / 10, atol=2)
