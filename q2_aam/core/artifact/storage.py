"""The only reader and writer of model directories."""

import os
import re
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from q2_aam.core.artifact import (
    ensemble_directory,
    history_file,
    model_directory,
    samples_file,
)
from q2_aam.core.artifact.model_directory import ArtifactError, SavedConfig
from q2_aam.core.model.trained_model import Ensemble, TrainedModel


def save(model: TrainedModel | Ensemble, directory: str | Path) -> None:
    """Write a model or an ensemble so that it is either whole under its name or not there.

    Everything is written to a hidden directory beside, checked, flushed to the disk and then
    renamed.

    Parameters
    ----------
    model : TrainedModel or Ensemble
    directory : path
        New or empty.

    Raises
    ------
    ArtifactError
        If the directory is not empty or cannot be written, or the model is not sound: tensors
        that its specification does not imply, or values that are not finite.
    """
    directory = Path(directory).resolve()
    if directory.exists() and not (directory.is_dir() and not any(directory.iterdir())):
        raise ArtifactError(f"{directory} exists and is not an empty directory; choose another")
    partial = directory.with_name(f".{directory.name}.{uuid.uuid4().hex}.partial")
    try:
        partial.mkdir(parents=True)
        _write_either(model, partial)
        ensemble_directory.validate(partial)
        _put_in_place(partial, directory)
    except ArtifactError as error:
        raise ArtifactError(f"The model cannot be saved: {error}") from error
    except OSError as error:
        raise ArtifactError(
            f"The model cannot be written to {directory}: {error.strerror}"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def load(directory: str | Path) -> TrainedModel | Ensemble:
    """Read a model or an ensemble after checking all; nothing in it is executed or unpickled.

    Parameters
    ----------
    directory : path
        As `save` or an older release wrote it.

    Returns
    -------
    TrainedModel or Ensemble
        With weights in memory, on the processor.

    Raises
    ------
    ArtifactError
        If the directory is not that of a sound model.
    """
    directory = Path(directory)
    try:
        configs = ensemble_directory.validate(directory)
        folders = ensemble_directory.member_directories(directory)
        models = tuple(map(_read, folders, configs))
    except (ArtifactError, SafetensorError) as error:
        raise ArtifactError(f"The model in {directory} cannot be used: {error}") from error
    return Ensemble(models) if ensemble_directory.is_ensemble(directory) else models[0]


def _read(directory: Path, saved: SavedConfig) -> TrainedModel:
    """Read a model that is known to be sound."""
    table = model_directory.read_history(directory)
    samples = model_directory.read_samples(directory)
    mapped = load_file(directory / model_directory.WEIGHTS)
    # Mapped tensors would follow the file when it is changed or removed.
    weights = {name: tensor.clone() for name, tensor in mapped.items()}
    events = model_directory.event_files(directory)
    return TrainedModel(
        saved.spec, weights, table, events, saved.versions, saved.warnings, samples
    )


def _write_either(model: TrainedModel | Ensemble, directory: Path) -> None:
    if isinstance(model, TrainedModel):
        _write(model, directory)
        return
    for number, member in enumerate(model.members, start=1):
        folder = directory / ensemble_directory.MEMBERS / str(number)
        folder.mkdir(parents=True)
        _write(member, folder)
    ensemble_directory.write_index(directory, len(model.members))


def _write(model: TrainedModel, directory: Path) -> None:
    """Write the files, the configuration with the others' checksums last."""
    weights = {name: _plain(tensor) for name, tensor in sorted(model.weights.items())}
    weights_path, history_path = (
        directory / model_directory.WEIGHTS,
        directory / model_directory.HISTORY,
    )
    save_file(weights, weights_path)
    history_path.write_bytes(history_file.render(model.history))
    # safetensors writes for its user alone, whatever the umask says.
    weights_path.chmod(history_path.stat().st_mode & 0o777)
    _write_events(model.event_files, directory / model_directory.EVENTS)
    written = [weights_path, history_path]
    if model.samples is not None:
        written.append(directory / model_directory.SAMPLES)
        written[-1].write_bytes(samples_file.render(model.samples))
    checksums = {path.name: model_directory.file_checksum(path) for path in written}
    config = SavedConfig(model.spec, model.versions, checksums, model.warnings)
    (directory / model_directory.CONFIG).write_bytes(config.render())


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """Copy a tensor out of any view and off any device: safetensors refuses shared memory."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _write_events(event_files: Mapping[str, bytes | Path], folder: Path) -> None:
    for name, content in event_files.items():
        if not re.fullmatch(model_directory.EVENT_FILE, name):
            raise ArtifactError(f"{name!r} is not the name of a TensorBoard event file")
        folder.mkdir(exist_ok=True)
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            shutil.copyfile(content, folder / name)


def _put_in_place(partial: Path, directory: Path) -> None:
    """Flush all to the disk, then give it its name."""
    for path in [*partial.rglob("*"), partial]:
        _flush(path)
    if directory.exists():
        partial.chmod(directory.stat().st_mode & 0o7777)
        directory.rmdir()
    partial.rename(directory)
    _flush(directory.parent)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
