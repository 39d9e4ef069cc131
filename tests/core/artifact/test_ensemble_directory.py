"""Ensembles on disk: exact, and as strict as single models."""

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from heavy_imports import LIGHT, heavy_imports
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import differences, edit_config, read_files, sign, small_model, write_files

from q2_aam.core.artifact import ensemble_directory, model_directory, storage
from q2_aam.core.artifact.ensemble_directory import validate
from q2_aam.core.artifact.model_directory import ArtifactError
from q2_aam.core.data.target import CategoricalTarget
from q2_aam.core.model.members import MAX_MEMBERS
from q2_aam.core.model.specification import CLASSIFIER, KINDS, REGRESSOR
from q2_aam.core.model.trained_model import Ensemble

LEVELS = ["min", "max"]


def pair(kind=REGRESSOR):
    torch.manual_seed(0)
    return Ensemble.of([small_model(kind), small_model(kind)])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    directory = tmp_path_factory.mktemp("ensembles") / "ensemble"
    storage.save(pair(), directory)
    return directory


@pytest.fixture
def ensemble(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "ensemble")


@pytest.mark.parametrize("kind", [REGRESSOR, CLASSIFIER])
def test_save_load_round_trip(kind, tmp_path):
    made = pair(kind)
    storage.save(made, tmp_path / "a")
    loaded = storage.load(tmp_path / "a")
    assert isinstance(loaded, Ensemble)
    assert [differences(*each) for each in zip(loaded.members, made.members, strict=True)] == [
        [], []
    ]  # fmt: skip
    storage.save(loaded, tmp_path / "b")
    assert read_files(tmp_path / "a") == read_files(tmp_path / "b")
    assert set(read_files(tmp_path / "a")) == {
        "ensemble.json",
        *(f"members/{i}/{name}" for i in (1, 2) for name in read_files(tmp_path / "a/members/1")),
    }


