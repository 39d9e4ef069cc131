"""Which names are of one feature."""

import hashlib

import pytest

from q2_aam.core.data.feature_names import OtherForms, forms, is_sum, shorten

SEQUENCE = "ACGTTGCA" * 5
MD5 = hashlib.md5(SEQUENCE.encode()).hexdigest()
SHA1 = hashlib.sha1(SEQUENCE.encode()).hexdigest()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (SEQUENCE, MD5),
        (SEQUENCE, SHA1),
        (SEQUENCE, MD5.upper()),
        (SEQUENCE.lower(), MD5),
        (SEQUENCE.replace("T", "U"), SEQUENCE),
        (MD5, f"{MD5};size=123;"),
        (f"{MD5};size=123", f"{SEQUENCE};size=4;"),
        ("OTU1", "OTU1;ee=0.5;size=3;"),
        ("OTU 1", "OTU_1"),
        ("OTU1", "centroid=OTU1;seqs=4;size=9;"),
        ("a b", "a%20b"),
        ("a%20b", "a%2520b"),
    ],
)
def test_names_of_one_feature_have_a_form_in_common(one, other):
    assert set(forms(one)) & set(forms(other))
    assert OtherForms([(other, None)]).find(one) == [other]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (SEQUENCE, SEQUENCE[:-1]),
        (MD5, SHA1),
        ("OTU1", "OTU10"),
        ("OTU1;size=3;", "OTU10;size=3;"),
        ("OTU1", "otu1"),
        ("a;tax=b", "a"),
        ("a;size", "a"),
        ("ACGU", "ACGT"),
    ],
)
def test_names_of_two_features_have_none(one, other):
    assert not set(forms(one)) & set(forms(other))


def test_a_known_sequence_has_its_sums():
    assert OtherForms([("ASV1", SEQUENCE)]).find(MD5) == ["ASV1"]
    assert OtherForms([("ASV1", SEQUENCE)]).find(SEQUENCE) == ["ASV1"]


def test_several_names_are_found_in_their_order():
    names = OtherForms([("b;size=2", None), ("b;size=1", None), ("c", None)])
    assert names.find("b") == ["b;size=2", "b;size=1"]
    assert names.find("d") == []


def test_sums_are_recognised():
    assert is_sum(MD5)
    assert is_sum(SHA1)
    assert not is_sum(MD5[:-1])
    assert not is_sum(SEQUENCE)


def test_long_names_are_cut():
    assert shorten("A" * 61) == "A" * 60 + "…"
    assert shorten("A" * 60) == "A" * 60
