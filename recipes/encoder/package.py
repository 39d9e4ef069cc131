"""What goes into the package: the encoder in half precision, a sketch of the corpus, checksums."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from q2_aam.core.artifact import model_directory, storage
from q2_aam.core.artifact.shipped.encoder import RECIPE, SKETCH, SUMS
from q2_aam.core.data import nucleotides
from q2_aam.core.data.temporary_files import temporary_directory
from q2_aam.core.model.trained_model import TrainedModel
from recipes.encoder.corpus import METADATA, TABLE, TREE, Corpus

SKETCH_SIZE, LOOKED_AT, NEAR = 4096, 40_000, 0.9
"""Sequences of the sketch at most; how many of the most prevalent ASVs are looked at; and the
share of a sequence that is the same as in one of the sketch from which on it adds nothing."""


def put_into_package(model: TrainedModel, corpus: Corpus, recipe: dict, folder: Path) -> None:
    """Write what ships into a folder; its licence is left as it is.

    Parameters
    ----------
    model : TrainedModel
        Of kind SequenceEncoder.
    corpus : Corpus
        What it was trained on.
    recipe : dict
        What is recorded of how it was made.
    folder : path
    """
    folder.mkdir(parents=True, exist_ok=True)
    half = {name: _half(value) for name, value in model.weights.items()}
    rounded = {name: value.to(model.weights[name].dtype) for name, value in half.items()}
    with temporary_directory() as directory:
        whole = directory / "model"
        storage.save(replace(model, weights=rounded, event_files={}), whole)
        for name in (model_directory.CONFIG, model_directory.HISTORY):
            shutil.copyfile(whole / name, folder / name)
    save_file(half, folder / model_directory.WEIGHTS)
    letters = np.array(["?", *nucleotides.BASES])
    chosen = sketch_of(corpus)
    lines = ["".join(letters[row - nucleotides.FIRST_BASE + 1]) for row in chosen]
    (folder / SKETCH).write_text("\n".join(lines) + "\n")
    (folder / RECIPE).write_text(json.dumps(recipe, indent=2) + "\n")
    names = sorted(path.name for path in folder.iterdir() if path.name != SUMS)
    sums = "".join(f"{_sum(folder / name)}  {name}\n" for name in names)
    (folder / SUMS).write_text(sums)
    for path in folder.iterdir():
        path.chmod(0o644)


def sums_of_corpus(directory: str | Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a corpus by name."""
    return {name: _sum(Path(directory) / name) for name in (TABLE, TREE, METADATA)}


def sketch_of(corpus: Corpus) -> np.ndarray:
    """Choose sequences to which the others are near: (n, L) uint8, the most prevalent first."""
    table = corpus.table
    prevalence = np.bincount(table.counts.indices, minlength=len(table.feature_ids))
    bases = nucleotides.FIRST_BASE + np.arange(len(nucleotides.BASES), dtype=np.uint8)
    width = table.tokens.shape[1]
    kept = np.zeros((SKETCH_SIZE, width * len(bases)), dtype=np.float32)
    chosen = []
    for feature in np.argsort(-prevalence, kind="stable")[:LOOKED_AT]:
        row = table.tokens[feature]
        if not np.isin(row, bases).all():
            continue
        letters = (row[:, None] == bases).ravel().astype(np.float32)
        if not _is_near(letters, kept[: len(chosen)], len(bases)):
            kept[len(chosen)] = letters
            chosen.append(feature)
        if len(chosen) == SKETCH_SIZE:
            break
    return table.tokens[chosen]


def _is_near(letters: np.ndarray, kept: np.ndarray, n_bases: int) -> bool:
    """Whether a sequence is near to one that is kept, at its place or shifted by one or two.

    Some reads of the corpus begin a little before or after the others. They must not stand for it.
    """
    for by in (0, 1, 2):
        cells = len(letters) - by * n_bases
        later = kept[:, by * n_bases :] @ letters[:cells]
        earlier = kept[:, :cells] @ letters[by * n_bases :]
        most = max(later.max(initial=0), earlier.max(initial=0))
        if most >= NEAR * cells / n_bases:
            return True
    return False


def _half(value: torch.Tensor) -> torch.Tensor:
    return value.half().contiguous() if value.is_floating_point() else value


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
