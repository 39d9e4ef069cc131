import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from q2_aam.core.data import nucleotides

CODES = nucleotides.BASES + "".join(nucleotides.AMBIGUOUS)


@given(st.text(alphabet=CODES + CODES.lower() + "Uu", min_size=1, max_size=60))
def test_encode_case_and_uracil_do_not_matter(sequence):
    plain = sequence.upper().replace("U", "T")
    assert np.array_equal(nucleotides.encode(sequence, 100), nucleotides.encode(plain, 100))


def test_encode_gives_every_code_its_own_token():
    tokens = nucleotides.encode(CODES, 100)
    assert len(set(tokens)) == len(CODES)
    assert nucleotides.PAD not in tokens
    assert nucleotides.MASK not in tokens


def test_encode_cuts_after_max_bp():
    assert np.array_equal(nucleotides.encode("ACGTA", 3), [1, 2, 3])


@pytest.mark.parametrize(
    ("sequence", "message"),
    [
        ("", "the sequence is empty"),
        ("ACXGT", "'X' at position 3 is not a nucleotide"),
        ("AC-GT", "'-' at position 3 .*remove gaps"),
        ("ACéGT", "'é' at position 3"),
        ("AC GT", "' ' at position 3"),
    ],
)
def test_encode_refuses(sequence, message):
    with pytest.raises(ValueError, match=message):
        nucleotides.encode(sequence, 10)


def test_encode_refuses_beyond_max_bp_too():
    with pytest.raises(ValueError, match="position 12"):
        nucleotides.encode("A" * 11 + "!", 10)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("ACGT", True), ("acgu", True), ("NRY", True), ("", False), ("1109", False), ("AC-T", False)],
)
def test_is_sequence(text, expected):
    assert nucleotides.is_sequence(text) is expected


def test_composition_mixes_the_bases_of_ambiguous_codes():
    rows = nucleotides.composition()
    assert np.allclose(np.delete(rows.sum(axis=1), nucleotides.PAD), 1)
    assert not rows[nucleotides.PAD].any()
    purine = rows[nucleotides.encode("R", 1)[0]]
    assert purine.tolist() == [0.5, 0, 0.5, 0, 0]


def test_reverse_complement_reads_the_other_strand():
    both = {"ACGTN": "NACGT", "AAG": "CTT", "RYSWKMBDHVN": "NBDHVKMWSRY", "": ""}
    rows, expected = (np.zeros((len(both), 12), dtype=np.uint8) for _ in range(2))
    for i, (forward, backward) in enumerate(both.items()):
        for array, text in ((rows, forward), (expected, backward)):
            if text:
                array[i, : len(text)] = nucleotides.encode(text, 12)
    np.testing.assert_array_equal(nucleotides.reverse_complement(rows), expected)
    np.testing.assert_array_equal(nucleotides.reverse_complement(expected), rows)
