import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from q2_aam.core.data.target import (
    MAX_CLASSES,
    MAX_NAME,
    MAX_TEXT,
    TRANSFORMS,
    CategoricalTarget,
    NumericTarget,
)

VALUES = st.lists(st.integers(0, 10**6).map(lambda n: n / 7), min_size=2, unique=True)


@given(VALUES, st.sampled_from(TRANSFORMS))
def test_numeric_target_returns_to_its_units(values, transform):
    target = NumericTarget.fit("age", values, transform)
    restored = target.to_units(target.to_learnt(values))
    np.testing.assert_allclose(restored, values, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_numeric_target_scales_as_it_is_called(transform):
    learnt = NumericTarget.fit("age", [0.0, 1.0, 5.0, 30.0], transform).to_learnt(
        [0.0, 1.0, 5.0, 30.0]
    )
    if transform.endswith("minmax"):
        assert (learnt.min(), learnt.max()) == (0, 1)
    elif transform.endswith("zscore"):
        assert learnt.mean() == pytest.approx(0)
        assert learnt.std() == pytest.approx(1)
    else:
        assert learnt.tolist() == [0, 1, 5, 30]


@given(VALUES, st.sampled_from(TRANSFORMS))
def test_numeric_target_json_round_trip(values, transform):
    target = NumericTarget.fit("age", values, transform)
    assert NumericTarget.from_dict(json.loads(json.dumps(target.to_dict()))) == target


@pytest.mark.parametrize(
    ("values", "transform", "message"),
    [
        ([3.0, 3.0], "none", "has the same value \\(3\\) in all 2 training samples"),
        ([-1.0, 2.0], "log-zscore", "has negative values .* choose 'zscore'"),
        ([1e-320, 2e-320], "zscore", "neither huge nor nearly equal"),
    ],
)
def test_numeric_target_fit_refuses(values, transform, message):
    with pytest.raises(ValueError, match=message):
        NumericTarget.fit("age", values, transform)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"column": ""}, "name of the metadata column must be text"),
        ({"column": "a\tb"}, "has a control character"),
        ({"transform": "sqrt"}, "must be one of none, minmax"),
        ({"shift": float("nan")}, "must be finite"),
        ({"scale": float("inf")}, "must be finite"),
        ({"scale": -1.0}, "the scale above 0"),
        ({"shift": True}, "shift of the target must be a number"),
    ],
)
def test_numeric_target_refuses(fields, message):
    with pytest.raises(ValueError, match=message):
        NumericTarget(**{"column": "age", **fields})


def test_categorical_target_lists_classes_in_order():
    target = CategoricalTarget.fit("site", ["skin", "gut", "skin", "oral"])
    assert target.classes == ("gut", "oral", "skin")
    assert target.to_learnt(["oral", "gut"]).tolist() == [1, 0]
    assert CategoricalTarget.from_dict(json.loads(json.dumps(target.to_dict()))) == target


def test_categorical_target_fit_refuses_one_class():
    with pytest.raises(ValueError, match=r"has only one class \('skin'\)"):
        CategoricalTarget.fit("site", ["skin", "skin"])


@pytest.mark.parametrize(
    "values",
    [
        [f"{i:0500}" for i in range(MAX_TEXT // 500 + 1)],
        [str(i) for i in range(MAX_CLASSES + 1)],
    ],
    ids=["long", "many"],
)
def test_categorical_target_fit_refuses_free_text(values):
    with pytest.raises(ValueError, match="of categories, not of identifiers"):
        CategoricalTarget.fit("notes", values)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "two or more different ones"),
        (["a"], "two or more different ones, found 'a'"),
        (["a", "a"], "two or more different ones, found 'a', 'a'"),
        (["a", 1], "class of column 'site' must be text .* found '1'"),
        (["a", ["b"]], "must be text"),
        (["a", ""], "must be text"),
        (["a", "b" * (MAX_NAME + 1)], "must be text of 1 to 1000 characters"),
        (["a", "b\nc"], "has a control character"),
        ("ab", "must be a list"),
    ],
)
def test_categorical_target_from_dict_refuses(classes, message):
    with pytest.raises(ValueError, match=message):
        CategoricalTarget.from_dict({"column": "site", "classes": classes})
