"""Faults while files are written: the last good state stays, and a sentence says how to go on."""

import errno
import itertools
import logging
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from model_files import small_model
from training_process import (
    OPTIONS,
    REFUSED,
    AtFileOperation,
    Job,
    _processes,
    end_unless,
    fill_disk,
    same_result,
)

from q2_aam.core import api
from q2_aam.core.artifact import model_directory, storage
from q2_aam.core.model.specification import KINDS
from q2_aam.core.training.loop import callbacks, checkpoints
from q2_aam.core.training.loop.checkpoints import SafeCheckpointIO
from q2_aam.core.training.objective.losses import Objective


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """Return the model that a run leaves to which nothing happens."""
    job = Job(tmp_path_factory.mktemp("unbroken"), options={"epochs": 3})
    assert job.finish() == 0
    return job.model


def tensors(path):
    return torch.load(path, weights_only=True)["weights"]


@pytest.fixture
def written(tmp_path):
    """Return the path of a checkpoint that was written without a fault."""
    SafeCheckpointIO().save_checkpoint({"weights": torch.arange(4)}, tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


FAULTS = {
    "while-writing": (checkpoints.torch, "save"),
    "while-flushing": (checkpoints.os, "fsync"),
    "while-renaming": (checkpoints.os, "replace"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    written, monkeypatch, fault, number
):
    def fail(*arguments, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(*FAULTS[fault], fail)
    with pytest.raises(OSError, match=os.strerror(number)):
        SafeCheckpointIO().save_checkpoint({"weights": torch.arange(9)}, written)
    monkeypatch.undo()
    assert tensors(written).tolist() == [0, 1, 2, 3]
    assert list(written.parent.iterdir()) == [written]


def test_a_checkpoint_with_weights_that_are_no_numbers_is_not_written(written):
    state = {
        "state_dict": {"head.bias": torch.tensor([1.0, float("nan")])},
        "optimizer_states": [{"param_groups": [{"lr": 0.5}]}],
        "global_step": 7,
        "epoch": 2,
    }
    with pytest.raises(ValueError, match=r"head.bias .* step 7 \(epoch 3, learning rate 0.5"):
        SafeCheckpointIO().save_checkpoint(state, written)
    assert tensors(written).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("kept", [0, 1, 100, 700])
def test_a_damaged_checkpoint_is_named(written, kept):
    written.write_bytes(written.read_bytes()[:kept])
    with pytest.raises(
        ValueError, match=r"checkpoint .*last.ckpt is damaged; remove .* the beginning"
    ):
        SafeCheckpointIO().load_checkpoint(written, weights_only=True)


def test_a_checkpoint_half_written_does_not_matter_and_is_removed(unbroken, tmp_path):
    job = Job(tmp_path, options={"epochs": 3})
    process = job.start()
    end_unless(process, lambda: any(job.runs.glob("*/last.ckpt")))
    process.kill()
    process.join()
    half = job.run / ".last.ckpt.abcdefgh"
    half.write_bytes((job.run / "last.ckpt").read_bytes()[:1000])
    assert job.model.exists() or job.finish() == 0
    assert not half.exists()
    assert not same_result(job.model, unbroken)


@pytest.mark.parametrize("n", range(1, 25, 3))
def test_a_full_disk_ends_in_a_sentence_and_the_run_goes_on_later(unbroken, tmp_path, n):
    """The disk is full from the n-th change of a file in the run directory on."""
    job = Job(tmp_path, options={"epochs": 3}, fault=AtFileOperation(n, then=fill_disk))
    ended = job.finish()
    assert ended in (0, REFUSED)
    if ended == REFUSED:
        assert "There is no room to write (File too large). " in job.refusal
        assert "the same command" in job.refusal
        for path in job.run.glob("*.ckpt"):
            torch.load(path, weights_only=True)
        assert replace(job, fault=None).finish() == 0
    assert not same_result(job.model, unbroken)


def test_some_of_the_full_disks_above_were_noticed(tmp_path):
    job = Job(tmp_path, options={"epochs": 3}, fault=AtFileOperation(8, then=fill_disk))
    assert job.finish() == REFUSED


def test_two_runs_in_one_directory_refuse_each_other(tmp_path):
    job = Job(tmp_path, options={"epochs": 200})
    first = job.start()
    end_unless(first, lambda: any(job.runs.glob("*/last.ckpt")))
    second = Job(tmp_path / "second", options=job.options)
    second.folder.mkdir()
    second.runs.symlink_to(job.runs)
    assert second.finish() == REFUSED
    assert "Another process is at work on the same run in" in second.refusal
    assert first.is_alive()
    first.kill()
    first.join()


def test_a_loss_that_is_no_number_leaves_the_last_good_state(simulated, tree_path, tmp_path):
    options = {**OPTIONS, "epochs": 20, "lr": 10.0, "optimizer": "sgd", "warmup_steps": 40}
    options["max_grad_norm"] = 0.0
    monitor = api.Monitor(run_dir=tmp_path)
    with pytest.raises(ValueError, match=r"(at|after) step \d+ .*learning rate .*lower lr"):
        api.pretrain(simulated.table, tree_path, monitor=monitor, **options)
    (last,) = tmp_path.glob("*/last.ckpt")
    state = torch.load(last, weights_only=True)
    assert all(value.isfinite().all() for value in state["state_dict"].values())


def test_a_nan_loss_names_step_rate_and_samples(simulated, tree_path, tmp_path, monkeypatch):
    sound, calls = Objective.__call__, itertools.count()

    def spoilt(self, *arguments):
        losses = sound(self, *arguments)
        return replace(losses, total=losses.total * float("nan")) if next(calls) > 8 else losses

    monkeypatch.setattr(Objective, "__call__", spoilt)
    monitor = api.Monitor(run_dir=tmp_path)
    with pytest.raises(
        ValueError, match=r"became nan at step \d+ \(epoch 2, .*\) on the samples sample\d\d, "
    ):
        api.pretrain(simulated.table, tree_path, monitor=monitor, batch_size=8, **OPTIONS)
    (last,) = tmp_path.glob("*/last.ckpt")
    assert torch.load(last, weights_only=True)["epoch"] == 0


@pytest.fixture(scope="module", params=KINDS)
def model(request):
    return small_model(request.param)


def save_models(folder, n, kind):
    """Save a model in this process, which ends at its n-th change of a file."""
    AtFileOperation(n, "model")(Job(Path(folder)))
    storage.save(small_model(kind), Path(folder) / "model")


def killed_while_saving(folder, n, kind) -> bool:
    process = _processes.Process(target=save_models, args=(folder, n, kind))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_whole_or_not_there_wherever_saving_is_killed(tmp_path, kind):
    n, killed = 0, True
    while killed:
        n += 1
        folder = tmp_path / str(n)
        folder.mkdir()
        killed = killed_while_saving(folder, n, kind)
        place = folder / "model"
        if place.exists() and any(place.iterdir()):
            model_directory.validate(place, "max")
            storage.load(place)
        elif killed:
            storage.save(small_model(kind), place)
            model_directory.validate(place, "max")
    assert n > 6


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_model_that_cannot_be_saved_leaves_nothing(model, tmp_path, monkeypatch, number):
    def fail(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(storage.os, "fsync", fail)
    with pytest.raises(
        model_directory.ArtifactError, match=f"cannot be written .*{os.strerror(number)}"
    ):
        storage.save(model, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_ctrl_c_says_how_to_go_on(simulated, tree_path, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.WARNING)

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(callbacks.History, "on_train_epoch_start", interrupt)
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt, match=r"stopped before its end.*from the beginning"):
            api.pretrain(
                simulated.table, tree_path, monitor=api.Monitor(run_dir=tmp_path), **OPTIONS
            )
    finally:
        signal.signal(signal.SIGINT, before)
    assert "No epoch was complete" in caplog.text
