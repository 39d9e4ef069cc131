"""JSON from strangers: bounded depth and numbers, no repeated keys, nothing beyond the standard.

The standard library's parser takes NaN, repeated keys, integers of any length and nesting up to
the interpreter's recursion limit. Callers bound the size.
"""

import json
import math

import numpy as np

MAX_DEPTH = 8
MAX_DIGITS = 18  # any such integer fits into 64 bits


def parse(data: bytes):
    """Parse a JSON text.

    Parameters
    ----------
    data : bytes
        UTF-8 without a byte order mark.

    Returns
    -------
    dict, list, str, int, float, bool or None

    Raises
    ------
    ValueError
        If the text is not UTF-8, not JSON, nested deeper than `MAX_DEPTH`, or has a key twice in
        one object, a number that is not finite, an integer of more than `MAX_DIGITS` digits, or a
        lone surrogate.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 text (byte {error.start})") from error
    if _depth(data) > MAX_DEPTH:
        raise ValueError(f"is nested deeper than {MAX_DEPTH} levels")
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_real,
            parse_constant=_constant,
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON ({error.msg} in line {error.lineno})") from error
    if b"\\u" in data:
        _refuse_surrogates(value)
    return value


def require_keys(values, keys, where: str) -> None:
    """Refuse anything but a JSON object that has exactly the given keys.

    Raises
    ------
    ValueError
        Naming what is unknown and what is missing.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{where} must be an object, found {type(values).__name__}")
    unknown, missing = sorted(set(values) - set(keys)), sorted(set(keys) - set(values))
    if unknown or missing:
        parts = [f"unknown keys {unknown}"] * bool(unknown)
        parts += [f"missing keys {missing}"] * bool(missing)
        raise ValueError(f"{where} has {' and '.join(parts)}")


def _depth(data: bytes) -> int:
    """Count the levels of nesting without parsing, so that no parser recurses too far."""
    marks = np.frombuffer(data.replace(b"\\\\", b"").replace(b'\\"', b""), np.uint8)
    outside = np.cumsum(marks == ord('"'), dtype=np.int64) % 2 == 0
    step = np.zeros(len(marks), np.int64)
    for mark, change in ("[", 1), ("{", 1), ("]", -1), ("}", -1):
        step[(marks == ord(mark)) & outside] = change
    return int(step.cumsum().max(initial=0))


def _object(pairs):
    values = dict(pairs)
    if len(values) < len(pairs):
        seen = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"has the key {twice!r} twice")
    return values


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_DIGITS:
        raise ValueError(f"has an integer of more than {MAX_DIGITS} digits")
    return int(digits)


def _real(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"has the number {digits[:20]}, which is beyond double precision")
    return value


def _constant(name: str):
    raise ValueError(f"has {name}, which is not a JSON number")


def _refuse_surrogates(value) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError("has a lone surrogate, which is not a character") from error
