"""Ranks as processes: they stop together, one message says why, and the same command goes on."""

import os
import re
import resource
import signal
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from training_process import REFUSED, Job, end_unless

from q2_aam.core import api
from q2_aam.core.artifact import storage
from q2_aam.core.training.loop.run_directory import INTERRUPTED

OPTIONS = {"epochs": 400, "patience": 1000, "batch_size": 4, "optimizer": "sgd"}
"""Of a run that is not over before something happens to it."""


def pid_of(job: Job, rank: int) -> int:
    log = (job.run / "ranks" / f"rank-{rank}.log").read_text()
    return int(re.search(r"is process (\d+)", log)[1])


def in_training(job: Job):
    """Start a run of two ranks, and wait for its first checkpoint."""
    process = job.start()
    end_unless(process, lambda: any(job.runs.glob("*/last.ckpt")))
    assert process.is_alive()
    return process


def assert_stopped(job: Job, process, kept: str, code=REFUSED):
    process.join()
    assert process.exitcode == code
    assert f"kept in {job.run} as it was after its last {kept}" in job.refusal
    assert "the same command with the same Q2_AAM_RUN_DIR" in job.refusal


def test_two_ranks_that_are_asked_to_end_leave_a_run_that_one_goes_on_with(tmp_path):
    job = Job(tmp_path, options=OPTIONS, devices=2)
    process = in_training(job)
    ranks = [pid_of(job, rank) for rank in (0, 1)]
    os.kill(process.pid, signal.SIGTERM)
    assert_stopped(job, process, "step")
    assert (job.run / INTERRUPTED).exists()
    assert not (job.run / "ranks").exists()
    assert not any(os.path.exists(f"/proc/{pid}") for pid in ranks)
    last = torch.load(job.run / "last.ckpt", weights_only=True)
    alone = replace(job, devices=None)
    process = alone.start()
    end_unless(process, lambda: "Resuming after" in job.log)
    end_unless(process, lambda: epoch_of(job) > last["epoch"] + 1)
    os.kill(process.pid, signal.SIGTERM)
    process.join()
    assert process.exitcode == REFUSED


def epoch_of(job: Job) -> int:
    """Return the number of the last epoch that is complete, from 0."""
    return torch.load(job.run / "last.ckpt", weights_only=True)["epoch"]


def same_weights(a, b):
    for name, value in a.weights.items():
        torch.testing.assert_close(value, b.weights[name], atol=1e-5, rtol=1e-4)
    for name in set(a.history) - {"seconds"}:
        assert np.allclose(a.history[name], b.history[name], atol=1e-4)


@pytest.mark.slow
def test_ranks_that_are_interrupted_end_as_one_process_that_is_not(tmp_path):
    """Stopped within the first epochs, then taken up by three, by two and by one."""
    options = {**OPTIONS, "epochs": 30}
    unbroken = Job(tmp_path / "unbroken", options=options)
    unbroken.folder.mkdir()
    assert unbroken.finish() == 0
    job = Job(tmp_path, options=options)
    for devices in (2, 3, 2):
        asked = replace(job, devices=devices)
        process = asked.start()
        end_unless(process, lambda: any(job.runs.glob("*/ranks/rank-0.log")))
        end_unless(process, lambda: any(job.runs.glob("*/last.ckpt")))
        os.kill(process.pid, signal.SIGTERM)
        process.join()
        assert process.exitcode in (0, REFUSED)
    assert job.model.exists() or job.finish() == 0
    same_weights(storage.load(job.model), storage.load(unbroken.model))


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_killed_ends_the_run_with_a_way_to_go_on(tmp_path, rank):
    job = Job(tmp_path, options=OPTIONS, devices=2)
    process = in_training(job)
    os.kill(pid_of(job, rank), signal.SIGKILL)
    process.join()
    assert process.exitcode == REFUSED
    assert f"Rank {rank} ended unexpectedly (process" in job.refusal
    assert "SIGKILL, as where the machine has not enough memory" in job.refusal
    assert f"Its last lines: INFO: Rank {rank} is process" in job.refusal
    before = epoch_of(job)
    process = job.start()
    end_unless(process, lambda: epoch_of(job) > before)
    os.kill(process.pid, signal.SIGTERM)
    assert_stopped(job, process, "step")


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_to_one_rank_stops_all(tmp_path, rank):
    job = Job(tmp_path, options=OPTIONS, devices=2)
    process = in_training(job)
    os.kill(pid_of(job, rank), signal.SIGTERM)
    assert_stopped(job, process, "step")


@pytest.mark.slow
def test_ctrl_c_is_one_message(tmp_path):
    job = Job(tmp_path, options=OPTIONS, devices=2)
    process = in_training(job)
    os.kill(process.pid, signal.SIGINT)
    process.join()
    assert job.log.count("The run was stopped before its end") == 1
    assert (job.run / INTERRUPTED).exists()


@pytest.mark.slow
def test_ranks_end_with_the_process_that_started_them(tmp_path):
    job = Job(tmp_path, options=OPTIONS, devices=2)
    process = in_training(job)
    ranks = [pid_of(job, rank) for rank in (0, 1)]
    process.kill()
    process.join()
    while any(os.path.exists(f"/proc/{pid}") for pid in ranks):
        pass
    before = epoch_of(job)
    process = job.start()
    end_unless(process, lambda: epoch_of(job) > before)
    os.kill(process.pid, signal.SIGTERM)
    assert_stopped(job, process, "step")


@pytest.mark.slow
def test_a_full_disk_is_one_message(tmp_path):
    job = Job(tmp_path, options=OPTIONS, devices=2)
    process = in_training(job)
    before = epoch_of(job)
    resource.prlimit(pid_of(job, 0), resource.RLIMIT_FSIZE, (1000, 1000))
    process.join()
    assert process.exitcode == REFUSED
    assert job.refusal.startswith("There is no room to write")
    assert "same command" in job.refusal
    assert epoch_of(job) >= before


@pytest.mark.slow
def test_weights_that_are_no_numbers_are_one_message(tmp_path):
    options = {"epochs": 3, "optimizer": "sgd", "lr": 1e30, "max_grad_norm": 0.0}
    job = Job(tmp_path, options=options, devices=2)
    assert job.finish() == REFUSED
    assert "choose a lower lr or max_grad_norm" in job.refusal


@pytest.mark.slow
def test_ranks_start_from_a_thread_too(simulated, tree_path, quick):
    """As in a notebook or in a worker of Parsl, where signals cannot be listened to."""
    made = []
    monitor = api.Monitor(layout=api.Layout(devices=2))
    before = signal.getsignal(signal.SIGTERM)

    def train():
        made.append(api.pretrain(simulated.table, tree_path, monitor=monitor, **quick))

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert len(made[0].history) == quick["epochs"]
    assert made[0].event_files
    assert signal.getsignal(signal.SIGTERM) == before
