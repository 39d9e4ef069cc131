"""Sequences found by the ids of the features, or by other forms of these."""

import hashlib
import logging

import pytest

from q2_aam.core.data.sequences import read_sequences, sequences_of

FIRST, SECOND = "ACGTTGCA" * 5, "TTGCAACG" * 5


def md5(sequence):
    return hashlib.md5(sequence.encode()).hexdigest()


def sha1(sequence):
    return hashlib.sha1(sequence.encode()).hexdigest()


@pytest.mark.parametrize(
    ("features", "names"),
    [
        ([md5(FIRST), md5(SECOND)], [FIRST, SECOND]),
        ([FIRST, SECOND], [md5(FIRST), md5(SECOND)]),
        ([FIRST, SECOND], ["ASV1", "ASV2"]),
        ([sha1(FIRST), md5(SECOND)], ["ASV1", "ASV2"]),
        ([FIRST.lower(), SECOND], [FIRST, SECOND]),
        (["a", "b"], ["a;size=123;", "b;size=4"]),
        (["a;size=123;", "b;size=4;"], ["a", "b"]),
        ([f"{md5(FIRST)};size=3;", "b"], [FIRST, "b"]),
        ([md5(FIRST), md5(SECOND)], [f"{sha1(FIRST)};size=3;", f"{sha1(SECOND)};size=2;"]),
    ],
)
def test_sequences_under_another_form_of_the_id(features, names, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    fasta = tmp_path / "sequences.fasta"
    fasta.write_text(f">{names[1]}\n{SECOND}\n>{names[0]}\n{FIRST}\n")
    assert sequences_of(features, read_sequences(fasta)) == [FIRST, SECOND]
    assert "named in another form than the features" in caplog.text


def test_sequences_with_a_size_are_their_own_ids():
    assert sequences_of([f"{FIRST};size=3;", SECOND], None) == [FIRST, SECOND]
    with pytest.raises(ValueError, match=r"1 of 2 feature ids are not .* such as 'OTU1'"):
        sequences_of(["OTU1;size=3;", SECOND], None)


def test_ids_as_written_come_first(caplog):
    caplog.set_level(logging.INFO)
    sequences = {"a": FIRST, "a;size=3;": SECOND}
    assert sequences_of(["a", "a;size=3;"], sequences) == [FIRST, SECOND]
    assert not caplog.messages


def test_features_that_are_absent_are_named_with_an_id_of_the_sequences():
    sequences = {"b": FIRST, md5(SECOND): SECOND}
    with pytest.raises(ValueError, match=rf"1 of 2 .* 2 sequences, such as 'c' .*'{md5(SECOND)}'"):
        sequences_of(["c", "b"], sequences)


def test_sums_of_other_sequences_are_absent():
    with pytest.raises(ValueError, match=r"1 of 1 features .* \(a sequence is called 'b'\): give"):
        sequences_of([md5(FIRST)], {"b": SECOND})


def test_an_id_that_could_be_several_sequences_is_refused():
    sequences = {"a;size=1;": FIRST, "a;size=2;": FIRST, "a;size=3;": SECOND}
    with pytest.raises(ValueError, match=r"'a' .* several .* 'a;size=2;' and 'a;size=3;', which"):
        sequences_of(["a"], sequences)
    assert sequences_of(["a"], {"a;size=1;": FIRST, "a;size=2;": FIRST}) == [FIRST]
