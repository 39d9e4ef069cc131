import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from q2_aam.core.options.strict_json import MAX_DEPTH, parse, require_keys

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner), max_leaves=20
)


@given(VALUES.filter(lambda value: str(value).count("[") + str(value).count("{") < MAX_DEPTH))
def test_parse_restores_what_json_writes(value):
    assert parse(json.dumps(value).encode()) == value


@given(st.text('[]{}"\\a,:', max_size=60))
def test_parse_agrees_with_the_library_or_refuses(text):
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError, match=r"is not JSON|is nested deeper"):
            parse(text.encode())
        return
    try:
        assert parse(text.encode()) == expected
    except ValueError as error:
        assert "deeper" in str(error) or "twice" in str(error)  # noqa: PT017


def test_parse_ignores_brackets_in_strings():
    text = '["\\\\\\"[[[[[[[[[[[[", "{{{{{{{{{{{{\\\\"]'
    assert parse(text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff{}", r"is not UTF-8 text \(byte 0\)"),
        (b"\xef\xbb\xbf{}", "is not JSON"),
        ('{"a": 1}'.encode("utf-16"), "is not UTF-8"),
        (b"", "is not JSON"),
        (b'{"a": 1', "is not JSON"),
        (b'{"a": 1, "a": 2}', "has the key 'a' twice"),
        (b'{"b": {"a": 1, "a": 1}}', "has the key 'a' twice"),
        (b"[NaN]", "has NaN, which"),
        (b"[-Infinity]", "has -Infinity, which"),
        (b"[1e999]", "has the number 1e999, which is beyond"),
        (b"[" + b"9" * 10**6 + b"]", "has an integer of more than 18 digits"),
        (b'["\\ud800"]', "has a lone surrogate"),
        (b"[" * 10**6, "is nested deeper than 8"),
        (b'{"a":' * 10**5, "is nested deeper than 8"),
        (b'["a\nb"]', "is not JSON"),
    ],
)
def test_parse_refuses(data, message):
    with pytest.raises(ValueError, match=message):
        parse(data)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "it must be an object, found list"),
        ({"a": 1, "b": 1, "c": 1}, r"it has unknown keys \['c'\]"),
        ({"a": 1}, r"it has missing keys \['b'\]"),
        ({"a": 1, "c": 1}, r"it has unknown keys \['c'\] and missing keys \['b'\]"),
    ],
)
def test_require_keys_names_what_is_wrong(values, message):
    with pytest.raises(ValueError, match=message):
        require_keys(values, ("a", "b"), "it")
