"""An ensemble on disk: directories of models side by side, and a list of them (torch-free).

::

    ensemble.json   format version, and the SHA-256 of each member's config.json
    members/1/      a model directory, as `model_directory` has it
    members/2/

The functions take the directory of a single model as well, as that of its only member.
"""

import hashlib
import json
import os
from pathlib import Path

import q2_aam
from q2_aam.core.artifact import model_directory
from q2_aam.core.artifact.model_directory import ArtifactError, SavedConfig
from q2_aam.core.model.members import MAX_MEMBERS, check_members
from q2_aam.core.options.strict_json import parse, require_keys

INDEX, MEMBERS = "ensemble.json", "members"
FORMAT_VERSION = 1
MAX_INDEX_BYTES = 2**16
N_HEX = 64
"""Digits of a SHA-256 in hexadecimal."""


def is_ensemble(directory: str | Path) -> bool:
    """Tell whether a directory is laid out as an ensemble, sound or not."""
    return any(os.path.lexists(Path(directory) / name) for name in (INDEX, MEMBERS))


def validate(directory: str | Path, level: str = "max") -> list[SavedConfig]:
    """Check the directory of an ensemble or of a model.

    Parameters
    ----------
    directory : path
    level : {'min', 'max'}
        As in `model_directory.validate`, for each member.

    Returns
    -------
    list of SavedConfig
        Of each member, or of the model.

    Raises
    ------
    ArtifactError
        With the first thing that is wrong.
    """
    directory = Path(directory)
    if not is_ensemble(directory):
        return [model_directory.validate(directory, level)]
    return _check(directory, lambda member: model_directory.validate(member, level))


def read_configs(directory: str | Path) -> list[SavedConfig]:
    """Read and check what the members of an ensemble are, or a model: ``config.json`` alone.

    Raises
    ------
    ArtifactError
        If it is not what this or an older release wrote.
    """
    directory = Path(directory)
    if not is_ensemble(directory):
        return [model_directory.read_config(directory)]
    return _check(directory, model_directory.read_config)


def member_directories(directory: str | Path) -> list[Path]:
    """List the directories of the members of an ensemble, or that of a model.

    Raises
    ------
    ArtifactError
        If ``ensemble.json`` is not sound.
    """
    directory = Path(directory)
    if not is_ensemble(directory):
        return [directory]
    return _folders(directory, len(_read_index(directory)))


def write_index(directory: Path, n_members: int) -> None:
    """Write ``ensemble.json`` for so many members, which are written."""
    members = [_checksum_of(folder) for folder in _folders(directory, n_members)]
    document = {"format_version": FORMAT_VERSION, "members": members}
    (directory / INDEX).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _folders(directory: Path, n_members: int) -> list[Path]:
    return [directory / MEMBERS / str(number) for number in range(1, n_members + 1)]


def _check(directory: Path, check_member) -> list[SavedConfig]:
    try:
        model_directory.check_entries(directory, {INDEX}.__contains__, 2, folders={MEMBERS})
        checksums = _read_index(directory)
        folders = _folders(directory, len(checksums))
        if not (directory / MEMBERS).is_dir():
            raise ArtifactError(f"the folder {MEMBERS} is missing")
        names = {folder.name for folder in folders}
        model_directory.check_entries(directory / MEMBERS, _nothing, len(names), folders=names)
    except OSError as error:
        raise ArtifactError(f"{directory} cannot be read: {error.strerror}") from error
    found = [
        _check_member(folder, checksum, check_member)
        for folder, checksum in zip(folders, checksums, strict=True)
    ]
    try:
        check_members([saved.spec for saved in found])
    except ValueError as error:
        raise ArtifactError(str(error)) from error
    return found


def _nothing(name: str) -> bool:
    return False


def _check_member(folder: Path, checksum: str, check_member) -> SavedConfig:
    try:
        saved = check_member(folder)
        if _checksum_of(folder) != checksum:
            raise ArtifactError(
                f"its {model_directory.CONFIG} does not match its checksum in {INDEX}: one of "
                "them was damaged or exchanged, so get the ensemble again from where it came from"
            )
    except ArtifactError as error:
        raise ArtifactError(f"Member {folder.name} of the ensemble: {error}") from error
    return saved


def _checksum_of(folder: Path) -> str:
    config = folder / model_directory.CONFIG
    data = model_directory.read_file(config, model_directory.MAX_CONFIG_BYTES)
    return hashlib.sha256(data).hexdigest()


def _read_index(directory: Path) -> list[str]:
    """Return the checksums of the members."""
    data = model_directory.read_file(directory / INDEX, MAX_INDEX_BYTES)
    try:
        document = parse(data)
        require_keys(document, ("format_version", "members"), "it")
        _check_version(document["format_version"])
        members = document["members"]
        if not isinstance(members, list) or not 0 < len(members) <= MAX_MEMBERS:
            raise ValueError(f"members must be a list of 1 to {MAX_MEMBERS} checksums")
        for value in members:
            if not isinstance(value, str) or len(value) != N_HEX:
                raise ValueError(
                    f"members must be texts of {N_HEX} digits, found {str(value)[:40]!r}"
                )
    except ValueError as error:
        raise ArtifactError(f"{INDEX}: {error}") from error
    return members


def _check_version(found) -> None:
    if type(found) is not int or found < 1:
        raise ValueError(f"format_version must be an integer from 1 on, found {str(found)[:40]}")
    if found > FORMAT_VERSION:
        raise ValueError(
            f"this ensemble has format version {found}, and q2-aam {q2_aam.__version__} reads "
            f"versions up to {FORMAT_VERSION}: update q2-aam"
        )
