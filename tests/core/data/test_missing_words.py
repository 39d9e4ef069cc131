"""Which words stand for a missing value."""

import numpy as np
import pytest

from q2_aam.core.data.missing_words import are_missing, may_be_missing

VOCABULARY = [
    "not applicable", "Not applicable", "NOT_APPLICABLE", "not-applicable", " Not  Provided ",
    "not collected", "not available", "restricted access", "missing", "Missing",
    "Missing: Not provided", "missing:not collected", "missing: control sample",
    "not applicable: sample group", "restricted access: human-identifiable",
    "missing: data agreement established pre-2023", "LabControl test", "labcontrol_test",
]  # fmt: skip
OTHERS = [
    "NA", "N/A", "n.a.", "#N/A", "nan", "NaN", "<NA>", "null", "None", "none", "unknown",
    "Unspecified", "not determined", "no_data", "-", "--", "?", ".", "not specified",
]  # fmt: skip
VALUES = [
    "gut", "missing tooth", "no", "yes", "never", "0", "01", "applicable", "not", "nothing",
    "Nan Province", "control", "lab control", "collected", "no treatment", "provided",
    "Nonea", "unknown species of rat", "other", "blank", "n", "-1", "a-b", "1.5",
]  # fmt: skip


@pytest.mark.parametrize("numeric", [True, False])
def test_the_vocabulary_is_missing(numeric):
    assert are_missing(VOCABULARY, numeric=numeric).all()


def test_other_words_are_missing_among_numbers_only():
    assert are_missing(OTHERS, numeric=True).all()
    assert not are_missing(OTHERS, numeric=False).any()
    assert may_be_missing(OTHERS).all()


def test_values_are_not_missing():
    assert not are_missing(VALUES, numeric=True).any()
    assert not may_be_missing(VALUES).any()


def test_what_is_no_text_is_no_word():
    assert not are_missing([1.0, np.nan, None, True], numeric=True).any()
    assert are_missing([], numeric=True).shape == (0,)
