"""The file of weights, checked without loading it (torch-free).

A safetensors file is eight bytes with the length of its header, the header in JSON, and the
tensors' bytes. Accepted is only what the format's own writer makes: tensors side by side, without
gap or overlap, up to the end of the file.

References
----------
.. [1] https://github.com/huggingface/safetensors, section "Format".
"""

import hashlib
import math
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from q2_aam.core.model.tensor_shapes import TensorInfo
from q2_aam.core.options.strict_json import parse, require_keys

MAX_HEADER_BYTES = 2**20
"""The largest model that the options allow has a header of 0.6 MiB."""

ITEM_BYTES = {"F32": 4, "I32": 4, "U8": 1}
NUMPY_TYPES = {"F32": "<f4", "I32": "<i4", "U8": "u1"}
BLOCK_BYTES = 4 * 2**20

_LENGTH_BYTES = 8


@dataclass(frozen=True)
class Tensor:
    """A tensor in the file, in the order of their bytes.

    Parameters
    ----------
    name : str
    info : TensorInfo
    """

    name: str
    info: TensorInfo

    @property
    def n_bytes(self) -> int:
        """How many bytes it takes."""
        return math.prod(self.info.shape) * ITEM_BYTES[self.info.dtype]


@dataclass(frozen=True)
class Layout:
    """Where the tensors of a file are: side by side from an offset on."""

    start: int
    tensors: list[Tensor]


def read_layout(file: BinaryIO, size: int, expected: dict[str, TensorInfo]) -> Layout:
    """Read the header and hold it against the tensors that there must be.

    Parameters
    ----------
    file : binary file
        At its beginning.
    size : int
        Bytes of the file.
    expected : dict of str to TensorInfo
        The tensors by name.

    Raises
    ------
    ValueError
        If the header is not sound, or the tensors are others, or do not fill the file.
    """
    header, start = _read_header(file, size)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("weights.safetensors has metadata that is not a list of texts")
    _check_names(header, expected)
    places = [_place(name, header[name], info) for name, info in expected.items()]
    end, tensors = 0, []
    for begin, tensor in sorted(places, key=lambda place: place[0]):
        if begin != end:
            raise ValueError(
                f"weights.safetensors has tensor '{tensor.name}' at byte {begin} where byte {end} "
                "is next: tensors must lie side by side"
            )
        end += tensor.n_bytes
        tensors.append(tensor)
    if start + end != size:
        raise ValueError(
            f"weights.safetensors must have {start + end} bytes for its tensors, found {size}: it "
            "was cut off or added to"
        )
    return Layout(start, tensors)


def digest_of_sound(file: BinaryIO, layout: Layout) -> str:
    """Read all values in blocks, and return the SHA-256 of the file.

    Raises
    ------
    ValueError
        If a value is NaN, infinite or out of bounds, or the file ends early.
    """
    file.seek(0)
    digest = hashlib.sha256(file.read(layout.start))
    for tensor in layout.tensors:
        left, total = tensor.n_bytes, 0
        while left:
            block = file.read(min(BLOCK_BYTES, left))
            left -= len(block)
            if not block or len(block) % ITEM_BYTES[tensor.info.dtype]:
                raise ValueError(f"weights.safetensors ends within tensor '{tensor.name}'")
            total += _checked_sum(block, tensor)
            digest.update(block)
        if tensor.info.total not in (None, total):
            raise ValueError(
                f"weights.safetensors has values in tensor '{tensor.name}' whose sum is {total}, "
                f"where config.json implies {tensor.info.total}"
            )
    return digest.hexdigest()


def _checked_sum(block: bytes, tensor: Tensor) -> int:
    """Check a block of values; return their sum if they are integers."""
    where = f"weights.safetensors has values in tensor '{tensor.name}' that are"
    values, info = np.frombuffer(block, NUMPY_TYPES[tensor.info.dtype]), tensor.info
    if info.dtype == "F32":
        if not np.isfinite(values).all():
            raise ValueError(f"{where} NaN or infinite")
        return 0
    if values.min() < info.low or values.max() > info.high:
        raise ValueError(f"{where} not from {info.low} to {info.high}")
    return int(values.sum(dtype=np.int64))


def _read_header(file: BinaryIO, size: int) -> tuple[dict, int]:
    n = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    start = _LENGTH_BYTES + n
    if start > size or n > MAX_HEADER_BYTES:
        raise ValueError(
            f"weights.safetensors has {size} bytes and cannot have a header of {n} bytes (at most "
            f"{MAX_HEADER_BYTES} are allowed): it is damaged, or it is not a safetensors file"
        )
    try:
        header = parse(file.read(n))
        if not isinstance(header, dict):
            raise ValueError("is not an object")
    except ValueError as error:
        raise ValueError(f"The header of weights.safetensors {error}") from error
    return header, start


def _check_names(header: dict, expected: dict[str, TensorInfo]) -> None:
    extra, missing = sorted(set(header) - set(expected)), sorted(set(expected) - set(header))
    if extra or missing:
        parts = [f"{len(extra)} that it must not have, such as {extra[:1]}"] * bool(extra)
        parts += [f"{len(missing)} missing, such as {missing[:1]}"] * bool(missing)
        raise ValueError(
            "weights.safetensors does not have the tensors of the model in config.json: "
            f"{' and '.join(parts)}"
        )


def _place(name: str, entry, info: TensorInfo) -> tuple[int, Tensor]:
    """Check one entry of the header; return where the tensor begins, and the tensor."""
    where = f"tensor '{name}' of weights.safetensors"
    require_keys(entry, ("dtype", "shape", "data_offsets"), where)
    shape, offsets = entry["shape"], entry["data_offsets"]
    if entry["dtype"] != info.dtype or not _are_integers(shape) or shape != list(info.shape):
        raise ValueError(
            f"{where} must be {info.dtype} of shape {list(info.shape)} by config.json, found "
            f"{str(entry['dtype'])[:20]} of shape {str(shape)[:60]}"
        )
    tensor = Tensor(name, info)
    n_bytes = tensor.n_bytes
    if not _are_integers(offsets) or len(offsets) != 2 or offsets[1] - offsets[0] != n_bytes:
        found = str(offsets)[:60]
        raise ValueError(f"{where} must have {n_bytes} bytes, found data_offsets {found}")
    return offsets[0], tensor


def _are_integers(values) -> bool:
    return isinstance(values, list) and all(type(value) is int for value in values)
