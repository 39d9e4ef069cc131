import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from q2_aam.core.training.preparation.weighting import Weighting, read_weighting

IDS = list("abcdef")
STUDY = pd.Series(["x", "x", "x", "x", "y", "y"], IDS, name="study")


def test_groups_count_alike_whatever_their_sizes():
    weights = pd.Series(Weighting(balanced=STUDY).of(IDS)[0], IDS)
    assert weights[STUDY == "x"].sum() == pytest.approx(weights[STUDY == "y"].sum())
    # Of those that are used: here two of x and one of y.
    some = pd.Series(Weighting(balanced=STUDY).of(list("abe"))[0], list("abe"))
    assert some["a"] + some["b"] == pytest.approx(some["e"])


@given(st.lists(st.floats(1e-3, 1e3), min_size=6, max_size=6), st.booleans())
def test_mean_is_one_and_weights_count_within_groups(values, by_group):
    given_weights = pd.Series(values, IDS)
    found = pd.Series(Weighting(given_weights, STUDY if by_group else None).of(IDS)[0], IDS)
    assert found.mean() == pytest.approx(1, rel=1e-4)
    assert found["a"] / found["b"] == pytest.approx(values[0] / values[1], rel=1e-4)
    if by_group:
        assert found[:4].sum() == pytest.approx(found[4:].sum(), rel=1e-4)


def test_without_either_there_are_no_weights():
    assert Weighting().of(IDS) == (None, None)
    assert Weighting().content() == []
    assert read_weighting(IDS, None, None, "error")[0] == IDS


def test_samples_without_a_weight_are_left_out_or_refused():
    weights = pd.Series([1.0, np.nan, 2, 3, 4, 5], IDS, name="w")
    with pytest.raises(ValueError, match=r"1 of the table's 6 samples have no value.*'w'"):
        read_weighting(IDS, weights, None, "error")
    ids, weighting = read_weighting(IDS, weights, STUDY.drop("c"), "ignore")
    assert ids == list("adef")
    assert len(weighting.of(ids)[0]) == 4


def test_validation_samples_count_in_relation_to_training_samples():
    training, validation = Weighting(balanced=STUDY).of(list("abcd"), list("ef"))
    assert training.mean() == pytest.approx(1)
    assert training.sum() == pytest.approx(validation.sum())


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1, 2, 1e-9, 4, 5, 6], r"largest weight of column 'w' \(6, .*'f'\).*1e-09, .*'c'"),
        ([1, 2, 0, 4, 5, 6], "1 weights of column 'w' are not above 0, such as 0 of sample 'c'"),
        (["1", "2", "much", "4", "5", "6"], "column 'w' has text, such as 'much' of sample 'c'"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(values, said):
    with pytest.raises(ValueError, match=said):
        read_weighting(IDS, pd.Series(values, IDS, name="w"), None, "error")
