"""Batches from other processes: no shared memory, and a sentence where a process is lost."""

import logging

import numpy as np
import pytest
import torch
from torch import multiprocessing

from q2_aam.core.data import batch_loader
from q2_aam.core.data.batch_loader import BatchLoader, loader, lost_processes_explained
from q2_aam.core.data.mini_batches import BatchDataset
from q2_aam.core.data.sample_table import sample_table
from q2_aam.core.options.config import DataConfig


@pytest.fixture(scope="module")
def batches(simulated):
    table = sample_table(simulated.table, None, 150)
    plan = np.array_split(np.arange(48), 6)
    targets = np.arange(48, dtype=np.float32)
    return BatchDataset(table, plan, DataConfig(), masked=True, targets=targets)


def refuse(*arguments):
    raise AssertionError("shared memory is used")


def test_other_processes_send_equal_batches_without_shared_memory(batches, monkeypatch):
    # How PyTorch prepares a tensor for another process, whatever the sharing strategy.
    monkeypatch.setattr(torch.UntypedStorage, "_share_fd_cpu_", refuse)
    monkeypatch.setattr(torch.UntypedStorage, "_share_filename_cpu_", refuse)
    made = list(loader(batches, num_workers=2))
    assert len(made) == 6
    for batch, expected in zip(made, batches, strict=True):
        for name, value in vars(expected).items():
            found = getattr(batch, name)
            assert (found is None) == (value is None), name
            assert value is None or (torch.equal(found, value) and found.dtype == value.dtype)


def test_where_no_process_can_be_started_this_one_makes_the_batches(batches, monkeypatch, caplog):
    def fail(self):
        raise OSError(28, "No space left on device")

    batch_loader._can_start_processes.cache_clear()
    monkeypatch.setattr(type(multiprocessing.get_context()), "Queue", fail)
    try:
        with caplog.at_level(logging.WARNING):
            made = [loader(batches, num_workers=2) for _ in range(2)]
    finally:
        batch_loader._can_start_processes.cache_clear()
    assert not any(isinstance(each, BatchLoader) for each in made)
    assert torch.equal(next(iter(made[0])).tokens, batches[0].tokens)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "num_workers has no effect" in caplog.text


def test_a_lost_process_is_explained(batches):
    class Deadly(BatchDataset):
        def __getitem__(self, i):
            raise SystemExit(9)

    deadly = Deadly(batches.table, batches.plan, batches.data)
    with (
        pytest.raises(ValueError, match=r"One of the 1 processes .* ended .* num_workers"),
        lost_processes_explained(1),
    ):
        list(loader(deadly, num_workers=1))


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="something else"), lost_processes_explained(1):
        raise RuntimeError("something else")
