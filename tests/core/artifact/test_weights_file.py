import io
import json
import struct

import numpy as np
import pytest
from safetensors.numpy import save

from q2_aam.core.artifact.weights_file import MAX_HEADER_BYTES, digest_of_sound, read_layout
from q2_aam.core.model.tensor_shapes import TensorInfo

EXPECTED = {
    "a": TensorInfo("F32", (2, 3)),
    "b": TensorInfo("F32", ()),
    "n": TensorInfo("I32", (2,), low=-1, high=9, total=8),
}
ARRAYS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.array(0.5, np.float32),
    "n": np.array([-1, 9], np.int32),
}


def layout_of(data, expected=EXPECTED):
    return read_layout(io.BytesIO(data), len(data), expected)


def file_of(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def entry(begin, end, shape=(1,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def test_read_layout_accepts_what_safetensors_writes():
    data = save(ARRAYS, metadata={"format": "np"})
    layout = layout_of(data)
    assert sorted(t.name for t in layout.tensors) == ["a", "b", "n"]
    assert layout.start + sum(t.n_bytes for t in layout.tensors) == len(data)


def test_digest_of_sound_accepts_finite_values():
    data = save(ARRAYS)
    assert len(digest_of_sound(io.BytesIO(data), layout_of(data))) == 64


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_digest_of_sound_names_the_tensor(value):
    data = save({**ARRAYS, "b": np.array(value, np.float32)})
    with pytest.raises(ValueError, match="tensor 'b' that are NaN or infinite"):
        digest_of_sound(io.BytesIO(data), layout_of(data))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([-2, 9], "tensor 'n' that are not from -1 to 9"),
        ([0, 10], "tensor 'n' that are not from -1 to 9"),
        ([0, 9], "tensor 'n' whose sum is 9, where config.json implies 8"),
    ],
)
def test_digest_of_sound_holds_integers_to_their_bounds(values, message):
    data = save({**ARRAYS, "n": np.array(values, np.int32)})
    with pytest.raises(ValueError, match=message):
        digest_of_sound(io.BytesIO(data), layout_of(data))


def test_digest_of_sound_notices_a_file_that_shrinks():
    data = save(ARRAYS)
    with pytest.raises(ValueError, match="ends within tensor"):
        digest_of_sound(io.BytesIO(data[:-1]), layout_of(data))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: {**a, "c": a["b"]}, r"1 that it must not have, such as \['c'\]"),
        (lambda a: {"a": a["a"], "n": a["n"]}, r"1 missing, such as \['b'\]"),
        (lambda a: {**a, "a": a["a"].T.copy()}, r"F32 of shape \[2, 3\] by config.json, found"),
        (lambda a: {**a, "a": a["a"].astype(np.float64)}, r"found F64 of shape \[2, 3\]"),
        (lambda a: {**a, "n": a["n"].astype(np.int64)}, r"must be I32 .* found I64"),
    ],
)
def test_read_layout_refuses_other_tensors(change, message):
    with pytest.raises(ValueError, match=message):
        layout_of(save(change(ARRAYS)))


ONE = {"a": TensorInfo("F32", (1,))}
TWO = {"a": TensorInfo("F32", (1,)), "b": TensorInfo("F32", (1,))}


@pytest.mark.parametrize(
    ("header", "size", "message"),
    [
        ({"a": entry(0, 4), "b": entry(2, 6)}, 8, "'b' at byte 2 where byte 4 is next"),
        ({"a": entry(0, 4), "b": entry(0, 4)}, 8, "at byte 0 where byte 4 is next"),
        ({"a": entry(0, 4), "b": entry(8, 12)}, 12, "at byte 8 where byte 4 is next"),
        ({"a": entry(4, 8), "b": entry(8, 12)}, 12, "at byte 4 where byte 0 is next"),
        ({"a": entry(-4, 0), "b": entry(0, 4)}, 8, "at byte -4 where byte 0 is next"),
        ({"a": entry(0, 8), "b": entry(8, 12)}, 12, "must have 4 bytes, found data_offsets"),
        ({"a": entry(0, 2**50), "b": entry(2**50, 2**50 + 4)}, 8, "must have 4 bytes"),
        ({"a": entry(0, 4), "b": entry(4, 8)}, 7, "must have .* it was cut off"),
        ({"a": entry(0, 4), "b": entry(4, 8)}, 9, "must have .* added to"),
        ({"a": entry(0, 4), "b": entry(4, 8, [2**40])}, 8, "found F32 of shape"),
        ({"a": entry(0, 4), "b": entry(4, 8, [True])}, 8, "found F32 of shape"),
        ({"a": entry(0, 4), "b": {**entry(4, 8), "data_offsets": [4.0, 8]}}, 8, "must have 4"),
        ({"a": entry(0, 4), "b": {**entry(4, 8), "data_offsets": [4]}}, 8, "must have 4 bytes"),
        ({"a": entry(0, 4), "b": {**entry(4, 8), "extra": 1}}, 8, "unknown keys"),
        ({"a": entry(0, 4), "b": []}, 8, "must be an object, found list"),
        ({"a": entry(0, 4), "b": entry(4, 8), "__metadata__": {"a": 1}}, 8, "has metadata that"),
        ({"a": entry(0, 4), "b": entry(4, 8), "__metadata__": []}, 8, "has metadata that"),
        (b"[]", 8, "header of weights.safetensors is not an object"),
        (b'{"a": 1, "a": 2}', 8, "header of weights.safetensors has the key 'a' twice"),
        (b"\xff", 8, "header of weights.safetensors is not UTF-8"),
        (b"[" * 10**5, 8, "header of weights.safetensors is nested deeper"),
    ],
)
def test_read_layout_refuses_headers(header, size, message):
    with pytest.raises(ValueError, match=message):
        layout_of(file_of(header, bytes(size)), TWO)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2**40) + b"{}",
        struct.pack("<Q", 3) + b"{}",
        struct.pack("<Q", MAX_HEADER_BYTES + 1) + bytes(MAX_HEADER_BYTES + 1),
    ],
    ids=["empty", "one-byte", "2^63", "2^40", "one-too-many", "long"],
)
def test_read_layout_refuses_lengths(data):
    with pytest.raises(ValueError, match=r"cannot have a header of|header of weights.safetensors"):
        layout_of(data, ONE)
