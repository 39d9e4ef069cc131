"""Ranks as processes: they stop together, one message says why, and the same command goes on."""

import os
import re
import resource
import signal
import threading
from dataclasses import replace

import pytest
import torch
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from training_process import REFUSED, Job, end_unless

from q2_aam.core import api
from q2_aam.core.training.ranks import job, launch
from q2_aam.core.training.ranks.rank import told

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


def assert_stopped(job: Job, process):
    """Tell that it says how to go on; where it stopped is for chance to say."""
    process.join()
    assert process.exitcode == REFUSED
    assert f"kept in {job.run} as it was after its last" in job.refusal
    assert "the same command with the same Q2_AAM_RUN_DIR" in job.refusal


def assert_goes_on(job):
    """Start a run again, and stop it when it is beyond where it was."""
    before = epoch_of(job)
    process = job.start()
    end_unless(process, lambda: epoch_of(job) > before)
    os.kill(process.pid, signal.SIGTERM)
    assert_stopped(job, process)


def test_two_ranks_that_are_asked_to_end_leave_a_run_that_one_goes_on_with(tmp_path):
    job = Job(tmp_path, options=OPTIONS, devices=2)
    process = in_training(job)
    ranks = [pid_of(job, rank) for rank in (0, 1)]
    os.kill(process.pid, signal.SIGTERM)
    assert_stopped(job, process)
    assert not (job.run / "ranks").exists()
    assert not any(os.path.exists(f"/proc/{pid}") for pid in ranks)
    before = epoch_of(job)
    process = replace(job, devices=None).start()
    end_unless(process, lambda: epoch_of(job) > before)
    os.kill(process.pid, signal.SIGTERM)
    assert_stopped(job, process)


def epoch_of(job: Job) -> int:
    """Return the number of the last epoch that is complete, from 0."""
    return torch.load(job.run / "last.ckpt", weights_only=True)["epoch"]


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
    assert_goes_on(job)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_to_one_rank_stops_all(tmp_path, rank):
    job = Job(tmp_path, options=OPTIONS, devices=2)
    process = in_training(job)
    os.kill(pid_of(job, rank), signal.SIGTERM)
    assert_stopped(job, process)


@pytest.mark.slow
def test_ctrl_c_is_one_message(tmp_path):
    job = Job(tmp_path, options=OPTIONS, devices=2)
    process = in_training(job)
    os.kill(process.pid, signal.SIGINT)
    process.join()
    assert job.log.count("The run was stopped before its end") == 1


@pytest.mark.slow
def test_ranks_end_with_the_process_that_started_them(tmp_path):
    job = Job(tmp_path, options=OPTIONS, devices=2)
    process = in_training(job)
    ranks = [pid_of(job, rank) for rank in (0, 1)]
    process.kill()
    process.join()
    while any(os.path.exists(f"/proc/{pid}") for pid in ranks):
        pass
    assert_goes_on(job)


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
    options = {"epochs": 30, "optimizer": "sgd", "lr": 10.0, "max_grad_norm": 0.0}
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


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("choose a lower lr"), "said"),
        (OSError(28, "No space left on device", "last.ckpt"), "room"),
        (RuntimeError("Connection closed by peer [127.0.0.1]:4492"), "lost"),
        (RuntimeError("Application timeout caused pair closure"), "lost"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), "other"),
        (TypeError("an error of ours"), "other"),
    ],
)
def test_what_others_lost_is_told_from_what_went_wrong(error, kind):
    assert told(error)["kind"] == kind


def test_the_cause_is_said_before_what_came_of_it(tmp_path):
    lost, nan = RuntimeError("Connection reset by peer"), ValueError("choose a lower lr")
    for rank, error in enumerate([lost, lost, nan]):
        job.write_json(tmp_path / f"failure-{rank}.json", told(error))
    failures = {rank: ProcessFailure(rank, 100 + rank, 1, "") for rank in range(3)}
    said = launch._failure(tmp_path, ChildFailedError("rank", failures))
    assert (type(said), str(said)) == (ValueError, "choose a lower lr")


def test_a_disk_too_full_for_a_message_is_told_by_the_exit_code(tmp_path):
    failures = {0: ProcessFailure(0, 100, job.NO_ROOM, "")}
    said = launch._failure(tmp_path, ChildFailedError("rank", failures))
    assert isinstance(said, OSError)
    assert said.errno == 28
