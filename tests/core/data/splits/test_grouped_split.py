"""Groups stay whole, and parts are as equal as they allow."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from q2_aam.core.data.splits.grouped_split import (
    deal_groups,
    hold_out_groups,
    name_of,
    with_groups,
)
from q2_aam.core.data.splits.validation_split import divide, split

GROUPS = st.lists(st.integers(0, 12), min_size=3, max_size=60)


def test_numbers_are_named_as_they_are_written():
    numbers = [1.0, -2.0, 0.5, 1234567890123451.0, 1234567890123452.0, 1e300, "01", "p"]
    names = ["1", "-2", "0.5", "1234567890123451", "1234567890123452", "1e+300", "01", "p"]
    assert [name_of(value) for value in numbers] == names


def rng(seed=0):
    return np.random.RandomState(seed)


def in_one_part(groups, parts):
    return len(set(zip(groups, parts, strict=True))) == len(set(groups))


@settings(deadline=None, max_examples=60)
@given(GROUPS, st.floats(0.05, 0.9), st.integers(0, 9), st.booleans())
def test_hold_out_groups_keeps_groups_and_classes(groups, share, seed, with_classes):
    classes = [f"c{group % 3}" for group in groups] if with_classes else None
    held = hold_out_groups(groups, share, rng(seed), classes)
    assert in_one_part(groups, held)
    assert not held.all()
    if classes is not None:
        assert {name for name, h in zip(classes, held, strict=True) if not h} == set(classes)
    elif len(set(groups)) > 1:
        assert held.any()


@settings(deadline=None, max_examples=60)
@given(GROUPS, st.integers(2, 8), st.integers(0, 9), st.booleans())
def test_deal_groups_fills_every_fold_with_whole_groups(groups, n_folds, seed, with_classes):
    n_folds = min(n_folds, len(set(groups)))
    if n_folds < 2:
        return
    classes = [f"c{i % 3}" for i in range(len(groups))] if with_classes else None
    folds = deal_groups(groups, n_folds, rng(seed), classes)
    assert set(folds) == set(range(n_folds))
    assert in_one_part(groups, folds)


def test_hold_out_groups_of_unequal_sizes_holds_the_share_of_the_samples():
    groups = np.repeat(np.arange(41), [60, *[2] * 40])  # 43% in one group
    for seed in range(5):
        assert abs(hold_out_groups(groups, 0.2, rng(seed)).mean() - 0.2) < 0.03


def test_hold_out_groups_takes_of_each_class_its_share():
    groups = np.repeat(np.arange(60), 3)
    classes = np.repeat(["a", "a", "b"] * 20, 3)
    for seed in range(5):
        held = hold_out_groups(groups, 0.2, rng(seed), classes)
        assert abs((held & (classes == "b")).sum() - 12) <= 3
        assert abs(held.sum() - 36) <= 3


def test_hold_out_groups_follows_the_seed():
    groups = np.repeat(np.arange(30), 2)
    first, again, other = (hold_out_groups(groups, 0.2, rng(seed)) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_deal_groups_balances_samples_and_classes():
    groups = np.repeat(np.arange(50), [30, *[4] * 49])
    sizes = np.bincount(deal_groups(groups, 5, rng()))
    assert sizes.max() - sizes.min() <= 4
    classes = np.where(groups % 5 == 0, "rare", "common")
    folds = deal_groups(groups, 5, rng(), classes)
    assert pd.crosstab(folds, classes)["rare"].min() >= 4


def test_deal_groups_of_as_many_folds_leaves_one_group_out():
    groups = np.repeat(np.arange(150), 2)
    folds = deal_groups(groups, 150, rng(), np.arange(300) % 2)
    assert (np.bincount(folds) == 2).all()


def test_deal_groups_is_the_same_with_every_version():
    """Or published folds could not be drawn again."""
    groups = list("aabbccddeeff")
    folds = deal_groups(groups, 3, rng(0), list("xyxyxyxyxyxy"))
    assert "".join(map(str, folds)) == "112211002200"


def test_split_keeps_groups_together():
    groups = np.repeat(np.arange(12), 4)
    train, held = split(48, 0.25, 0, groups=groups)
    assert len(held) == 12
    assert not set(groups[train]) & set(groups[held])
    assert sorted([*train, *held]) == list(range(48))


def test_divide_refuses_one_group():
    groups = pd.Series(["p1"] * 6, name="person")
    with pytest.raises(
        ValueError, match=r"All 6 training samples .* \('p1' .*'person'.*test_size"
    ):
        divide(6, 0.2, 0, None, groups)
    assert len(divide(6, 0.0, 0, None, groups)[0]) == 6


def test_divide_refuses_groups_that_each_have_a_class_of_their_own():
    groups = pd.Series(list("aabb"), name="study")
    with pytest.raises(ValueError, match=r"Each of the 2 groups .*'study'.* all .* of a class"):
        divide(4, 0.2, 0, ["x", "x", "y", "y"], groups)


def test_with_groups_takes_numbers_by_name_and_leaves_samples_out():
    column = pd.Series([1.0, np.nan, 2.5], ["s1", "s2", "s3"], name="person")
    ids, groups = with_groups(["s1", "s2", "s3"], column, "ignore")
    assert ids == ["s1", "s3"]
    assert list(groups) == ["1", "2.5"]
    with pytest.raises(ValueError, match=r"1 of the table's 3 samples have no value .*'person'"):
        with_groups(["s1", "s2", "s3"], column, "error")
    assert with_groups(["s1"], None, "error") == (["s1"], None)
