"""A model directory as data from strangers: what is in it, and whether it is sound (torch-free).

::

    config.json          what the model is, the packages that made it, checksums
    weights.safetensors  tensors only
    history.tsv          one row an epoch
    samples.tsv          what each sample was used for; it may be absent
    tensorboard/         event files, which are never opened here

Nothing in it is executed, unpickled or followed to another place, and nothing is read or allocated
on the word of the file alone: sizes are bounded first, and the tensors must be those that the
configuration implies.
"""

import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

import q2_aam
from q2_aam.core.artifact import history_file, samples_file, weights_file
from q2_aam.core.data import messages
from q2_aam.core.model.specification import ModelSpec
from q2_aam.core.model.tensor_shapes import tensor_shapes
from q2_aam.core.options.strict_json import parse, require_keys

CONFIG, WEIGHTS, HISTORY = "config.json", "weights.safetensors", "history.tsv"
SAMPLES = "samples.tsv"
NAMES = CONFIG, WEIGHTS, HISTORY, SAMPLES
EVENTS = "tensorboard"
EVENT_FILE = r"events\.out\.tfevents\.[^/\x00-\x1f\x7f]{1,200}"
FORMAT_VERSION = 1
MAX_CONFIG_BYTES = 2 * 2**20
MAX_EVENT_FILES = 10_000
MAX_TEXTS, MAX_TEXT = 100, 200
MAX_MESSAGE = 600

MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""By format version: what turns a configuration of that version into one of the next."""


class ArtifactError(ValueError):
    """A model directory that cannot be used, and what is wrong with it.

    Parameters
    ----------
    message : str
        It may quote the directory's content, so it is shortened.
    """

    def __init__(self, message: str):
        if len(message) > MAX_MESSAGE:
            message = f"{message[:MAX_MESSAGE]} …"
        super().__init__(f"{message.rstrip('.')}.")


@dataclass(frozen=True)
class SavedConfig:
    """The content of ``config.json``.

    Parameters
    ----------
    spec : ModelSpec
    versions : dict of str to str
        Packages that made the model.
    checksums : dict of str to str
        SHA-256 of the other files by name, in hexadecimal.
    warnings : tuple of str
        What the training of the model warned of.
    """

    spec: ModelSpec
    versions: dict[str, str]
    checksums: dict[str, str]
    warnings: tuple[str, ...] = ()

    def render(self) -> bytes:
        """Write the configuration as JSON, with a checksum of its own."""
        document = {"format_version": FORMAT_VERSION, **self.spec.to_dict()}
        document["versions"] = self.versions
        document["warnings"] = list(self.warnings)
        document["checksums"] = {CONFIG: _checksum(document), **self.checksums}
        text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
        return f"{text}\n".encode()


def validate(directory: str | Path, level: str = "max") -> SavedConfig:
    """Check a model directory.

    Parameters
    ----------
    directory : path
    level : {'min', 'max'}
        At 'min' the files, the configuration, and the names, types, shapes and sizes of the
        tensors; at 'max' also all values and checksums.

    Returns
    -------
    SavedConfig

    Raises
    ------
    ArtifactError
        With the first thing that is wrong.
    """
    directory = Path(directory)
    try:
        _check_listing(directory)
        saved = read_config(directory)
        _check_weights(directory, saved, level)
        _check_history(directory, saved, level)
        _check_samples(directory, saved, level)
    except ArtifactError:
        raise
    except ValueError as error:
        raise ArtifactError(str(error)) from error
    except OSError as error:
        raise ArtifactError(f"{directory} cannot be read: {error.strerror}") from error
    return saved


def read_config(directory: str | Path) -> SavedConfig:
    """Read and check ``config.json`` alone.

    Raises
    ------
    ArtifactError
        If it is not what this or an older release wrote.
    """
    data = read_file(Path(directory) / CONFIG, MAX_CONFIG_BYTES)
    try:
        document = parse(data)
        if not isinstance(document, dict):
            raise ValueError("must be an object")
    except ValueError as error:
        raise ArtifactError(f"{CONFIG} {error}") from error
    try:
        return _saved_config(document)
    except ArtifactError:
        raise
    except ValueError as error:
        raise ArtifactError(f"{CONFIG}: {error}") from error


def read_history(directory: str | Path) -> pd.DataFrame:
    """Read and check ``history.tsv`` alone.

    Returns
    -------
    pandas.DataFrame
        One row an epoch: 'epoch' of int64, the others of float64.

    Raises
    ------
    ArtifactError
        If it is not a table of numbers with increasing epochs.
    """
    data = read_file(Path(directory) / HISTORY, history_file.MAX_BYTES)
    try:
        return history_file.parse(data)
    except ValueError as error:
        raise ArtifactError(str(error)) from error


def read_samples(directory: str | Path) -> pd.DataFrame | None:
    """Read and check ``samples.tsv`` alone.

    Returns
    -------
    pandas.DataFrame, optional
        By sample id: 'role', and 'reason' where a sample is left out. None if the model does not
        say it.

    Raises
    ------
    ArtifactError
        If it is not a table of samples.
    """
    if not os.path.lexists(Path(directory) / SAMPLES):
        return None
    data = read_file(Path(directory) / SAMPLES, samples_file.MAX_BYTES)
    try:
        return samples_file.parse(data)
    except ValueError as error:
        raise ArtifactError(str(error)) from error


def event_files(directory: str | Path) -> dict[str, Path]:
    """List the event files of a model directory by name; they are not opened."""
    folder = Path(directory) / EVENTS
    return {path.name: path for path in sorted(folder.iterdir())} if folder.is_dir() else {}


def file_checksum(path: str | Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(weights_file.BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _saved_config(document: dict[str, Any]) -> SavedConfig:
    checksum = _checksum(document)
    document = _migrate(document)
    apart = ("format_version", "versions", "warnings", "checksums")
    rest = {name: document.pop(name) for name in apart if name in document}
    spec = ModelSpec.from_dict(document)
    if spec.compares != (spec.stored is not None):
        raise ValueError("it must have stored samples if stored_samples is above 0, and only then")
    require_keys(rest, apart, "it")
    _check_texts(rest["versions"], "versions", {"q2_aam"})
    checksums = dict(_check_texts(rest["checksums"], "checksums", {CONFIG, WEIGHTS, HISTORY}))
    if checksums.pop(CONFIG) != checksum:
        raise ValueError(
            "its content does not match the checksum in it: it was damaged or edited, so get the "
            "model again from where it came from"
        )
    return SavedConfig(spec, rest["versions"], checksums, _checked_warnings(rest["warnings"]))


def _migrate(document: dict[str, Any]) -> dict[str, Any]:
    """Bring a configuration of an older release into the present form."""
    found = document.get("format_version")
    if type(found) is not int or found < min({FORMAT_VERSION, *MIGRATIONS}):
        raise ValueError(f"format_version must be an integer from 1 on, found {str(found)[:40]}")
    if found > FORMAT_VERSION:
        raise ValueError(
            f"this model has format version {found}, and q2-aam {q2_aam.__version__} reads "
            f"versions up to {FORMAT_VERSION}: update q2-aam"
        )
    document = dict(document)
    for version in range(found, FORMAT_VERSION):
        try:
            document = MIGRATIONS[version](document)
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise ValueError(
                f"it is not as format version {version} has it ({error!r})"
            ) from error
    return document


def _checksum(document: dict[str, Any]) -> str:
    """Return the SHA-256 of a configuration, whatever the layout of its text."""
    content = {name: value for name, value in document.items() if name != "checksums"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _check_texts(values, where: str, required: set[str]) -> dict[str, str]:
    if not isinstance(values, dict) or not required <= set(values) or len(values) > MAX_TEXTS:
        raise ValueError(f"{where} must be an object with {', '.join(sorted(required))}")
    for name, value in values.items():
        if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
            raise ValueError(
                f"{where} must be texts of at most {MAX_TEXT} characters, found {str(value)[:40]} "
                f"for {name[:40]!r}"
            )
    return values


def _checked_warnings(values) -> tuple[str, ...]:
    if not isinstance(values, list) or len(values) > messages.MOST:
        raise ValueError(f"warnings must be a list of at most {messages.MOST} texts")
    for value in values:
        if not isinstance(value, str) or not 0 < len(value) <= messages.LONGEST:
            raise ValueError(
                f"warnings must be texts of at most {messages.LONGEST} characters, found "
                f"{str(value)[:40]!r}"
            )
    return tuple(values)


def _check_weights(directory: Path, saved: SavedConfig, level: str) -> None:
    with _open(directory / WEIGHTS) as (file, size):
        layout = weights_file.read_layout(file, size, tensor_shapes(saved.spec))
        if level == "min":
            return
        if weights_file.digest_of_sound(file, layout) != saved.checksums[WEIGHTS]:
            raise ArtifactError(_damaged(WEIGHTS))


def _check_history(directory: Path, saved: SavedConfig, level: str) -> None:
    data = read_file(directory / HISTORY, history_file.MAX_BYTES)
    if level == "min":
        history_file.column_names(data)
        return
    history_file.parse(data)
    if hashlib.sha256(data).hexdigest() != saved.checksums[HISTORY]:
        raise ArtifactError(_damaged(HISTORY))


def _check_samples(directory: Path, saved: SavedConfig, level: str) -> None:
    is_there, is_signed = os.path.lexists(directory / SAMPLES), SAMPLES in saved.checksums
    if is_there != is_signed:
        what = "is there, but has no checksum" if is_there else "is missing, but has a checksum"
        raise ArtifactError(f"{SAMPLES} {what} in {CONFIG}: get the model again")
    if not is_there:
        return
    data = read_file(directory / SAMPLES, samples_file.MAX_BYTES)
    if level == "min":
        samples_file.check_header(data)
        return
    samples_file.parse(data)
    if hashlib.sha256(data).hexdigest() != saved.checksums[SAMPLES]:
        raise ArtifactError(_damaged(SAMPLES))


def _damaged(name: str) -> str:
    return (
        f"{name} does not match its checksum in {CONFIG}: one of them was damaged or exchanged, "
        "so get the model again from where it came from"
    )


def _check_listing(directory: Path) -> None:
    """Refuse anything that does not belong into a model directory, links above all."""
    if not directory.is_dir():
        found = "is a file" if directory.exists() else "does not exist"
        raise ArtifactError(
            f"{directory} {found}; a directory with {CONFIG}, {WEIGHTS} and {HISTORY} is needed, "
            "which 'qiime tools export' makes of a model artifact"
        )
    check_entries(directory, NAMES.__contains__, len(NAMES) + 1, folders={EVENTS})
    if (directory / EVENTS).is_dir():
        check_entries(directory / EVENTS, re.compile(EVENT_FILE).fullmatch, MAX_EVENT_FILES)


def check_entries(directory: Path, belongs, at_most: int, folders=frozenset()) -> None:
    """Refuse entries of a directory that do not belong there, links, and what is no file.

    Parameters
    ----------
    directory : path
    belongs : callable
        Tells whether a file may have a name.
    at_most : int
        Number of entries.
    folders : set of str
        Names that are those of folders, not of files.

    Raises
    ------
    ArtifactError
    """
    with os.scandir(directory) as entries:
        for n, entry in enumerate(entries):
            name = repr(entry.name)[:300]
            if entry.is_symlink():
                raise ArtifactError(f"{name} is a symbolic link, which a model must not have")
            as_it_should_be = entry.is_dir() if entry.name in folders else belongs(entry.name)
            if n >= at_most or not as_it_should_be:
                raise ArtifactError(f"{name} does not belong in a model directory; remove it")
            if entry.name not in folders and not entry.is_file():
                raise ArtifactError(f"{name} must be an ordinary file")


def read_file(path: Path, limit: int) -> bytes:
    """Read an ordinary file of at most so many bytes.

    Raises
    ------
    ArtifactError
        If it is missing, too large, a link, or no file.
    """
    with _open(path) as (file, size):
        if size > limit:
            raise ArtifactError(f"{path.name} has {size} bytes, more than the {limit} allowed")
        return file.read(limit)


@contextmanager
def _open(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Open an ordinary file, neither following links nor waiting for a pipe; give its size too."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{path.name} is missing: this is not a model directory, or it is incomplete"
        ) from error
    except OSError as error:
        link = error.errno == errno.ELOOP
        reason = "it is a symbolic link" if link else error.strerror
        raise ArtifactError(f"{path.name} cannot be read: {reason}") from error
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ArtifactError(f"{path.name} must be an ordinary file")
        yield file, status.st_size
