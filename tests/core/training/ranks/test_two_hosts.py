"""Two hosts train as one: they meet, and neither waits for ever for one that is gone."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import two_hosts
from training_process import Job
from two_hosts import MEET_AT, TwoHosts

from q2_aam.core.artifact import storage
from q2_aam.core.training.ranks.join import check

pytestmark = pytest.mark.slow


@pytest.fixture
def hosts():
    """Return two hosts, or skip where this machine has none."""
    try:
        made = TwoHosts()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"two hosts take network namespaces: {error}")
    yield made
    made.close()


@pytest.fixture
def both(hosts, tmp_path):
    """Return what starts a run of two hosts, whose processes end with the test."""
    runs = []

    def start(**options):
        runs.append(Both(hosts, tmp_path, **options))
        return runs[-1]

    yield start
    for process in (process for run in runs for process in run.processes):
        process.kill()
        process.wait()


class Both:
    """A run of two hosts, one rank each."""

    def __init__(self, hosts, folder: Path, wait=30, **options):
        self.job = Job(folder)
        self.said = [folder / "first.txt", folder / "second.txt"]
        given = [f"{name}={value}" for name, value in options.items()]
        shared = {"Q2_AAM_MEET_AT": MEET_AT, "Q2_AAM_RUN_DIR": str(self.job.runs)}
        shared |= {"Q2_AAM_WAIT": str(wait), "Q2_AAM_DEVICES": "1"}
        joins = ["-m", "q2_aam.core.training.ranks.join"]
        starts = [two_hosts.__file__, str(folder), *given]
        first = hosts.start(0, starts, {**shared, "Q2_AAM_HOSTS": "2"}, self.said[0])
        self.processes = [first, hosts.start(1, joins, shared, self.said[1])]

    def until_in_training(self):
        """Wait for the first checkpoint."""
        while not any(self.job.runs.glob("*/last.ckpt")):
            assert all(process.poll() is None for process in self.processes), self.what_was_said()

    def what_was_said(self) -> str:
        return "\n".join(path.read_text() for path in self.said)

    def ranks(self) -> list[int]:
        """Return the processes of the ranks."""
        logs = self.job.run.glob("ranks/rank-*.log")
        return [int(re.search(r"is process (\d+)", log.read_text())[1]) for log in logs]

    def end(self) -> list[int]:
        """Wait for the end of both hosts' commands; return their exit codes."""
        codes = [process.wait() for process in self.processes]
        return codes


def test_two_hosts_learn_what_one_learns(both, tmp_path):
    both = both(epochs=3)
    assert both.end() == [0, 0], both.what_was_said()
    alone = Job(tmp_path / "alone", options={"epochs": 3, "optimizer": "sgd", "batch_size": 4})
    alone.folder.mkdir()
    assert alone.finish() == 0
    one, two = storage.load(alone.model), storage.load(both.job.model)
    for name, value in one.weights.items():
        torch.testing.assert_close(two.weights[name], value, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("host", [0, 1])
def test_a_signal_to_one_host_stops_both_and_they_go_on(both, host):
    start, both = both, both(epochs=500)
    both.until_in_training()
    os.kill(both.processes[host].pid, signal.SIGTERM)
    assert both.end() == [3, 0], both.what_was_said()
    assert "as it was after its last" in both.job.refusal
    before = torch.load(both.job.run / "last.ckpt", weights_only=True)["epoch"]
    again = start(epochs=500)
    while torch.load(both.job.run / "last.ckpt", weights_only=True)["epoch"] <= before:
        assert all(process.poll() is None for process in again.processes), again.what_was_said()
    os.kill(again.processes[0].pid, signal.SIGTERM)
    assert again.end() == [3, 0], again.what_was_said()


def test_a_host_that_is_gone_ends_the_run_with_a_way_to_go_on(both):
    both = both(epochs=500)
    both.until_in_training()
    both.processes[1].kill()  # its rank ends with it
    assert both.end() == [3, -signal.SIGKILL], both.what_was_said()
    assert "lost another rank" in both.job.refusal
    assert "run the same commands with the same Q2_AAM_RUN_DIR" in both.job.refusal
    assert any(both.job.run.glob("last.ckpt"))


def test_a_first_host_that_is_gone_ends_the_others(both):
    both = both(epochs=500)
    both.until_in_training()
    both.processes[0].kill()
    assert both.end() == [-signal.SIGKILL, 1], both.what_was_said()
    assert any(both.job.run.glob("last.ckpt"))


def test_a_network_that_is_cut_ends_both_within_the_time_said(hosts, both):
    both = both(wait=20, epochs=500)
    both.until_in_training()
    ranks = both.ranks()
    hosts.cut()
    assert both.end() == [3, 1], both.what_was_said()
    assert "lost another rank" in both.job.refusal
    assert "so this host leaves the run" in both.said[1].read_text()
    assert not any(Path(f"/proc/{pid}").exists() for pid in ranks)
    assert any(both.job.run.glob("last.ckpt"))


def test_a_host_that_waits_for_nobody_says_so(tmp_path):
    said = {"Q2_AAM_RUN_DIR": str(tmp_path), "Q2_AAM_MEET_AT": "127.0.0.1:9", "Q2_AAM_WAIT": "1"}
    command = [sys.executable, "-m", "q2_aam.core.training.ranks.join"]
    ours = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **said}
    done = subprocess.run(command, env=ours, capture_output=True, text=True)
    assert done.returncode == 1
    assert "No run that meets at 127.0.0.1:9 has begun" in done.stderr


def test_another_release_and_too_few_gpus_are_refused(monkeypatch):
    plan = {"version": "0.0.1", "device": "cuda", "on_host": 4}
    with pytest.raises(ValueError, match=r"The first host has q2-aam 0\.0\.1, this one"):
        check(plan)
    monkeypatch.setattr("q2_aam.__version__", "0.0.1")
    with pytest.raises(ValueError, match=r"uses 4 GPUs, but this one has \d"):
        check(plan)
