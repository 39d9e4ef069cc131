"""Whether the encoder in a model directory is the one that ships (torch-free)."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors import safe_open

from q2_aam.core.artifact import model_directory
from q2_aam.core.artifact.shipped.name import NAME

DIRECTORY = Path(__file__).parent / NAME
BASE = "base_model."


def is_shipped(directory: str | Path) -> bool:
    """Tell whether a model's encoder has the weights of the encoder that ships, all of them.

    So it is where training began with that encoder and did not change it.

    Parameters
    ----------
    directory : path
        A model directory, of a model of any kind.
    """
    spec = model_directory.read_config(directory).spec
    # The option dropout is none of the encoder: it may differ.
    shipped = model_directory.read_config(DIRECTORY).spec.model
    if replace(spec.model, dropout=shipped.dropout) != shipped:
        return False
    prefix = "" if spec.target is None else BASE
    weights = model_directory.WEIGHTS
    with (
        safe_open(DIRECTORY / weights, framework="numpy") as ours,
        safe_open(Path(directory) / weights, framework="numpy") as theirs,
    ):
        there = set(theirs.keys())
        return all(
            f"{prefix}{name}" in there
            and np.array_equal(_single(ours, name), theirs.get_tensor(f"{prefix}{name}"))
            for name in ours.keys()  # noqa: SIM118 - it is no dictionary
        )


def _single(file, name: str) -> np.ndarray:
    value = file.get_tensor(name)
    return value.astype(np.float32) if value.dtype.kind == "f" else value
