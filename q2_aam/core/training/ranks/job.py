"""What ranks are given and what they leave: plain data in a directory, without pickles.

``job.json`` says what is to be done, ``arrays.npz`` holds tables, targets and branches, and
``start.safetensors`` the weights to begin with. The first rank leaves ``trained.safetensors`` and
``history.json``. A rank that fails leaves ``failure-RANK.json``, and all leave their log.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from safetensors.torch import save as as_bytes
from scipy.sparse import csr_matrix

from q2_aam.core.data.mini_batches import References
from q2_aam.core.data.sample_table import SampleTable
from q2_aam.core.data.target import CategoricalTarget
from q2_aam.core.model.specification import ModelSpec
from q2_aam.core.options.config import Settings
from q2_aam.core.phylogeny.branches import BranchTable
from q2_aam.core.phylogeny.unifrac import UniFracTargets
from q2_aam.core.training.objective.losses import (
    Objective,
    fine_tuning_objective,
    pretraining_objective,
)
from q2_aam.core.training.preparation.phylogenetic_targets import LazyTargets, StoredTargets
from q2_aam.core.training.preparation.prepared_run import PreparedRun
from q2_aam.core.training.preparation.run_data import Pass, RunData, TrainingPasses

JOB, ARRAYS, START = "job.json", "arrays.npz", "start.safetensors"
TRAINED, HISTORY = "trained.safetensors", "history.json"
NO_ROOM = 74
"""Exit code of a rank that could not write a file."""
STOPPED = "stopped"
"""Is there if the ranks were asked to stop, and did."""


@dataclass(frozen=True)
class Job:
    """A job as a rank reads it.

    Parameters
    ----------
    spec : ModelSpec
    data : RunData
    objective : Objective
    variance : float, optional
        Of the phylogenetic targets; without it, no phylogeny is learnt.
    plan : dict
        What else `write` was told: where the run is kept, how it is shown, where the ranks are.
    """

    spec: ModelSpec
    data: RunData
    objective: Objective
    variance: float | None
    plan: dict

    @property
    def settings(self) -> Settings:
        """The options of the run."""
        spec = self.spec
        return Settings(spec.model, spec.data, spec.unifrac, spec.training, spec.fine_tuning)


def write(directory: Path, run: PreparedRun, weights: dict[str, torch.Tensor], plan: dict) -> None:
    """Write a job; what says that it is there is written last.

    Parameters
    ----------
    directory : Path
        There, and empty.
    run : PreparedRun
    weights : dict of str to Tensor
        State dictionary to begin with.
    plan : dict
        JSON values that ranks get as they are.
    """
    passes, held, phylogenetic = run.data.training, run.data.validation, run.phylogenetic
    arrays = _of_table("fixed", passes.first.table)
    arrays["tokens"] = passes.first.table.tokens
    arrays["feature_ids"] = np.array(passes.first.table.feature_ids)
    arrays |= _of_pass("training", passes.first)
    if run.data.data.rarefy_each_epoch:
        arrays |= _of_table("raw", passes.raw)
    if held is not None:
        arrays |= _of_table("held", held.table) | _of_pass("validation", held)
    if run.data.with_vectors is not None:
        arrays["with_vectors"] = run.data.with_vectors
    if run.data.references is not None:
        arrays["references"] = run.data.references.rows
    if phylogenetic is not None and isinstance(phylogenetic.training, LazyTargets):
        arrays |= _of_branches(phylogenetic.training.targets.branches)
    np.savez(directory / ARRAYS, **arrays)
    _write_weights(directory / START, weights)
    said = {
        "spec": run.spec.to_dict(),
        "variance": phylogenetic and phylogenetic.variance,
        "joining": run.data.references and run.data.references.joining,
        "masked": run.data.masked,
        "plan": plan,
    }
    write_json(directory / JOB, said)


def read(directory: Path) -> Job:
    """Read a job as `write` wrote it."""
    said = json.loads((directory / JOB).read_text())
    spec, variance = ModelSpec.from_dict(said["spec"]), said["variance"]
    with np.load(directory / ARRAYS, allow_pickle=False) as file:
        arrays = dict(file)
    fixed, references = _table("fixed", arrays), None
    if "references" in arrays:
        rows = arrays["references"]
        references = References(rows, said["joining"], fixed.take(rows))
    lazy = _lazy_targets(arrays, spec, references)
    first = _pass("training", fixed, arrays, lazy)
    raw = _table("raw", arrays) if "raw.data" in arrays else fixed
    training = TrainingPasses(first, raw, spec.data, spec.training.random_seed, references)
    held = None
    if "held.data" in arrays:
        held = _pass("validation", _table("held", arrays), arrays, lazy)
    vectors = arrays.get("with_vectors")
    data = RunData(training, held, spec.data, references, said["masked"], vectors)
    made = Job(spec, data, Objective(), variance, said["plan"])
    return Job(spec, data, _objective(made, first), variance, said["plan"])


def start_weights(directory: Path) -> dict[str, torch.Tensor]:
    """Read the weights to begin with."""
    return load_file(directory / START)


def leave_result(directory: Path, weights: dict[str, torch.Tensor], history: pd.DataFrame) -> None:
    """Leave what was trained."""
    _write_weights(directory / TRAINED, weights)
    write_json(directory / HISTORY, history.to_dict("records"))


def result(directory: Path) -> tuple[dict[str, torch.Tensor], pd.DataFrame] | None:
    """Read what was trained: weights and history; None if nothing was left."""
    if not (directory / HISTORY).exists():
        return None
    rows = json.loads((directory / HISTORY).read_text())
    weights = {name: value.clone() for name, value in load_file(directory / TRAINED).items()}
    return weights, pd.DataFrame(rows)


def write_json(path: Path, values) -> None:
    """Write a file so that it is whole under its name."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(values))
    partial.replace(path)


