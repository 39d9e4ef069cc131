"""Batches from other processes: no shared memory, and a sentence where a process is lost."""

import numpy as np
import pytest
import torch
from torch import multiprocessing

from q2_aam.core.data import batch_loader
from q2_aam.core.data.batch_loader import loader, lost_processes_explained
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
    loading = loader(batches, num_workers=2)
    sent = loading.collate_fn(loading.dataset[0]).values()
    assert all(isinstance(value, np.ndarray) for value in sent)  # or what follows never ends
    made = list(loading)
    assert len(made) == 6
    for batch, expected in zip(made, batches, strict=True):
        for name, value in vars(expected).items():
            found = getattr(batch, name)
            assert (found is None) == (value is None), name
            assert value is None or (torch.equal(found, value) and found.dtype == value.dtype)


@pytest.fixture
def forgetful():
    """Let each test find out anew whether processes can be started, and those after it."""
    for remembers in (batch_loader._warn, batch_loader._can_start):
        remembers.cache_clear()
    yield
    for remembers in (batch_loader._warn, batch_loader._can_start):
        remembers.cache_clear()


@pytest.mark.parametrize("lacking", ["Queue", "Process"])
def test_where_no_process_can_be_started_this_one_makes_the_batches(
    batches, monkeypatch, caplog, forgetful, lacking
):
    def fail(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(multiprocessing, lacking, fail)
    made = [list(loader(batches, num_workers=2)) for _ in range(2)]
    assert torch.equal(made[1][5].tokens, batches[5].tokens)
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
