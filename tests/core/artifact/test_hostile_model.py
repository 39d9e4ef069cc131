"""Model directories as a stranger might make them: each is refused, at both levels of validation.

All are tried in one process that has an address space of one GiB, and for each of them a second of
the processor's time. Nothing in them is executed, and their event files are not even opened.
"""

import json
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from model_files import (
    EVENT_NAME,
    edit_config,
    read_header,
    small_model,
    small_spec,
    write_header,
)

from q2_aam.core.artifact import (
    history_file,
    model_directory,
    samples_file,
    storage,
    weights_file,
)
from q2_aam.core.data.splits.roles import MAX_ID_BYTES, MAX_SAMPLES
from q2_aam.core.data.target import MAX_CLASSES, MAX_NAME, CategoricalTarget
from q2_aam.core.model.specification import CLASSIFIER, REGRESSOR
from q2_aam.core.model.tensor_shapes import tensor_shapes

LEVELS = ("min", "max")
GIB = 2**30
TENSOR = "base_model.log_scale"
EVENT = f"tensorboard/{EVENT_NAME}"

TRY_ALL = """
import json, signal, sys
from q2_aam.core.artifact import model_directory

def too_long(*arguments):
    raise TimeoutError("more than a second of the processor's time")

def attempt(directory, level):
    signal.setitimer(signal.ITIMER_PROF, 1)
    try:
        model_directory.validate(directory, level)
        return "accepted"
    except model_directory.ArtifactError as error:
        return str(error)
    except BaseException as error:
        return f"not refused but {error!r}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)

signal.signal(signal.SIGPROF, too_long)
print(json.dumps([attempt(*case) for case in json.load(sys.stdin)]))
"""


def content(name, data):
    """Make a function that replaces a file of a model."""
    return lambda model: (model / name).write_bytes(data)


def bytes_of(name, change):
    """Make a function that changes the bytes of a file of a model."""
    return lambda model: (model / name).write_bytes(change((model / name).read_bytes()))


def flipped(at):
    """Make a function that flips a bit of the weights."""

    def flip(data):
        changed = bytearray(data)
        changed[at] ^= 1
        return bytes(changed)

    return bytes_of("weights.safetensors", flip)


def huge(name, n_bytes=2**42):
    """Make a function that makes a file terabytes long; it takes no room on the disk."""

    def grow(model):
        with open(model / name, "r+b") as file:
            file.truncate(n_bytes)

    return grow


def header(change):
    """Make a function that changes the header of the weights, with checksums that fit."""

    def forge(model):
        entries, body = read_header(model)
        change(entries)
        write_header(model, entries, body)

    return forge


def raw_header(data):
    return content("weights.safetensors", struct.pack("<Q", len(data)) + data)


def claims_terabytes(entries):
    for entry in entries.values():
        entry.update(shape=[2**20, 2**20], data_offsets=[0, 2**42])


def value(number):
    """Make a function that puts a number into the weights, with checksums that fit."""

    def forge(model):
        entries, body = read_header(model)
        at = entries[TENSOR]["data_offsets"][0]
        write_header(model, entries, body[:at] + struct.pack("<f", number) + body[at + 4 :])

    return forge


def config(*path, put):
    """Make a function that puts a value into the configuration, with checksums that fit."""

    def change(document):
        *parents, last = path
        for name in parents:
            document = document[name]
        document[last] = put

    return lambda model: edit_config(model, change)


def without(*path):
    def change(document):
        *parents, last = path
        for name in parents:
            document = document[name]
        del document[last]

    return lambda model: edit_config(model, change)


def linked(name, target=None):
    """Make a function that puts a symbolic link in the place of a file or folder."""

    def link(model):
        elsewhere = model.parent / "elsewhere"
        (model / name).rename(elsewhere)
        (model / name).symlink_to(target or elsewhere)

    return link


def pipe(name):
    def put(model):
        (model / name).unlink()
        os.mkfifo(model / name)

    return put