def test_a_member_is_a_model_directory(saved):
    model = storage.load(saved / "members" / "2")
    assert not differences(model, storage.load(saved).members[1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_model_is_its_only_member(kind, tmp_path):
    storage.save(small_model(kind), tmp_path / "model")
    assert not ensemble_directory.is_ensemble(tmp_path / "model")
    assert validate(tmp_path / "model") == [model_directory.validate(tmp_path / "model")]
    assert ensemble_directory.read_configs(tmp_path / "model") == validate(tmp_path / "model")
    assert ensemble_directory.member_directories(tmp_path / "model") == [tmp_path / "model"]


@pytest.mark.parametrize("level", LEVELS)
def test_validate_returns_what_each_member_is(saved, level):
    found = validate(saved, level)
    assert [each.spec for each in found] == [member.spec for member in pair().members]
    assert ensemble_directory.read_configs(saved) == found


def test_validate_needs_no_torch(saved):
    code = (
        f"from q2_aam.core.artifact.ensemble_directory import validate; validate({str(saved)!r})"
    )
    assert heavy_imports(code, LIGHT) == []


def test_save_leaves_nothing_if_a_member_is_not_sound(tmp_path):
    first, second = pair().members
    spoilt = replace(second, weights={**second.weights, "extra": torch.zeros(1)})
    with pytest.raises(ArtifactError, match=r"cannot be saved: Member 2 .* must not have"):
        storage.save(Ensemble((first, spoilt)), tmp_path / "ensemble")
    assert list(tmp_path.iterdir()) == []


# ---- hostile directories -----------------------------------------------------------------------


def index(change):
    """Make a function that changes ensemble.json."""

    def forge(ensemble):
        path = ensemble / "ensemble.json"
        document = json.loads(path.read_bytes())
        change(document)
        path.write_text(json.dumps(document))

    return forge


def content(name, data):
    return lambda ensemble: (ensemble / name).write_bytes(data)


def linked(name):
    def link(ensemble):
        (ensemble / name).rename(ensemble.parent / "elsewhere")
        (ensemble / name).symlink_to(ensemble.parent / "elsewhere")

    return link


def huge(name):
    def grow(ensemble):
        with open(ensemble / name, "r+b") as file:
            file.truncate(2**42)

    return grow


def other_member(made):
    """Make a function that puts another model in the place of the second, with its checksum."""

    def put(ensemble):
        shutil.rmtree(ensemble / "members" / "2")
        storage.save(made(), ensemble / "members" / "2")
        ensemble_directory.write_index(ensemble, 2)

    return put


def of_another_column():
    model = small_model(REGRESSOR)
    return replace(model, spec=replace(model.spec, target=replace(model.spec.target, column="x")))


def exchanged(ensemble):
    """Put another sound model in the place of the second."""
    shutil.rmtree(ensemble / "members" / "2")
    storage.save(small_model(REGRESSOR), ensemble / "members" / "2")


def nested(ensemble):
    inner = shutil.copytree(ensemble, ensemble.parent / "inner")
    shutil.rmtree(ensemble / "members" / "2")
    inner.rename(ensemble / "members" / "2")


REFUSED = {
    "index-missing": (lambda e: (e / "ensemble.json").unlink(), "ensemble.json is missing"),
    "index-empty": (content("ensemble.json", b""), "ensemble.json: is not JSON"),
    "index-list": (content("ensemble.json", b"[]"), "ensemble.json: it must"),
    "index-terabytes": (huge("ensemble.json"), "has 4398046511104 bytes, more than"),
    "index-link": (linked("ensemble.json"), "'ensemble.json' is a symbolic link"),
    "index-newer": (index(lambda d: d.update(format_version=2)), "update q2-aam"),
    "index-version": (index(lambda d: d.update(format_version=True)), "format_version must be"),
    "index-unknown-key": (index(lambda d: d.update(x=1)), r"unknown keys \['x'\]"),
    "index-without-members": (index(lambda d: d.pop("members")), "missing keys"),
    "index-of-none": (index(lambda d: d.update(members=[])), "list of 1 to 100 checksums"),
    "index-of-many": (
        index(lambda d: d.update(members=["0" * 64] * (MAX_MEMBERS + 1))),
        "list of 1 to 100 checksums",
    ),
    "index-of-numbers": (index(lambda d: d.update(members=[1, 2])), "texts of 64 digits"),
    "index-of-paths": (index(lambda d: d.update(members=["../../x"] * 2)), "texts of 64 digits"),
    "index-of-fewer": (index(lambda d: d["members"].pop()), "'2' does not belong"),
    "index-of-more": (
        index(lambda d: d["members"].append("0" * 64)),
        "Member 3 of the ensemble: .* does not exist",
    ),
    "index-in-another-order": (
        index(lambda d: d["members"].reverse()),
        "Member 1 .* does not match its checksum in ensemble.json",
    ),
    "member-missing": (lambda e: shutil.rmtree(e / "members" / "1"), "Member 1 .* not exist"),
    "members-missing": (lambda e: shutil.rmtree(e / "members"), "folder members is missing"),
    "members-link": (linked("members"), "'members' is a symbolic link"),
    "member-link": (linked("members/1"), "'1' is a symbolic link"),
    "weights-link": (linked("members/1/weights.safetensors"), "Member 1 .*symbolic link"),
    "member-exchanged": (exchanged, "Member 2 .* does not match its checksum in ensemble.json"),
    "member-within-member": (nested, "Member 2 .* does not belong in a model directory"),
    "member-added": (
        lambda e: shutil.copytree(e / "members" / "1", e / "members" / "3"),
        "'3' does not belong",
    ),
    "file-added": (content("config.json", b"{}"), "'config.json' does not belong"),
    "pickle-added": (content("members/x.pkl", b"\x80\x04."), "'x.pkl' does not belong"),
    "pickle-added-to-a-member": (content("members/1/x.pkl", b""), "Member 1 .*'x.pkl' does not"),
    "weights-cut": (content("members/2/weights.safetensors", b""), "Member 2 .* has 0 bytes"),
    "config-edited": (
        lambda e: edit_config(e / "members" / "1", lambda d: d["training"].update(lr=0.5)),
        "Member 1 .* does not match its checksum in ensemble.json",
    ),
    "another-column": (
        other_member(of_another_column),
        "Model 1 of the ensemble predicts numbers of column 'age', and model 2 .*'x'",
    ),
    "another-kind": (other_member(lambda: small_model(CLASSIFIER)), "model 2 predicts classes of"),
    "an-encoder": (other_member(small_model), "Model 2 of the ensemble is a SequenceEncoder"),
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", REFUSED)
def test_hostile_ensembles_are_refused(ensemble, name, level):
    spoil, message = REFUSED[name]
    spoil(ensemble)
    with pytest.raises(ArtifactError, match=message) as raised:
        validate(ensemble, level)
    assert len(str(raised.value)) < 700
    with pytest.raises(ArtifactError, match=r"cannot be used"):
        storage.load(ensemble)


def test_a_flipped_bit_of_a_weight_is_refused_at_level_max(ensemble):
    path = ensemble / "members" / "2" / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-4] ^= 1
    path.write_bytes(data)
    validate(ensemble, "min")
    with pytest.raises(ArtifactError, match=r"Member 2 .*weights.safetensors does not match"):
        validate(ensemble, "max")


def test_classes_of_members_may_differ(tmp_path):
    model = small_model(CLASSIFIER)
    target = CategoricalTarget(model.spec.target.column, ("groß", "klein", "riesig"))
    other = replace(model, spec=replace(model.spec, target=target))
    storage.save(Ensemble((model, other)), tmp_path / "ensemble")
    assert len(storage.load(tmp_path / "ensemble").members) == 2


@settings(max_examples=60, deadline=None)
@given(
    number=st.integers(0, 6), where=st.floats(0, 1), put=st.binary(max_size=8),
    gone=st.integers(0, 8), signed=st.booleans(),
)  # fmt: skip
def test_damaged_ensembles_are_refused_or_load_as_they_were(
    saved, number, where, put, gone, signed
):
    files = {name: data for name, data in read_files(saved).items() if "tensorboard" not in name}
    name = sorted(files)[number]
    data = files[name]
    at = int(where * len(data))
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place) / "ensemble"
        write_files({**files, name: data[:at] + put + data[at + gone :]}, directory)
        if signed and "members" in name:
            sign((directory / name).parent)
        try:
            loaded = storage.load(directory)
        except ArtifactError:
            return
        for mine, true in zip(loaded.members, storage.load(saved).members, strict=True):
            assert not differences(mine, true)
