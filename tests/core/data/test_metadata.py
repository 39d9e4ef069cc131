"""Which samples have a value, and what is said of the others."""

import logging

import numpy as np
import pandas as pd
import pytest

from q2_aam.core.data.metadata import check_numbers, warn_if_few, with_values


def column(**values):
    return pd.Series(values, name="age", dtype=object)


def test_with_values_is_in_the_order_of_the_table(caplog):
    caplog.set_level(logging.INFO)
    values = with_values(["b", "a"], column(a=1.0, b=2.0), "error")
    assert values.to_dict() == {"b": 2.0, "a": 1.0}
    assert list(values.index) == ["b", "a"]
    assert not caplog.messages


def test_with_values_counts_samples_that_only_the_metadata_has(caplog):
    caplog.set_level(logging.INFO)
    assert list(with_values(["a"], column(a=1.0, b=2.0, c=3.0), "error").index) == ["a"]
    assert caplog.messages == ["2 samples of the metadata are not in the table."]


@pytest.mark.parametrize("missing", [np.nan, None])
def test_with_values_leaves_out_samples_without_value_if_asked_to(missing, caplog):
    values = with_values(["a", "b", "c"], column(a=1.0, b=missing), "ignore")
    assert list(values.index) == ["a"]
    assert "1 of the table's 3 samples have no value (column 'age'): b" in caplog.text
    assert "1 of the table's 3 samples are not in the metadata (column 'age'): c" in caplog.text


def test_with_values_names_five_of_many(caplog):
    names = [f"s{i}" for i in range(8)]
    with_values(["a", *names], column(a=1.0), "ignore")
    assert "8 of the table's 9 samples" in caplog.text
    assert "s0, s1, s2, s3, s4, …" in caplog.text
    assert "s5" not in caplog.text


@pytest.mark.parametrize(
    ("samples", "values", "message"),
    [
        (["a", "b"], {"a": 1.0}, r"1 of the table's 2 samples are not in the .*: b\. Filter"),
        (["a", "b"], {"a": 1.0, "b": None}, r"1 of the table's 2 samples have no value .*: b\."),
    ],
)
def test_with_values_refuses_missing_samples_and_names_them(samples, values, message):
    with pytest.raises(ValueError, match=message):
        with_values(samples, column(**values), "error")


def test_with_values_refuses_where_no_sample_has_a_value():
    with pytest.raises(ValueError, match=r"None of the table's 1 samples, such as 'a', has a val"):
        with_values(["a"], column(b=1.0), "ignore")


def test_with_values_refuses_an_id_that_occurs_twice():
    twice = pd.Series([1.0, 2.0], index=["a", "a"], name="age")
    with pytest.raises(ValueError, match="Metadata column 'age' has sample id 'a' twice"):
        with_values(["a"], twice, "ignore")


def test_check_numbers_takes_numbers_written_as_text():
    assert check_numbers(column(a="1.5", b=2)).tolist() == [1.5, 2.0]


@pytest.mark.parametrize("wrong", ["old", np.inf, -np.inf])
def test_check_numbers_names_what_is_no_number(wrong):
    with pytest.raises(ValueError, match=r"1 values that are not finite numbers.* for sample 'b'"):
        check_numbers(column(a=1.0, b=wrong))


@pytest.mark.parametrize(("n", "warned"), [(49, True), (50, False)])
def test_warn_if_few_samples(caplog, n, warned):
    warn_if_few(n)
    assert ("below 50" in caplog.text) == warned


def test_warn_if_few_names_the_smallest_class(caplog):
    warn_if_few(60, ["a"] * 40 + ["b"] * 12 + ["c"] * 5 + ["d"] * 3)
    assert caplog.messages == [
        "2 of 4 classes have fewer than 10 samples, such as 'd' with 3: expect the model to "
        "miss them often."
    ]


def test_warn_if_few_says_nothing_of_ten_of_each_class(caplog):
    warn_if_few(60, ["a"] * 50 + ["b"] * 10)
    assert not caplog.messages
