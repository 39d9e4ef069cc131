"""The encoder that ships, read from the package.

Its folder holds what a model directory holds, with weights in half precision, and beside that::

    LICENSE        CC BY-SA 3.0, and whose work is in the weights
    SHA256SUMS     a checksum of each other file
    recipe.json    the options that made it, and the sums of the corpus
    corpus.txt     a sketch of the corpus, one sequence a line
"""

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from q2_aam.core.artifact import history_file, model_directory
from q2_aam.core.artifact.shipped.name import NAME
from q2_aam.core.data import nucleotides
from q2_aam.core.model.specification import ModelSpec
from q2_aam.core.model.trained_model import TrainedModel

DIRECTORY = Path(__file__).parent / NAME
SUMS, SKETCH, LICENCE, RECIPE = "SHA256SUMS", "corpus.txt", "LICENSE", "recipe.json"


def spec() -> ModelSpec:
    """Say what the encoder is, without reading its weights."""
    return model_directory.read_config(DIRECTORY).spec


def load() -> TrainedModel:
    """Read the encoder.

    Returns
    -------
    TrainedModel
        Of kind SequenceEncoder, in single precision.

    Raises
    ------
    ValueError
        If a file of it is damaged.
    """
    check_files()
    saved = model_directory.read_config(DIRECTORY)
    weights = load_file(DIRECTORY / model_directory.WEIGHTS)
    return TrainedModel(
        saved.spec,
        {name: _single(value) for name, value in weights.items()},
        history_file.parse((DIRECTORY / model_directory.HISTORY).read_bytes()),
        versions=saved.versions,
    )


def _single(value: torch.Tensor) -> torch.Tensor:
    return value.float() if value.is_floating_point() else value


def check_files(directory: Path = DIRECTORY) -> None:
    """Compare each file with its checksum.

    Raises
    ------
    ValueError
        If a file is missing or another one.
    """
    for line in (directory / SUMS).read_text().splitlines():
        expected, name = line.split(maxsplit=1)
        path = directory / name
        found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        if found != expected:
            raise ValueError(
                f"The file '{name}' of the encoder that ships with q2-aam is damaged or missing "
                f"(in {directory}); install q2-aam again."
            )


@cache
def sketch() -> np.ndarray:
    """Return sequences that stand for the corpus, (n, L) uint8: its frequent ASVs are near to one.

    Those that begin a little before or after the others do not count.
    """
    lines = (DIRECTORY / SKETCH).read_text().split()
    return np.stack([nucleotides.encode(line, len(lines[0])) for line in lines])
