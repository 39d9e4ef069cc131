"""Samples held out for validation."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from q2_aam.core.data.splits.validation_split import split


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
