"""Real model directories, spoilt at random: each is refused, or loads as what it was.

script/fuzz-artifact does the same for as long as one likes, guided by coverage.
"""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import (
    differences,
    load_or_refuse,
    read_files,
    read_header,
    sign,
    small_model,
    write_files,
    write_header,
)

from q2_aam.core.artifact import storage
from q2_aam.core.model.specification import KINDS

FILES = ("config.json", "weights.safetensors", "history.tsv", "samples.tsv")

JSON_VALUES = st.recursive(
    st.sampled_from([None, True, 0, -1, 1, 2**31, 10**30, 1e308, -0.5, "", "none", "\ud800", "0"])
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return the files of a model of each kind, and the model."""
    made = {}
    for kind in KINDS:
        directory = tmp_path_factory.mktemp("fuzz") / kind
        storage.save(small_model(kind), directory)
        made[kind] = (read_files(directory), storage.load(directory))
    return made


@st.composite
def damage(draw):
    """Draw a function that spoils the bytes of a file: flips, cuts, gaps, insertions."""
    where, length = draw(st.floats(0, 1)), draw(st.sampled_from([0, 1, 1, 4, 8, 100]))
    inserted = draw(st.binary(max_size=12))
    flip = draw(st.none() | st.integers(0, 7))

    def spoil(data: bytes) -> bytes:
        at = int(where * max(len(data) - 1, 0))
        if flip is not None and data:
            return data[:at] + bytes([data[at] ^ (1 << flip)]) + data[at + 1 :]
        return data[:at] + inserted + data[at + length :]

    return spoil


@settings(max_examples=200, deadline=None)
@given(
    kind=st.sampled_from(KINDS), name=st.sampled_from(FILES), spoils=st.lists(damage(), max_size=3)
)
def test_damaged_models_are_refused_or_load_as_they_were(models, kind, name, spoils):
    files, original = models[kind]
    data = files[name]
    for spoil in spoils:
        data = spoil(data)
    with tempfile.TemporaryDirectory() as directory:
        directory = Path(directory)
        write_files({**files, name: data}, directory)
        loaded = load_or_refuse(directory)
        assert loaded is None or not differences(loaded, original)


@settings(max_examples=100, deadline=None)
@given(
    kind=st.sampled_from(KINDS), name=st.sampled_from(FILES), spoils=st.lists(damage(), min_size=1)
)
def test_signed_damage_is_refused_or_runs(models, kind, name, spoils):
    files, _ = models[kind]
    data = files[name]
    for spoil in spoils:
        data = spoil(data)
    with tempfile.TemporaryDirectory() as directory:
        write_files({**files, name: data}, Path(directory))
        sign(Path(directory))
        load_or_refuse(Path(directory))


def paths(value, path=()):
    """List the paths to all places in a JSON value."""
    found = [path] if path else []
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            found += paths(inner, (*path, key))
    return found


@st.composite
def forgery(draw, document):
    """Draw a JSON document with some places changed, removed or added."""
    document = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 3))):
        *path, last = draw(st.sampled_from(paths(document)))
        place = document
        for key in path:
            place = place[key]
        action = draw(st.sampled_from(["change", "change", "remove", "add"]))
        if action == "change":
            place[last] = draw(JSON_VALUES)
        elif action == "remove":
            del place[last]
        elif isinstance(place, dict):
            place[draw(st.text(max_size=5))] = draw(JSON_VALUES)
        if not document:
            break
    return document


@settings(max_examples=200, deadline=None)
@given(kind=st.sampled_from(KINDS), data=st.data())
def test_forged_configurations_are_refused_or_run(models, kind, data):
    files, _ = models[kind]
    document = data.draw(forgery(json.loads(files["config.json"])))
    with tempfile.TemporaryDirectory() as directory:
        directory = Path(directory)
        write_files({**files, "config.json": json.dumps(document).encode()}, directory)
        sign(directory)
        load_or_refuse(directory)


@settings(max_examples=200, deadline=None)
@given(kind=st.sampled_from(KINDS), data=st.data())
def test_forged_headers_are_refused_or_load_as_they_were(models, kind, data):
    files, original = models[kind]
    with tempfile.TemporaryDirectory() as directory:
        directory = Path(directory)
        write_files(files, directory)
        header, body = read_header(directory)
        write_header(directory, data.draw(forgery(header)), body)
        loaded = load_or_refuse(directory)
        assert loaded is None or not differences(loaded, original)


@settings(max_examples=50, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    name=st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20),
    folder=st.sampled_from(["", "tensorboard/"]),
    content=st.binary(max_size=20),
)
def test_added_files_are_refused(models, kind, name, folder, content):
    files, _ = models[kind]
    added = folder + name
    if name in (".", "..", "tensorboard") or added in files:
        return
    with tempfile.TemporaryDirectory() as directory:
        write_files({**files, added: content}, Path(directory))
        assert load_or_refuse(Path(directory)) is None
