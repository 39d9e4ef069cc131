"""Splits: sizes, shares of classes, and columns that name the parts."""

import logging

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from q2_aam.actions.pipelines import splits

CLASSES = st.lists(st.sampled_from("abcd"), min_size=2, max_size=80)


def series(values, name="site"):
    ids = pd.Index([f"s{i:03d}" for i in range(len(values))], name="sample-id")
    return pd.Series(list(values), ids, name=name)


@settings(deadline=None, max_examples=60)
@given(CLASSES, st.integers(2, 10), st.booleans(), st.integers(0, 99))
def test_draw_folds_are_of_equal_size(classes, n_folds, stratify, seed):
    values = series(classes)
    if len(values) < n_folds:
        with pytest.raises(ValueError, match="fewer than the"):
            splits.draw_folds(values, n_folds, seed, stratify)
        return
    folds = splits.draw_folds(values, n_folds, seed, stratify)
    assert folds.index.equals(values.index)
    sizes = folds.value_counts()
    assert len(sizes) == n_folds
    assert sizes.max() - sizes.min() <= 1
    if stratify:
        counts = pd.crosstab(folds, values)
        assert (counts.max() - counts.min() <= 1).all()


@settings(deadline=None, max_examples=60)
@given(CLASSES, st.floats(0.01, 0.9), st.integers(0, 99))
def test_draw_test_keeps_every_class_in_training(classes, fraction, seed):
    values = series(classes)
    # Of each class, as many as there are but one can be held out.
    if values.nunique() == len(values) or np.floor(len(values) * fraction + 0.5) == 0:
        with pytest.raises(ValueError, match="leaves none to test"):
            splits.draw_test(values, fraction, seed, stratify=True)
        return
    try:
        parts = splits.draw_test(values, fraction, seed, stratify=True)
    except ValueError:  # the only ones drawn were the only ones of their class
        return
    trained = parts == "training"
    assert set(values[trained]) == set(values)
    for name, members in values.groupby(values):
        expected = fraction * len(members)
        held = (~trained[members.index]).sum()
        assert abs(held - expected) <= 1 + 1e-9, name


@pytest.mark.parametrize(
    ("n", "fraction", "expected"), [(10, 0.2, 2), (48, 0.25, 12), (7, 0.5, 4)]
)
def test_draw_test_holds_the_share_out(n, fraction, expected):
    parts = splits.draw_test(series(np.arange(n), "age"), fraction, 0, stratify=False)
    assert (parts == "test").sum() == expected


def test_draw_test_follows_the_seed():
    values = series(np.arange(40), "age")
    a, b, c = (splits.draw_test(values, 0.3, seed, stratify=False) for seed in (1, 1, 2))
    assert a.equals(b)
    assert not a.equals(c)
    # The same with every version of numpy, or published splits could not be drawn again.
    expected = splits.draw_folds(series(range(8), "age"), 2, 0, stratify=False)
    assert "".join(name[-1] for name in expected) == "21212112"


@pytest.mark.parametrize(
    ("n", "fraction", "said"), [(10, 0.01, "none to test"), (2, 0.9, "none to train")]
)
def test_draw_test_refuses_empty_parts(n, fraction, said):
    with pytest.raises(ValueError, match=rf"Of {n} samples.*leaves {said}.*--p-test-fraction"):
        splits.draw_test(series(np.arange(n), "age"), fraction, 0, stratify=False)


def test_named_test_takes_numbers_by_their_name():
    parts = splits.named_test(series([1.0, 2.0, 1.0], "batch"), "2")
    assert list(parts) == ["training", "test", "training"]


def test_named_test_refuses_a_value_that_none_has():
    with pytest.raises(ValueError, match=r"'held' in the metadata column 'site'.*it has 'a', 'b'"):
        splits.named_test(series("abab"), "held")


def test_named_test_refuses_to_hold_everything_out():
    with pytest.raises(ValueError, match=r"All 3 samples.*leaves none to train"):
        splits.named_test(series("aaa"), "a")


def test_named_folds():
    folds = splits.named_folds(series([1.0, 2.0, 10.0, 1.0], "batch"))
    assert list(folds) == ["1", "2", "10", "1"]


def test_named_folds_refuses_columns_that_name_none():
    with pytest.raises(ValueError, match="'site' cannot name the folds"):
        splits.named_folds(series("aaaa"))


def test_named_folds_can_be_any_number():
    assert splits.named_folds(series([str(i) for i in range(501)])).nunique() == 501


def whole(groups, parts):
    return len(set(zip(groups, parts, strict=True))) == len(set(groups))


def test_draw_folds_keeps_groups_together():
    values, groups = series("aabb" * 75), series(np.repeat(np.arange(150), 2), "person")
    for n_folds in (5, 150):
        folds = splits.draw_folds(values, n_folds, 0, True, groups)
        assert folds.nunique() == n_folds
        assert whole(groups, folds)
    with pytest.raises(ValueError, match=r"150 groups .*'person'\), fewer than the 151 folds"):
        splits.draw_folds(values, 151, 0, True, groups)


@pytest.mark.parametrize("stratify", [True, False])
def test_draw_test_keeps_groups_together(stratify):
    values, groups = series("aaaabb" * 20), series(np.repeat(np.arange(60), 2), "person")
    parts = splits.draw_test(values, 0.2, 0, stratify, groups)
    assert whole(groups, parts)
    assert (parts == "test").sum() == 24
    assert not parts.equals(splits.draw_test(values, 0.2, 1, stratify, groups))


@pytest.mark.parametrize(
    ("groups", "said"),
    [("pppp", "all samples are of one group"), ("ppqq", "each of the 2 groups")],
)
def test_draw_test_refuses_groups_that_cannot_be_held_out(groups, said):
    with pytest.raises(ValueError, match=rf"No test samples .*'person': {said}"):
        splits.draw_test(series("aabb"), 0.25, 0, True, series(groups, "person"))


def test_check_groups_are_whole_names_a_divided_group():
    parts, groups = series("aabb", "fold"), series("pqqr", "person")
    with pytest.raises(
        ValueError, match=r"1 of the 3 groups .*'q': its sample 's001' is in 'a', .*'s002' in 'b'"
    ):
        splits.check_groups_are_whole(parts, groups)
    splits.check_groups_are_whole(parts, series("ppqr", "person"))


def test_warn_of_unlearnt_classes(caplog):
    parts = pd.Series(["test", "test", "training"], series("abb").index)
    with caplog.at_level(logging.WARNING):
        splits.warn_of_unlearnt_classes(series("abb"), parts, "test")
    assert [record.args for record in caplog.records] == [("a", "test")]
