"""Small models on disk, and ways to spoil them, for the tests of what reads them."""

import hashlib
import json
import struct
import time
from pathlib import Path

import pandas as pd
import torch

from q2_aam.core.artifact import model_directory, storage
from q2_aam.core.data.splits.roles import FEW_READS, NO_VALUE, roles_table
from q2_aam.core.data.target import CategoricalTarget, NumericTarget
from q2_aam.core.model.predictor import build
from q2_aam.core.model.specification import CLASSIFIER, ENCODER, REGRESSOR, ModelSpec, Reads
from q2_aam.core.options.config import (
    ClassificationConfig,
    DataConfig,
    ModelConfig,
    RegressionConfig,
    TrainConfig,
    UniFracConfig,
)

EVENT_NAME = "events.out.tfevents.1700000000.host.1.0"
FINE_TUNED = {
    ENCODER: {},
    REGRESSOR: {
        "fine_tuning": RegressionConfig(target_transform="log-zscore", stored_samples=0),
        "target": NumericTarget("age", "log-zscore", 1.0 / 3.0, 2.0e-5),
    },
    CLASSIFIER: {
        "fine_tuning": ClassificationConfig(stored_samples=0),
        "target": CategoricalTarget("größe", ("klein", "mittel", "groß")),
    },
}


def small_spec(kind: str = ENCODER) -> ModelSpec:
    """Specify a model of about ten thousand numbers, at layer and head counts of its own."""
    return ModelSpec(
        kind,
        ModelConfig(embedding_dim=8, attention_heads=2, attention_layers=2, max_bp=12),
        DataConfig(token_limit=77, rarefy_depth=5000),
        UniFracConfig(),
        TrainConfig(lr=1.0 / 3.0, random_seed=42),
        Reads(30, 200, 10, 12),
        **FINE_TUNED[kind],
    )


def small_model(kind: str = ENCODER) -> storage.TrainedModel:
    """Make a model with random weights."""
    spec = small_spec(kind)
    history = pd.DataFrame(
        {
            "epoch": [0, 1, 4],
            "train/total_loss": [1.0 / 3.0, 1e-300, 2.0],
            "val/total_loss": [float("nan"), 0.1, float("inf")],
        }
    )
    samples = roles_table(["a", "01"], ["größe 1"], {"#": NO_VALUE, "d": FEW_READS})
    events = {EVENT_NAME: b"\x00x"}
    return storage.TrainedModel(spec, build(spec).state_dict(), history, events, samples=samples)


def edit_config(directory: Path, change) -> None:
    """Change the configuration in place as a forger would, with checksums that fit."""
    path = directory / model_directory.CONFIG
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")
    sign(directory)


def sign(directory: Path) -> None:
    """Put the checksums of the files as they are into the configuration, if it has any."""
    path = directory / model_directory.CONFIG
    try:
        document = json.loads(path.read_bytes())
        checksums = document["checksums"]
        for name in (model_directory.WEIGHTS, model_directory.HISTORY, model_directory.SAMPLES):
            if name in checksums and (directory / name).is_file():
                data = (directory / name).read_bytes()
                checksums[name] = hashlib.sha256(data).hexdigest()
        content = {name: value for name, value in document.items() if name != "checksums"}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        checksums[model_directory.CONFIG] = hashlib.sha256(text.encode()).hexdigest()
        path.write_text(json.dumps(document), encoding="utf-8")
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return  # so spoilt that no checksum can be put into it


def read_header(directory: Path) -> tuple[dict, bytes]:
    """Return the header of the weights, and the bytes after it."""
    data = (directory / model_directory.WEIGHTS).read_bytes()
    (n,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + n]), data[8 + n :]


def write_header(directory: Path, header, body: bytes) -> None:
    """Write weights with any header, and make the checksums fit."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    (directory / model_directory.WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text + body)
    sign(directory)


def read_files(directory: Path) -> dict[str, bytes]:
    """Return the content of all files by their path in the directory."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def write_files(files: dict[str, bytes], directory: Path) -> None:
    """Write what `read_files` returned."""
    for name, data in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)


def load_or_refuse(directory: Path) -> storage.TrainedModel | None:
    """Load a model and see that it runs; None if it is refused. Anything else is a failure.

    So is taking more than a second: of the processor's time, whatever else the machine does.
    """
    loaded, started = None, time.process_time()
    try:
        model_directory.validate(directory, "min")
        loaded = storage.load(directory)
    except model_directory.ArtifactError as error:
        if len(str(error)) > 2000:
            raise RuntimeError("the message is too long") from error
    if time.process_time() - started > 1:
        raise RuntimeError("it took more than a second of the processor's time")
    if loaded is not None:
        build(loaded.spec).load_state_dict(loaded.weights)
    return loaded


def differences(a: storage.TrainedModel, b: storage.TrainedModel) -> list[str]:
    """Name what differs between two models, event files apart."""
    same = {
        "spec": a.spec == b.spec,
        "versions": a.versions == b.versions,
        "warnings": a.warnings == b.warnings,
        "history": a.history.equals(b.history),
        "samples": _lists(a) == _lists(b),
        "weights": set(a.weights) == set(b.weights)
        and all(torch.equal(a.weights[name], b.weights[name]) for name in a.weights),
    }
    return [name for name, is_same in same.items() if not is_same]


def _lists(model: storage.TrainedModel) -> list | None:
    return None if model.samples is None else list(model.samples.itertuples(name=None))
