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
        with_values(["a"], column(a=None, b=1.0), "ignore")


@pytest.mark.parametrize("missing_samples", ["error", "ignore"])
def test_with_values_compares_ids_where_none_agrees(missing_samples):
    said = r"None of .* \(column 'age'\): .* 2, such as 'x\.s1', the .* 3, such as 'S1'\. Give"
    with pytest.raises(ValueError, match=said):
        with_values(["x.s1", "x.s2"], column(a=1.0, s2=3.0, S1=2.0), missing_samples)
    with pytest.raises(ValueError, match=r"the metadata has none\. Give"):
        with_values(["a"], column(), missing_samples)


def test_with_values_names_an_id_that_is_written_in_another_way():
    found = (
        r"not in the metadata .*: b, s\.1 \(the metadata has 'S_1', the table 's\.1'\)\. Filter"
    )
    with pytest.raises(ValueError, match=found):
        with_values(["a", "b", "s.1"], column(a=1.0, S_1=2.0), "error")


WORDS = {"a": "gut", "b": "not applicable", "c": "Missing: Not provided", "d": "missing"}


def test_with_values_refuses_words_for_a_missing_value():
    said = (
        r"3 of the table's 4 samples have a word for a missing value \(column 'age'\): "
        r"'not applicable' \(1\), .* such as for sample 'b'\. Leave such samples out .*ignore\)\. "
        r"If a word is meant as a value"
    )
    with pytest.raises(ValueError, match=said):
        with_values(list("abcd"), column(**WORDS), "error")


def test_with_values_leaves_words_for_a_missing_value_out(caplog):
    assert with_values(list("abcd"), column(**WORDS), "ignore").to_dict() == {"a": "gut"}
    assert "'missing' (1), such as for sample 'b'. They are left out." in caplog.text


def test_with_values_warns_of_words_that_may_be_classes(caplog):
    values = column(a="gut", b="none", c="unknown", d="none")
    assert len(with_values(list("abcd"), values, "error")) == 4
    assert "3 samples have a word in column 'age'" in caplog.text
    assert "'none' (2), 'unknown' (1). It is taken for a value" in caplog.text


def test_with_values_takes_more_words_for_missing_among_numbers(caplog):
    values = column(a="1.5", b="2", c="NA", d="unknown")
    with pytest.raises(ValueError, match=r"'NA' \(1\), 'unknown' \(1\).*empty these cells\.$"):
        with_values(list("abcd"), values, "error", numeric=True)
    found = with_values(list("abcd"), values, "ignore", numeric=True)
    assert check_numbers(found).to_dict() == {"a": 1.5, "b": 2.0}


@pytest.mark.parametrize(
    ("word", "way_out"),
    [
        ("not applicable", r"empty these cells, or write INSDC:missing .*'#q2:missing'"),
        ("Not Applicable", r"empty these cells\.$"),  # QIIME 2 takes the words to the letter
    ],
)
def test_with_values_names_a_way_out_that_helps(word, way_out):
    with pytest.raises(ValueError, match=way_out):
        with_values(["a", "b"], column(a="1.5", b=word), "error", numeric=True)


@pytest.mark.parametrize("missing_samples", ["error", "ignore"])
def test_with_values_refuses_an_empty_column(missing_samples):
    with pytest.raises(ValueError, match=r"None of the table's 2 samples, such as 'a'"):
        with_values(["a", "b"], column(a=None, b=None), missing_samples)


def test_with_values_refuses_a_column_of_nothing_but_words():
    with pytest.raises(ValueError, match=r"None of the table's 1 samples"):
        with_values(["a"], column(a="not provided"), "ignore")


def test_check_numbers_counts_what_is_no_number():
    said = (
        r"3 values .* such as 'old' .* 'b' \(in all: 'old' \(2\), '5 years' \(1\)\); write numbers"
    )
    with pytest.raises(ValueError, match=said):
        check_numbers(column(a="1", b="old", c="5 years", d="old"))


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