M, H, W = model_directory.MAX_CONFIG_BYTES, history_file.MAX_BYTES, weights_file.MAX_HEADER_BYTES
S = samples_file.HEADER + b"\n"
CLASSES = [str(i) for i in range(M // 12)]
REFUSED = {
    # weights
    "weights-empty": (content("weights.safetensors", b""), "has 0 bytes and cannot have a header"),
    "weights-cut-in-the-header": (
        bytes_of("weights.safetensors", lambda d: d[:99]),
        "a header of",
    ),
    "weights-cut-by-a-byte": (bytes_of("weights.safetensors", lambda d: d[:-1]), "was cut off"),
    "weights-added-to": (bytes_of("weights.safetensors", lambda d: d + b"x"), "or added to"),
    "weights-bit-of-the-length": (flipped(7), "cannot have a header of"),
    "weights-bit-of-the-header": (flipped(8), "header of weights.safetensors is not JSON"),
    "weights-terabytes": (huge("weights.safetensors"), "found 4398046511104: it was cut off or"),
    "header-claims-terabytes": (header(claims_terabytes), "found F32 of shape .1048576, 1048576"),
    "header-of-exabytes": (
        content("weights.safetensors", struct.pack("<Q", 2**62) + b"{}"),
        "cannot have a header of 4611686018427387904 bytes",
    ),
    "header-with-overlaps": (
        header(lambda entries: entries[TENSOR].update(data_offsets=[0, 4])),
        "tensors must lie side by side",
    ),
    "tensor-missing": (header(lambda entries: entries.pop(TENSOR)), f"1 missing, .*{TENSOR}"),
    "tensor-extra": (
        header(lambda entries: entries.update(extra=entries[TENSOR])),
        r"1 that it must not have, such as \['extra'\]",
    ),
    "tensor-of-another-shape": (
        header(lambda entries: entries[TENSOR].update(shape=[1])),
        r"must be F32 of shape \[\] by config.json, found F32 of shape \[1\]",
    ),
    "tensor-of-another-type": (
        header(lambda entries: entries[TENSOR].update(dtype="I32")),
        r"must be F32 of shape \[\] by config.json, found I32",
    ),
    # configurations
    "config-key-unknown": (config("surprise", put=1), r"unknown keys \['surprise'\]"),
    "config-key-missing": (without("model", "max_bp"), r"missing keys \['max_bp'\]"),
    "config-section-missing": (without("reads"), r"missing keys \['reads'\]"),
    "config-billion-layers": (
        config("model", "attention_layers", put=10**9),
        "attention_layers must be at most 64, found 1000000000",
    ),
    "config-billion-wide": (
        config("model", "embedding_dim", put=10**9),
        "embedding_dim must be at most 4096",
    ),
    "config-billion-nucleotides": (config("model", "max_bp", put=10**9), "max_bp must be at most"),
    "config-rate-negative": (config("training", "lr", put=-1), "lr must be at least"),
    "config-rate-text": (config("training", "lr", put="1e-4"), "lr must be of type float"),
    "config-more-layers-than-tensors": (
        config("model", "attention_layers", put=3),
        "does not have the tensors of the model in config.json: .* missing",
    ),
    "config-fewer-layers-than-tensors": (
        config("model", "attention_layers", put=1),
        "does not have the tensors of the model in config.json: .* must not have",
    ),
    "config-wider-than-tensors": (
        config("model", "embedding_dim", put=16),
        "by config.json, found F32 of shape",
    ),
    "config-largest-model": (
        lambda model: edit_config(
            model,
            lambda document: document["model"].update(embedding_dim=4096, attention_layers=64),
        ),
        "does not have the tensors of the model in config.json",
    ),
    "config-of-another-kind": (config("kind", put=CLASSIFIER), "section 'fine_tuning'"),
    "config-newer": (
        config("format_version", put=model_directory.FORMAT_VERSION + 1),
        "reads versions up to .*: update q2-aam",
    ),
    "config-not-utf-8": (bytes_of("config.json", lambda d: d + b"\xff"), "is not UTF-8 text"),
    "config-utf-16": (
        bytes_of("config.json", lambda d: d.decode().encode("utf-16")),
        "is not UTF-8 text",
    ),
    "config-pickled": (content("config.json", b"\x80\x04cos\nsystem\n."), "is not UTF-8|not JSON"),
    "config-terabytes": (huge("config.json"), "has 4398046511104 bytes, more than"),
    "config-deep": (content("config.json", b'{"":' * (M // 4)), "nested deeper than 8"),
    "config-of-lists": (
        content("config.json", b"[" + b"[]," * (M // 3 - 2) + b"1]"),
        "config.json must be an object",
    ),
    "config-of-keys": (
        content("config.json", b'{"' + b'":1,"'.join(c.encode() for c in CLASSES) + b'":1}'),
        "format_version must be an integer from 1 on, found None",
    ),
    "config-of-one-number": (content("config.json", b"9" * M), "integer of more than 18 digits"),
    # histories
    "history-terabytes": (huge("history.tsv"), "has 4398046511104 bytes, more than"),
    "history-of-columns": (
        content("history.tsv", b"epoch" + b"\t" * (H - 6) + b"\n"),
        "must begin with a line of different column names|must have at most 500 columns",
    ),
    # samples
    "samples-terabytes": (huge("samples.tsv"), "has 4398046511104 bytes, more than"),
    "samples-of-lines": (
        content("samples.tsv", S + b"\n" * (samples_file.MAX_BYTES - len(S))),
        f"has more than the {MAX_SAMPLES} lines",
    ),
    "samples-without-an-end": (
        content("samples.tsv", S + b"a" * (samples_file.MAX_BYTES - len(S))),
        "must end with a line feed",
    ),
    "samples-with-another-header": (content("samples.tsv", b"a\n"), "must begin with the line"),
    "samples-gone": (lambda m: (m / "samples.tsv").unlink(), "is missing, but has a checksum"),
    "samples-not-signed": (without("checksums", "samples.tsv"), "is there, but has no checksum"),
    # headers at the limit of their size
    "header-of-lists": (raw_header(b"[" + b"[]," * (W // 3 - 2) + b"1]"), "is not an object"),
    "header-of-tensors": (
        raw_header(b'{"' + b'":{},"'.join(b"%d" % i for i in range(W // 13)) + b'":{}}'),
        f"{W // 13} that it must not have",
    ),
    # files that are none, or too many
    **{
        f"link-{name}": (linked(name), "is a symbolic link, which a model must not have")
        for name in ("config.json", "weights.safetensors", "history.tsv", "tensorboard", EVENT)
    },
    "link-samples": (linked("samples.tsv"), "'samples.tsv' is a symbolic link"),
    "link-to-nothing": (linked("history.tsv", "nowhere"), "'history.tsv' is a symbolic link"),
    "link-without-end": (linked("history.tsv", "history.tsv"), "'history.tsv' is a symbolic link"),
    "link-to-zeros": (linked("weights.safetensors", "/dev/zero"), "is a symbolic link"),
    **{
        f"pipe-{name}": (pipe(name), "must be an ordinary file")
        for name in ("config.json", "weights.safetensors", "history.tsv", "samples.tsv", EVENT)
    },
    "pickle-added": (content("weights.pkl", b"\x80\x04."), "'weights.pkl' does not belong in"),
    "module-added": (content("tensorboard/sitecustomize.py", b""), "does not belong in"),
}
REFUSED_AT_MAX = {
    "weights-bit-of-a-value": (flipped(-4), "weights.safetensors does not match its checksum"),
    "value-nan": (value(np.nan), f"'{TENSOR}' that are NaN or infinite"),
    "value-infinite": (value(np.inf), f"'{TENSOR}' that are NaN or infinite"),
    "value-minus-infinite": (value(-np.inf), f"'{TENSOR}' that are NaN or infinite"),
    "history-of-rows": (
        content("history.tsv", b"epoch\tx\n" + b"1\t1\n" * (H // 4 - 2)),
        "epochs that are not increasing integers",
    ),
    "history-of-cells": (
        content(
            "history.tsv",
            b"epoch\t%s\n" % b"\t".join(b"%d" % i for i in range(499))
            + b"".join(b"%d%s\n" % (i, b"\t1" * 499) for i in range(H // 1010)),
        ),
        "history.tsv does not match its checksum",
    ),
    "samples-of-most-lines": (
        content("samples.tsv", S + b"".join(b"%d\ttraining\t\n" % i for i in range(MAX_SAMPLES))),
        "samples.tsv does not match its checksum",
    ),
    "samples-of-long-ids": (
        content("samples.tsv", S + (b"a" * MAX_ID_BYTES + b"\ttraining\t\n") * 33_000),
        "has the id 'a+' twice",
    ),
    "samples-of-tabs": (
        content("samples.tsv", S + b"\t" * (samples_file.MAX_BYTES - len(S) - 1) + b"\n"),
        "must have an id of at most",
    ),
    "samples-of-control": (content("samples.tsv", S + b"a\x1b[2J\ttraining\t\n"), "control char"),
    "samples-of-another-role": (content("samples.tsv", S + b"a\ttest\t\n"), "in line 2"),
    "history-of-text": (bytes_of("history.tsv", lambda d: d + b"5\tx\ty\n"), "is not a number"),
}
ACCEPTED = {
    "sound": lambda model: None,
    "event-files-of-terabytes": huge(EVENT),
    "event-files-of-nonsense": content(EVENT, b"\x80\x04cos\nsystem\n(S'exit 1'\ntR."),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    directory = tmp_path_factory.mktemp("hostile") / "model"
    storage.save(small_model(REGRESSOR), directory)
    return directory


def limited(code, given):
    """Run a program with an address space of one GiB; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(given),
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (GIB, GIB)),
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def outcome(saved, tmp_path_factory):
    """Return what validation says of each model, by name and level."""
    spoilt = {name: spoil for name, (spoil, _) in (REFUSED | REFUSED_AT_MAX).items()} | ACCEPTED
    folder = tmp_path_factory.mktemp("spoilt")
    cases = []
    for name, spoil in spoilt.items():
        model = folder / name.replace("/", "-") / "model"
        shutil.copytree(saved, model)
        spoil(model)
        cases += [(name, level, str(model)) for level in LEVELS]
    said = limited(TRY_ALL, [(model, level) for _, level, model in cases])
    return {case[:2]: text for case, text in zip(cases, said, strict=True)}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", REFUSED)
def test_hostile_models_are_refused(outcome, name, level):
    assert re.search(REFUSED[name][1], outcome[name, level])
    assert_is_a_sentence(outcome[name, level])


@pytest.mark.parametrize("name", REFUSED_AT_MAX)
def test_what_only_shows_in_the_values_is_refused_at_level_max(outcome, name):
    assert outcome[name, "min"] == "accepted"
    assert re.search(REFUSED_AT_MAX[name][1], outcome[name, "max"])
    assert_is_a_sentence(outcome[name, "max"])


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", ACCEPTED)
def test_sound_models_are_accepted_whatever_their_event_files(outcome, name, level):
    assert outcome[name, level] == "accepted"


def assert_is_a_sentence(text):
    assert text.endswith(".")
    assert "\n" not in text
    assert len(text) < 700


WATCH = """
import json, sys
from q2_aam.core.artifact import model_directory, storage
from q2_aam.core.api import module_of

def use(directory):
    model_directory.validate(directory, "max")
    module_of(storage.load(directory), "cpu")

model, seen = json.load(sys.stdin), []
use(model)  # a first time, so that what is imported late is imported
WATCHED = {"open", "exec", "compile", "import", "pickle.find_class", "marshal.loads",
           "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "ctypes.dlopen"}

def note(event, arguments):
    if event in WATCHED and not isinstance(arguments[0], int):  # no handle of what is open
        seen.append([event, str(arguments[0])])

sys.addaudithook(note)
use(model)
print(json.dumps(seen))
"""


def test_loading_executes_nothing_and_opens_no_event_file(saved):
    done = subprocess.run(
        [sys.executable, "-c", WATCH],
        input=json.dumps(str(saved)),
        check=True,
        capture_output=True,
        text=True,
    )
    seen = json.loads(done.stdout)
    assert {event for event, _ in seen} == {"open"}
    opened = {path for _, path in seen}
    assert opened == {str(saved / name) for name in model_directory.NAMES}


def test_the_largest_models_are_within_the_limits():
    """Whatever trains can be saved: the limits of options lie below those of files."""
    names = tuple(f"{i:05}😀" for i in range(MAX_CLASSES))
    spec = small_spec(CLASSIFIER)
    largest = replace(
        spec,
        model=replace(spec.model, embedding_dim=4096, attention_layers=64, max_bp=10_000),
        target=CategoricalTarget("😀" * MAX_NAME, names),
    )
    checksums = dict.fromkeys(model_directory.NAMES, "0" * 64)
    config = model_directory.SavedConfig(largest, {"q2_aam": "1"}, checksums)
    assert len(config.render()) < model_directory.MAX_CONFIG_BYTES
    entries = {
        name: {"dtype": info.dtype, "shape": info.shape, "data_offsets": [10**12, 10**12]}
        for name, info in tensor_shapes(largest).items()
    }
    assert len(json.dumps(entries)) < weights_file.MAX_HEADER_BYTES
