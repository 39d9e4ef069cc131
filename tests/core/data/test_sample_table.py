import biom
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from q2_aam.core.data.sample_table import rarefy, sample_table, split

SEQUENCES = ["ACGTACGTAA", "TTTTACGTAC", "CCCCACGTAC", "GGGGACGTAC"]


def make_table(counts, features=SEQUENCES, samples=None):
    counts = np.asarray(counts, dtype=float)
    samples = samples or [f"s{i}" for i in range(counts.shape[1])]
    return biom.Table(counts, features[: counts.shape[0]], samples)


@pytest.fixture
def table():
    return make_table([[5, 0, 3], [1, 0, 0], [0, 2, 9], [4, 8, 0]])


def test_sample_table_does_not_depend_on_feature_order(table):
    shuffled = table.sort_order([SEQUENCES[i] for i in (2, 0, 3, 1)], axis="observation")
    a, b = sample_table(table, None, 150), sample_table(shuffled, None, 150)
    assert a.feature_ids == b.feature_ids
    assert np.array_equal(a.tokens, b.tokens)
    assert (a.counts != b.counts).nnz == 0


def test_sample_table_keeps_counts(table):
    made = sample_table(table, None, 150)
    frame = pd.DataFrame(made.counts.toarray(), made.sample_ids, made.feature_ids)
    for name, row in table.to_dataframe(dense=True).items():
        assert frame.loc[name].to_dict() == row.to_dict()


def test_sample_table_takes_sequences_by_id():
    named = make_table([[1, 2], [3, 4]], features=["otu1", "otu2"])
    made = sample_table(named, {"otu1": "ggu", "otu2": "AAC", "other": "A"}, 150)
    assert made.feature_ids == ("otu2", "otu1")
    assert made.tokens.tolist() == [[1, 1, 2], [3, 3, 4]]


def test_sample_table_drops_features_without_reads():
    assert sample_table(make_table([[1, 2], [0, 0]]), None, 150).feature_ids == (SEQUENCES[0],)


@pytest.mark.parametrize("bad", [-1.0, 0.5, np.nan, np.inf, 2.0**31])
def test_sample_table_refuses_what_is_no_count(bad):
    with pytest.raises(ValueError, match=r"no counts, such as .* in sample 's1'"):
        sample_table(make_table([[1, bad], [3, 4]]), None, 150)


def test_sample_table_refuses_hashed_ids_without_sequences():
    named = make_table([[1], [2]], features=["ACGT", "9f2e"])
    with pytest.raises(ValueError, match=r"1 of 2 feature ids .* such as '9f2e'.*--i-sequences"):
        sample_table(named, None, 150)


def test_sample_table_refuses_features_without_sequence():
    named = make_table([[1], [2]], features=["otu1", "otu2"])
    with pytest.raises(ValueError, match=r"1 of 2 features .* such as 'otu2'"):
        sample_table(named, {"otu1": "ACGT"}, 150)


def test_sample_table_refuses_bases_that_are_none():
    named = make_table([[1]], features=["otu1"])
    with pytest.raises(ValueError, match=r"feature 'otu1' cannot be read: 'X' at position 2"):
        sample_table(named, {"otu1": "AXG"}, 150)


@pytest.mark.parametrize("counts", [np.zeros((0, 3)), np.zeros((2, 0))])
def test_sample_table_refuses_an_empty_table(counts):
    with pytest.raises(ValueError, match="empty"):
        sample_table(make_table(counts), None, 150)


def test_sample_table_refuses_a_table_without_reads():
    with pytest.raises(ValueError, match="no reads in any of its 2 samples"):
        sample_table(make_table([[0, 0]]), None, 150)


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


def test_rarefy_is_unbiased():
    table = make_table([[600], [300], [100]])
    before = sample_table(table, None, 150)
    mean = np.mean([rarefy(before, 100, seed=s).counts.toarray()[0] for s in range(300)], axis=0)
    assert np.allclose(mean, before.counts.toarray()[0] / 10, atol=2)


@settings(deadline=None)
@given(
    classes=st.lists(st.sampled_from("abc"), min_size=2, max_size=60),
    test_size=st.floats(0, 0.9),
    seed=st.integers(0, 99),
)
def test_split_is_a_partition_that_keeps_every_class_in_training(classes, test_size, seed):
    train, held = split(len(classes), test_size, seed, classes)
    assert sorted([*train, *held]) == list(range(len(classes)))
    assert {classes[i] for i in train} == set(classes)


def test_split_divides_classes_in_proportion():
    classes = np.array(["a"] * 80 + ["b"] * 20)
    _, held = split(100, 0.2, 0, classes)
    assert (classes[held] == "b").sum() == 4
    assert len(held) == 20


def test_observed_drops_features_no_sample_has(table):
    some = sample_table(table, None, 150).select(["s1"]).observed()
    assert len(some.feature_ids) == 2
    assert some.tokens.shape[0] == 2
