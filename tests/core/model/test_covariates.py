"""Covariates become numbers and back, and what cannot be used is refused or told."""

import logging

import numpy as np
import pandas as pd
import pytest

from q2_aam.core.model.covariates import (
    FARTHEST,
    MOST_CATEGORIES,
    CategoricalCovariate,
    Covariates,
    NumericCovariate,
    read_covariates,
)

IDS = list("abcdef")
FRAME = pd.DataFrame(
    {
        "bmi": [20.0, 22.0, 24.0, 26.0, np.nan, 28.0],
        "sex": ["m", "f", "f", "not collected", "m", None],
    },
    index=IDS,
)


@pytest.fixture
def learnt():
    return Covariates.fit(read_covariates(FRAME, IDS))


def test_numbers_are_standard_deviations_from_the_mean(learnt):
    bmi = FRAME["bmi"]
    expected = (bmi - bmi.mean()) / bmi.std(ddof=0)
    found = learnt.encode(read_covariates(FRAME, IDS))[:, 0]
    np.testing.assert_allclose(found, expected.fillna(0.0), rtol=1e-6)


def test_categories_are_one_of_several(learnt):
    assert learnt.columns[1] == CategoricalCovariate("sex", ("f", "m"))
    found = learnt.encode(read_covariates(FRAME, IDS))[:, 1:]
    assert found.tolist() == [[0, 1], [1, 0], [1, 0], [0, 0], [0, 1], [0, 0]]
    assert found.dtype == np.float32


def test_values_far_away_are_cut_off(learnt):
    far = pd.DataFrame({"bmi": [1e6, -1e6], "sex": ["f", "m"]}, index=["x", "y"])
    assert learnt.encode(far)[:, 0].tolist() == [FARTHEST, -FARTHEST]


def test_a_sample_without_a_row_is_unknown(learnt, caplog):
    found = learnt.encode(read_covariates(FRAME, ["a", "zz"]))
    assert found[1].tolist() == [0, 0, 0]
    assert "1 of 2 samples have no value of covariate 'bmi', such as 'zz'" in caplog.text


def test_a_category_that_is_new_is_told_and_unknown(learnt, caplog):
    new = pd.DataFrame({"bmi": [20.0, 21.0], "sex": ["x", "f"]}, index=["p", "q"])
    assert learnt.encode(read_covariates(new, ["p", "q"]))[:, 1:].tolist() == [[0, 0], [1, 0]]
    assert "1 samples have categories of covariate 'sex'" in caplog.text
    assert "'x' (1)" in caplog.text


def test_json_restores_covariates_exactly(learnt):
    assert Covariates.from_dict(learnt.to_dict()) == learnt


@pytest.mark.parametrize("word", ["missing", "unknown", "NA"])
def test_columns_are_read_as_they_were_learnt(learnt, caplog, word):
    caplog.set_level(logging.INFO)
    # One word among the numbers makes QIIME 2 read text; a column of 0 and 1 is read as numbers.
    text = pd.DataFrame({"bmi": ["20", word, "28.5"], "sex": list("mff")}, index=list("abc"))
    found = learnt.encode(read_covariates(text, list("abc")))[:, 0]
    bmi = FRAME["bmi"]
    assert found[1] == 0
    assert found[2] == pytest.approx((28.5 - bmi.mean()) / bmi.std(ddof=0))
    flags = pd.DataFrame({"arm": ["0", "1", "0"]}, index=list("abc"))
    arm = Covariates.fit(read_covariates(flags, list("abc")))
    numbers = read_covariates(flags.astype(float), list("abc"))
    assert arm.encode(numbers).tolist() == [[1, 0], [0, 1], [1, 0]]


def test_text_among_learnt_numbers_is_refused(learnt):
    wrong = pd.DataFrame({"bmi": ["20", "much"], "sex": ["f", "m"]}, index=["a", "b"])
    with pytest.raises(ValueError, match=r"'bmi' was learnt as numbers.*'much' of sample 'b'"):
        learnt.encode(read_covariates(wrong, ["a", "b"]))


