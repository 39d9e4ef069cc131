import re
import shutil
import struct
import tempfile
import uuid
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import (
    EVENT_NAME,
    differences,
    edit_config,
    read_header,
    small_model,
    write_header,
)
from qiime2 import Artifact
from qiime2.plugin import ValidationError
from released_models import released

from q2_aam.core.artifact import model_directory, storage
from q2_aam.core.model.specification import CLASSIFIER, ENCODER, KINDS
from q2_aam.types.models import AAMModelDirectoryFormat


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    directory = tmp_path_factory.mktemp("formats") / "model"
    storage.save(small_model(CLASSIFIER), directory)
    return directory


@pytest.fixture
def model(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "model")


@pytest.fixture(scope="module")
def qza(saved, tmp_path_factory):
    imported = Artifact.import_data(f"AAMModel[{CLASSIFIER}]", str(saved))
    return imported.save(str(tmp_path_factory.mktemp("qza") / "model.qza"))


def not_a_number(model):
    header, body = read_header(model)
    begin = header["base_model.log_scale"]["data_offsets"][0]
    write_header(model, header, body[:begin] + struct.pack("<f", float("nan")) + body[begin + 4 :])


@pytest.mark.parametrize("kind", KINDS)
def test_format_is_what_checkpoint_writes(kind):
    view = AAMModelDirectoryFormat()
    storage.save(small_model(kind), str(view))
    view.validate("max")
    assert [str(path) for path, _ in view.events.iter_views(type(view).events.format)] == [
        f"tensorboard/{EVENT_NAME}"
    ]


def test_format_without_event_files_is_valid(model):
    shutil.rmtree(model / "tensorboard")
    AAMModelDirectoryFormat(model, mode="r").validate("max")


def test_format_reads_values_at_level_max_alone(model):
    not_a_number(model)
    view = AAMModelDirectoryFormat(model, mode="r")
    view.validate("min")
    with pytest.raises(ValidationError, match=r"'base_model.log_scale' that are NaN or infinite"):
        view.validate("max")


def newer(model):
    edit_config(model, lambda document: document.update(format_version=2))


def link(model):
    (model / "history.tsv").rename(model.parent / "history.tsv")
    (model / "history.tsv").symlink_to(model.parent / "history.tsv")


@pytest.mark.parametrize("level", ["min", "max"])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (newer, "update q2-aam"),
        (link, "'history.tsv' is a symbolic link"),
        (lambda m: (m / "config.json").unlink(), "config.json is missing"),
        (lambda m: (m / "config.json").write_bytes(b"{"), "config.json is not JSON"),
        (lambda m: (m / "model.pkl").write_bytes(b""), "Unrecognized file"),
        (lambda m: (m / ".pkl").write_bytes(b""), "'.pkl' does not belong"),
        (lambda m: (m / "configXjson").write_bytes(b""), "'configXjson' does not belong"),
        (lambda m: (m / "tensorboard" / "x.py").write_bytes(b""), "Unrecognized file"),
        (lambda m: (m / "weights.safetensors").write_bytes(b"\xff" * 99), "cannot have a header"),
    ],
)
def test_format_refuses(model, spoil, message, level):
    spoil(model)
    with pytest.raises(ValidationError, match=message):
        AAMModelDirectoryFormat(model, mode="r").validate(level)


@settings(max_examples=100, deadline=None)
@given(
    name=st.sampled_from(model_directory.NAMES),
    level=st.sampled_from(["min", "max"]),
    where=st.floats(0, 1),
    put=st.binary(max_size=3),
    gone=st.integers(0, 3),
)
def test_format_refuses_what_the_core_refuses(saved, name, level, where, put, gone):
    with tempfile.TemporaryDirectory() as folder:
        model = shutil.copytree(saved, Path(folder) / "model")
        data = (model / name).read_bytes()
        at = int(where * len(data))
        (model / name).write_bytes(data[:at] + put + data[at + gone :])
        view = AAMModelDirectoryFormat(model, mode="r")
        try:
            model_directory.validate(model, level)
        except model_directory.ArtifactError as error:
            with pytest.raises(ValidationError, match=re.escape(str(error))):
                view.validate(level)
        else:
            view.validate(level)


def test_artifact_round_trip(saved, qza):
    loaded = storage.load(str(Artifact.load(qza).view(AAMModelDirectoryFormat)))
    assert loaded.spec == small_model(CLASSIFIER).spec


