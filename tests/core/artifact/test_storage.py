import errno
import os
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from model_files import EVENT_NAME, small_model

from q2_aam.core.artifact import model_directory, storage
from q2_aam.core.artifact.model_directory import ArtifactError
from q2_aam.core.model import trained_model
from q2_aam.core.model.specification import KINDS, REGRESSOR
from q2_aam.core.model.trained_model import Ensemble


def contents(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_save_load_round_trip(kind, tmp_path):
    model = small_model(kind)
    storage.save(model, tmp_path / "model")
    loaded = storage.load(tmp_path / "model")
    assert loaded.spec == model.spec
    assert loaded.versions == model.versions
    assert set(loaded.weights) == set(model.weights)
    assert all(torch.equal(loaded.weights[name], model.weights[name]) for name in model.weights)
    pd.testing.assert_frame_equal(loaded.history, model.history, check_exact=True)
    assert {n: p.read_bytes() for n, p in loaded.event_files.items()} == model.event_files


def test_save_of_a_loaded_model_gives_the_same_files(tmp_path):
    storage.save(small_model(REGRESSOR), tmp_path / "a")
    storage.save(storage.load(tmp_path / "a"), tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_load_keeps_its_weights_when_the_file_changes(tmp_path):
    model = small_model()
    storage.save(model, tmp_path / "model")
    loaded = storage.load(tmp_path / "model")
    with open(tmp_path / "model" / "weights.safetensors", "r+b") as file:
        file.write(bytes(10_000))
    assert all(torch.equal(loaded.weights[name], model.weights[name]) for name in model.weights)


def test_save_takes_views_and_shared_tensors(tmp_path):
    model = small_model()
    names = ["pooling.value.weight", "sample_encoder.abundance.2.weight"]
    shared = torch.arange(64.0).reshape(8, 8)
    model.weights.update({names[0]: shared, names[1]: shared.T})
    storage.save(model, tmp_path / "model")
    loaded = storage.load(tmp_path / "model")
    assert torch.equal(loaded.weights[names[1]], shared.T)


def test_save_into_an_empty_directory_keeps_its_mode(tmp_path):
    (tmp_path / "model").mkdir(mode=0o750)
    storage.save(small_model(), tmp_path / "model")
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o750
    modes = {p.stat().st_mode for p in (tmp_path / "model").iterdir() if p.is_file()}
    assert len(modes) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_save_makes_missing_parents(tmp_path):
    storage.save(small_model(), tmp_path / "a" / "b" / "model")
    storage.load(tmp_path / "a" / "b" / "model")


def test_save_refuses_to_overwrite(tmp_path):
    storage.save(small_model(), tmp_path / "model")
    before = contents(tmp_path / "model")
    for kind in KINDS:
        with pytest.raises(ArtifactError, match="is not an empty directory; choose another"):
            storage.save(small_model(kind), tmp_path / "model")
    assert contents(tmp_path / "model") == before


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda w: {**w, "log_scale": torch.tensor(float("nan"))}, "'log_scale' that are NaN"),
        (lambda w: {**w, "log_scale": w["log_scale"].double()}, "must be F32 .* found F64"),
        (lambda w: {**w, "extra": torch.zeros(1)}, "must not have, such as"),
        (lambda w: {n: w[n] for n in w if n != "log_scale"}, "1 missing, such as"),
        (lambda w: {**w, "log_scale": torch.zeros(2)}, r"must be F32 of shape \[\]"),
    ],
)
def test_save_refuses_weights_that_load_would_refuse(tmp_path, spoil, message):
    model = small_model()
    with pytest.raises(ArtifactError, match=f"The model cannot be saved: .*{message}"):
        storage.save(replace(model, weights=spoil(model.weights)), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../escape", "events.out.tfevents.1/../../x", "run.py"])
def test_save_refuses_other_event_files(tmp_path, name):
    with pytest.raises(ArtifactError, match="is not the name of a TensorBoard event file"):
        storage.save(replace(small_model(), event_files={name: b""}), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_save_on_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match=r"cannot be written to .*: No space left on device"):
        storage.save(small_model(), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


STEPS = 20


@pytest.mark.parametrize("step", range(STEPS))
def test_save_killed_at_any_step_leaves_a_whole_model_or_none(tmp_path, step):
    """A child saves and is killed at the n-th call that touches the disk."""
    child = os.fork()
    if child == 0:
        _die_at(step)
        storage.save(small_model(), tmp_path / "model")
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    if (tmp_path / "model").exists():
        storage.load(tmp_path / "model")


@pytest.mark.parametrize("step", range(0, 36, 4))
def test_an_ensemble_killed_at_any_step_is_whole_or_not_there(tmp_path, step):
    child = os.fork()
    if child == 0:
        _die_at(step)
        storage.save(Ensemble.of([small_model(REGRESSOR)] * 2), tmp_path / "ensemble")
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    if (tmp_path / "ensemble").exists():
        assert len(storage.load(tmp_path / "ensemble").members) == 2


def _die_at(step):
    left = [step]

    def dying(function):
        def call(*arguments, **named):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return function(*arguments, **named)

        return call

    for owner, name in (
        (os, "fsync"),
        (Path, "mkdir"),
        (Path, "rename"),
        (Path, "rmdir"),
        (Path, "chmod"),
        (Path, "write_bytes"),
        (Path, "write_text"),
        (storage, "save_file"),
        (model_directory, "validate"),
    ):
        setattr(owner, name, dying(getattr(owner, name)))


def test_load_says_which_model_and_what_is_wrong(tmp_path):
    storage.save(small_model(), tmp_path / "model")
    (tmp_path / "model" / "history.tsv").unlink()
    with pytest.raises(ArtifactError, match=r"model in .*/model cannot be used: history.tsv is"):
        storage.load(tmp_path / "model")


def test_load_checks_before_it_reads(tmp_path, monkeypatch):
    storage.save(small_model(), tmp_path / "model")
    path = tmp_path / "model" / "weights.safetensors"
    path.write_bytes(path.read_bytes() + b"\x00")
    monkeypatch.setattr(storage, "load_file", lambda path: pytest.fail("was read"))
    with pytest.raises(ArtifactError, match="it was cut off or added to"):
        storage.load(tmp_path / "model")


def test_load_unpickles_nothing(tmp_path):
    """Reading works in an interpreter that has no way to unpickle."""
    storage.save(small_model(), tmp_path / "model")
    code = (
        "import sys, torch\n"
        "from q2_aam.core.artifact import storage\n"
        "import pickle, _pickle\n"
        "def refuse(*a, **k): raise SystemExit('unpickled')\n"
        "for owner in (pickle, _pickle):\n"
        "    owner.load = owner.loads = owner.Unpickler = refuse\n"
        "torch.load = refuse\n"
        "sys.addaudithook(lambda event, a: event == 'pickle.find_class' and refuse())\n"
        "storage.load(sys.argv[1])\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "model"], check=True)


def test_event_files_of_a_loaded_model_stay_where_they_are(tmp_path):
    storage.save(small_model(), tmp_path / "model")
    loaded = storage.load(tmp_path / "model")
    assert loaded.event_files == {EVENT_NAME: tmp_path / "model" / "tensorboard" / EVENT_NAME}


def test_package_versions_name_what_makes_models():
    versions = trained_model.package_versions()
    assert {"q2_aam", "python", "torch", "lightning", "numpy"} <= set(versions)
    assert versions["torch"].startswith(torch.__version__.split("+")[0])
