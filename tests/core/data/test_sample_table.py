"""Counts and sequences brought together."""

import biom
import numpy as np
import pandas as pd
import pytest

from q2_aam.core.data.sample_table import sample_table

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
    with pytest.raises(ValueError, match=r"not counts, such as .* in sample 's1'"):
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


def test_observed_drops_features_no_sample_has(table):
    some = sample_table(table, None, 150).select(["s1"]).observed()
    assert len(some.feature_ids) == 2
    assert some.tokens.shape[0] == 2