def test_a_column_that_is_missing_is_named(learnt):
    with pytest.raises(ValueError, match=r"no column 'sex'.*2 covariates \('bmi', 'sex'\)"):
        learnt.encode(FRAME[["bmi"]])


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (FRAME.rename(index={"b": "a"}), "sample id 'a' twice"),
        (FRAME.rename(index=str.upper), r"None of the table's 6 samples, such as 'a'.*'A'"),
        (FRAME.rename(columns={"bmi": "age"}), "Column 'age' is to be predicted"),
        (FRAME.assign(bmi=[np.inf, 1, 2, 3, 4, 5]), "'bmi' has 1 values.*sample 'a'"),
    ],
)
def test_what_cannot_be_read_is_refused(frame, said):
    with pytest.raises(ValueError, match=said):
        read_covariates(frame, IDS, "age")


def test_a_column_without_values_is_refused():
    empty = FRAME.assign(sex="not applicable")
    with pytest.raises(ValueError, match="Covariate 'sex' has no value in any of the 6"):
        Covariates.fit(read_covariates(empty, IDS))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([f"id{i}" for i in range(200)], "put rare ones together"),
        ([str(i) for i in range(199)] + ["1.0.0"], "put rare ones together"),
        ([str(i) for i in range(200)], "make the column numeric"),
    ],
)
def test_too_many_categories_are_refused(values, said):
    ids = [f"s{i}" for i in range(200)]
    frame = read_covariates(pd.DataFrame({"name": values}, index=ids), ids)
    with pytest.raises(ValueError, match=rf"at most {MOST_CATEGORIES} are read: {said}"):
        Covariates.fit(frame)


def test_a_constant_column_is_told(caplog):
    Covariates.fit(pd.DataFrame({"x": [1.0, 1.0], "y": ["a", "a"]}, index=["a", "b"]))
    assert "Covariate 'x' has the same value (1)" in caplog.text
    assert "Covariate 'y' has the same value (a)" in caplog.text


@pytest.mark.parametrize(
    "values",
    [
        {"columns": [], "score": None},
        {"columns": [{"kind": "numeric", "name": "a", "mean": 0.0, "deviation": 0.0}]},
        {"columns": [{"kind": "other", "name": "a"}], "score": None},
        {"columns": [{"kind": "categorical", "name": "a", "categories": []}], "score": None},
        {"columns": [{"kind": "categorical", "name": "a", "categories": ["b", "b"]}], "score": 0},
        {"columns": [{"kind": "categorical", "name": "a", "categories": ["b"]}], "score": 2.0},
        {"columns": [{"kind": "categorical", "name": "a", "categories": "bc"}], "score": None},
        {"columns": {}, "score": None},
        [],
    ],
)
def test_json_that_is_not_sound_is_refused(values):
    with pytest.raises(ValueError, match=r"covariate|must be"):
        Covariates.from_dict(values)


def test_a_deviation_must_be_above_zero():
    with pytest.raises(ValueError, match="deviation of covariate 'a' must be above 0"):
        NumericCovariate("a", 0.0, 0.0)


def test_numbers_beside_words_are_numbers(caplog):
    ids = list("abcd")
    frame = pd.DataFrame({"age": ["30", "NA", "41.5", "not provided"]}, index=ids)
    found = read_covariates(frame, ids)["age"]
    assert found.tolist()[::2] == [30.0, 41.5]
    assert found.isna().tolist() == [False, True, False, True]
    assert "Covariate 'age' has numbers, and words for a missing value: 'NA' (1)" in caplog.text
    # Codes that are meant as categories have no such words.
    codes = pd.DataFrame({"site": ["1", "2", "1", None]}, index=ids)
    assert Covariates.fit(read_covariates(codes, ids)).columns[0].categories == ("1", "2")


@pytest.mark.parametrize("value", [0.1, 0.0, -3e8])
def test_a_constant_number_is_recognised_whatever_its_rounding(value, caplog):
    column = pd.Series([value] * 30, name="x")
    learnt = NumericCovariate.fit(column)
    assert "'x' has the same value" in caplog.text
    assert learnt.encode(column).max() < 1e-6


def test_a_word_among_learnt_codes_leaves_them_codes():
    ids = list("abcd")
    codes = pd.DataFrame({"site": ["01", "02", "01", "02"]}, index=ids)
    learnt = Covariates.fit(read_covariates(codes, ids))
    later = codes.assign(site=["01", "not collected", "02", "01"])
    found = learnt.encode(read_covariates(later, ids, learnt=True))
    assert found.tolist() == [[1, 0], [0, 0], [0, 1], [1, 0]]