def test_artifact_exports_what_was_imported(saved, qza, tmp_path):
    Artifact.load(qza).export_data(str(tmp_path / "export"))
    for path in saved.rglob("*"):
        if path.is_file():
            assert (tmp_path / "export" / path.relative_to(saved)).read_bytes() == (
                path.read_bytes()
            )


def test_artifact_import_checks_at_level_max(model):
    not_a_number(model)
    with pytest.raises(ValidationError, match="NaN or infinite"):
        Artifact.import_data(f"AAMModel[{CLASSIFIER}]", str(model))


def rewrite(qza, path, change):
    """Copy an artifact under a new UUID, passing its members through a function.

    QIIME 2 keeps what it has unpacked by UUID, so a copy under the old one would not be read.
    """
    new = str(uuid.uuid4())
    with zipfile.ZipFile(qza) as source, zipfile.ZipFile(path, "w") as target:
        members = {name: source.read(name) for name in source.namelist()}
        old = next(iter(members)).split("/")[0]
        root = {
            name.replace(old, new): d.replace(old.encode(), new.encode())
            for name, d in members.items()
        }
        for name, data in change(new, root).items():
            target.writestr(name, data)
    return str(path)


def test_artifact_rewritten_without_change_still_loads(qza, tmp_path):
    copy = rewrite(qza, tmp_path / "copy.qza", lambda root, members: members)
    Artifact.load(copy).view(AAMModelDirectoryFormat)


@pytest.mark.parametrize("escape", ["../../escaped", "data/../../../escaped", "/tmp/escaped-abs"])
def test_artifact_members_cannot_escape(qza, tmp_path, escape):
    """A member named to land elsewhere makes the load fail, or lands inside and is refused."""
    evil = rewrite(
        qza, tmp_path / "evil.qza", lambda root, ms: {**ms, f"{root}/{escape}": b"escaped"}
    )
    before = set(tmp_path.parent.iterdir())
    with pytest.raises((ValidationError, ValueError), match="escaped"):
        Artifact.load(evil).validate()
    assert set(tmp_path.parent.iterdir()) == before
    assert [path.name for path in tmp_path.iterdir()] == ["evil.qza"]


def test_artifact_with_a_stranger_in_its_data_is_refused(qza, tmp_path):
    evil = rewrite(
        qza, tmp_path / "evil.qza", lambda root, ms: {**ms, f"{root}/data/x.pkl": b"\x80\x04."}
    )
    with pytest.raises(ValidationError, match="Unrecognized file"):
        Artifact.load(evil).view(AAMModelDirectoryFormat)


def test_artifact_stored_link_is_not_followed(qza, tmp_path):
    """A symbolic link in a zip archive comes out as a file that holds its target."""

    def change(root, members):
        link = zipfile.ZipInfo(f"{root}/data/history.tsv")
        link.external_attr = 0o120777 << 16
        del members[link.filename]
        return {**members, link: b"/etc/passwd"}

    evil = Artifact.load(rewrite(qza, tmp_path / "evil.qza", change))
    with pytest.raises(ValidationError, match=r"symbolic link|history\.tsv must begin"):
        evil.view(AAMModelDirectoryFormat)


def test_artifact_of_one_kind_is_not_of_another(saved):
    with pytest.raises(ValidationError, match=f"not AAMModel.{ENCODER}.; import it as"):
        Artifact.import_data(f"AAMModel[{ENCODER}]", str(saved))


@pytest.mark.parametrize("kept", [0, 1, 1 / 3, 1 / 2, -30, -1])
def test_an_archive_cut_short_is_refused(qza, tmp_path, kept):
    """QIIME 2 writes archives under their final name, so a kill can leave half of one."""
    data = Path(qza).read_bytes()
    half = tmp_path / "half.qza"
    half.write_bytes(data[: int(kept * len(data)) if 0 < kept < 1 else kept])
    with pytest.raises((ValueError, zipfile.BadZipFile), match=r"."):
        Artifact.load(str(half)).view(AAMModelDirectoryFormat)


@pytest.mark.parametrize(
    "model", released(), ids=lambda model: f"{model.folder.name}-{model.name}"
)
def test_models_of_every_version_are_imported(model):
    kind = model_directory.read_config(model.directory).spec.kind
    imported = Artifact.import_data(f"AAMModel[{kind}]", str(model.directory))
    assert not differences(
        storage.load(str(imported.view(AAMModelDirectoryFormat))),
        storage.load(model.directory),
    )