def _write_weights(path: Path, weights: dict[str, torch.Tensor]) -> None:
    """Write weights; where safetensors itself writes, it does not say why it cannot."""
    form = torch.contiguous_format
    plain = {name: w.detach().cpu().clone(memory_format=form) for name, w in weights.items()}
    path.write_bytes(as_bytes(plain))


def _of_table(name: str, table: SampleTable) -> dict[str, np.ndarray]:
    arrays = _of_matrix(name, table.counts) | {f"{name}.ids": np.array(table.sample_ids)}
    if table.covariates is not None:
        arrays[f"{name}.covariates"] = table.covariates
    return arrays


def _of_matrix(name: str, matrix: csr_matrix) -> dict[str, np.ndarray]:
    parts = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr}
    return {f"{name}.{part}": array for part, array in parts.items()} | {
        f"{name}.shape": np.array(matrix.shape)
    }


def _of_pass(name: str, part: Pass) -> dict[str, np.ndarray]:
    arrays = {} if part.targets is None else {f"{name}.targets": part.targets}
    others = {"groups": part.groups, "weights": part.weights}
    arrays |= {f"{name}.{n}": array for n, array in others.items() if array is not None}
    if isinstance(part.unifrac, StoredTargets):
        arrays[f"{name}.unifrac"] = part.unifrac.values  # noqa: PD011
        arrays["pairs"] = np.array(part.unifrac.pairs)
    return arrays


def _of_branches(branches: BranchTable) -> dict[str, np.ndarray]:
    others = {name: getattr(branches, name) for name in ("lengths", "parent", "tips")}
    return _of_matrix("above", branches.above) | {f"branch.{n}": v for n, v in others.items()}


def _matrix(name: str, arrays: dict) -> csr_matrix:
    parts = tuple(arrays[f"{name}.{part}"] for part in ("data", "indices", "indptr"))
    return csr_matrix(parts, shape=tuple(arrays[f"{name}.shape"]))


def _table(name: str, arrays: dict) -> SampleTable:
    ids = [tuple(arrays[key].tolist()) for key in (f"{name}.ids", "feature_ids")]
    covariates = arrays.get(f"{name}.covariates")
    return SampleTable(_matrix(name, arrays), *ids, arrays["tokens"], covariates)


def _pass(name: str, table: SampleTable, arrays: dict, lazy: LazyTargets | None) -> Pass:
    unifrac = lazy
    if f"{name}.unifrac" in arrays:
        unifrac = StoredTargets(arrays[f"{name}.unifrac"], bool(arrays["pairs"]))
    targets, groups, weights = (
        arrays.get(f"{name}.{part}") for part in ("targets", "groups", "weights")
    )
    return Pass(table, targets, unifrac, groups, weights)


def _lazy_targets(arrays, spec: ModelSpec, references: References | None) -> LazyTargets | None:
    if "branch.tips" not in arrays:
        return None
    parts = (arrays[f"branch.{name}"] for name in ("lengths", "parent", "tips"))
    features = tuple(arrays["feature_ids"].tolist())
    branches = BranchTable(_matrix("above", arrays), *parts, features)
    against = None if references is None else references.table.counts
    return LazyTargets(UniFracTargets(branches, spec.unifrac.metric, against))


def _objective(job: Job, first: Pass) -> Objective:
    target = job.spec.target
    if target is None:
        return pretraining_objective(job.settings, job.variance)
    values = None
    if isinstance(target, CategoricalTarget):
        values = [target.classes[number] for number in first.targets]
    return fine_tuning_objective(job.settings, target, values, job.variance)
