"""How many cores a process may use: its CPU set, the quota of its control groups, its job."""

import logging
import os

import pytest

from q2_aam.core.training import processors
from q2_aam.core.training.processors import cores, loader_processes, number_in


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch):
    """Let this process have a CPU set of eight cores, no quota and no job."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(processors, "_quota", lambda: processors.UNLIMITED)
    for name in processors.SHARES:
        monkeypatch.delenv(name, raising=False)
    processors._warn_of_value.cache_clear()


def test_cores_are_those_of_the_cpu_set():
    assert cores() == 8


def test_cores_of_a_system_without_cpu_sets(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert cores() == 5


@pytest.mark.parametrize("name", processors.SHARES)
def test_cores_are_no_more_than_the_share_of_the_job(name, monkeypatch):
    monkeypatch.setenv(name, " 3\n")
    assert cores() == 3
    monkeypatch.setenv(name, "64")
    assert cores() == 8


def test_slots_of_galaxy_count_before_the_tasks_of_its_scheduler(monkeypatch):
    monkeypatch.setenv("GALAXY_SLOTS", "4")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert cores() == 4


@pytest.mark.parametrize("given", ["0", "-2", "2.5", "many", "²", "${SLOTS}"])
def test_share_that_is_no_number_is_ignored_with_a_warning(given, monkeypatch, caplog):
    monkeypatch.setenv("GALAXY_SLOTS", given)
    with caplog.at_level(logging.WARNING):
        assert (cores(), cores(), number_in("GALAXY_SLOTS")) == (8, 8, None)
    (record,) = caplog.records
    assert f"GALAXY_SLOTS is '{given}', which is not a whole number from 1" in record.message


def test_no_more_processes_prepare_batches_than_there_are_cores(monkeypatch, caplog):
    processors._warn_of_cores.cache_clear()
    assert [loader_processes(n) for n in (0, 1, 8)] == [0, 1, 8]
    assert not caplog.records
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "2")
    assert [loader_processes(n) for n in (4, 4)] == [2, 2]
    (record,) = caplog.records
    assert "num_workers is 4, but this process may use only 2 processor cores" in record.message


# ---- control groups ----------------------------------------------------------------------------


@pytest.fixture
def quota(tmp_path, monkeypatch):
    """Return what lays control groups out and reads the quota of a process of them."""
    monkeypatch.undo()

    def read(groups, files):
        for name, text in files.items():
            file = tmp_path / "mounted" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        (tmp_path / "cgroup").write_text(groups)
        return processors._quota(tmp_path / "cgroup", tmp_path / "mounted")

    return read


V1 = "4:memory:/job\n3:cpu,cpuacct:/job/step\n1:name=systemd:/\n0::/\n"
QUOTAS = {
    "version 2, a container": ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
    "version 2, no limit": ("0::/\n", {"cpu.max": "max 100000\n"}, None),
    "version 2, less than a core": ("0::/\n", {"cpu.max": "20000 100000\n"}, 1),
    "version 2, a group above": (
        "0::/user.slice/job.scope\n",
        {"user.slice/cpu.max": "300000 100000", "user.slice/job.scope/cpu.max": "max 100000"},
        3,
    ),
    "version 2, the path outside": ("0::/docker/4711\n", {"cpu.max": "200000 100000"}, 2),
    "version 1": (
        V1,
        {
            "cpu,cpuacct/job/step/cpu.cfs_quota_us": "-1\n",
            "cpu,cpuacct/job/step/cpu.cfs_period_us": "100000\n",
            "cpu,cpuacct/job/cpu.cfs_quota_us": "250000\n",
            "cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
        },
        3,
    ),
    "version 1, the path outside": (
        V1,
        {"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"},
        4,
    ),
    "damaged": ("0::/\n", {"cpu.max": "many few\n"}, None),
    "no files": (V1, {}, None),
}


@pytest.mark.parametrize("name", QUOTAS)
def test_quota_of_control_groups(name, quota):
    groups, files, found = QUOTAS[name]
    assert quota(groups, files) == (found or processors.UNLIMITED)


def test_quota_where_there_are_no_control_groups(tmp_path, monkeypatch):
    monkeypatch.undo()
    assert processors._quota(tmp_path / "none", tmp_path) == processors.UNLIMITED
