"""A digest by which the same run is known again."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np


def fingerprint(*parts) -> str:
    """Return a digest of arrays, texts, bytes, paths (their content) and JSON values."""
    digest = hashlib.sha256()
    for part in parts:
        for kind, data in _pieces(part):
            digest.update(f"{kind}:{len(data)}:".encode())
            digest.update(data)
    return digest.hexdigest()


def _pieces(part) -> Iterator[tuple[str, bytes]]:
    if isinstance(part, np.ndarray) and part.dtype != object:
        yield f"{part.dtype.str}{part.shape}", np.ascontiguousarray(part).tobytes()
    elif isinstance(part, Path):
        yield "file", hashlib.sha256(part.read_bytes()).digest()
    elif isinstance(part, bytes):
        yield "bytes", part
    else:
        yield "json", json.dumps(part, sort_keys=True, default=str).encode()
