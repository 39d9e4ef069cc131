"""A digest that tells runs apart."""

import numpy as np
import pytest

from q2_aam.core.training.preparation.fingerprint import fingerprint


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tree.nwk"
    path.write_text("(a:1,b:1);")
    return path


def test_fingerprint_is_the_same_for_equal_parts(file):
    parts = ({"lr": 0.1, "epochs": 3}, np.arange(4), ("s1", "s2"), b"x", file, None)
    again = ({"epochs": 3, "lr": 0.1}, np.arange(4), ["s1", "s2"], b"x", file, None)
    assert fingerprint(*parts) == fingerprint(*again)


def test_fingerprint_of_arrays_does_not_depend_on_their_memory():
    values = np.arange(12).reshape(3, 4)
    assert fingerprint(values) == fingerprint(np.asfortranarray(values))
    assert fingerprint(values[:, ::2]) == fingerprint(values[:, ::2].copy())


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (["ab", "c"], ["a", "bc"]),
        ([b"ab", b"c"], [b"a", b"bc"]),
        ([np.arange(4)], [np.arange(4).reshape(2, 2)]),
        ([np.arange(4)], [np.arange(4.0)]),
        ([np.zeros(4, np.int32)], [np.zeros(2, np.int64)]),
        ([None], ["null"]),
        ([1], [True]),
        ([["a", "b"]], ["a", "b"]),
        ([{"lr": 0.1}], [{"lr": 0.1 + 1e-16}]),
    ],
)
def test_fingerprint_tells_parts_apart(a, b):
    assert fingerprint(*a) != fingerprint(*b)


def test_fingerprint_follows_the_content_of_a_file(file, tmp_path):
    before = fingerprint(file)
    copy = tmp_path / "copy.nwk"
    copy.write_bytes(file.read_bytes())
    assert fingerprint(copy) == before
    file.write_text("(a:1,b:2);")
    assert fingerprint(file) != before
