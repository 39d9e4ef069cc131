"""The mini-batches of a pass in their order, made here or by other processes.

PyTorch sends tensors from one process to another through shared memory (`/dev/shm`), which is
small in many containers: where it is full, the process that writes is killed. So other processes
send arrays, which go through pipes.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from functools import cache

import numpy as np
import torch
from torch import multiprocessing
from torch.utils.data import DataLoader, Dataset

from q2_aam.core.data.mini_batches import Batch, BatchDataset

log = logging.getLogger(__name__)


class _Arrays(Dataset):
    """Batches as dictionaries of arrays."""

    def __init__(self, batches: BatchDataset):
        self.batches, self.plan = batches, batches.plan

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        batch = self.batches[i]
        tensors = {field.name: getattr(batch, field.name) for field in fields(batch)}
        return {name: value.numpy() for name, value in tensors.items() if value is not None}


class BatchLoader(DataLoader):
    """Loads batches that other processes make."""

    def __iter__(self):
        """Yield each batch in its order."""
        for arrays in super().__iter__():
            yield Batch(**{name: torch.from_numpy(array) for name, array in arrays.items()})


def _as_it_is(arrays):
    return arrays  # PyTorch would make tensors of them, in the other process


def loader(dataset: BatchDataset, num_workers: int = 0, pin_memory: bool = False) -> DataLoader:
    """Wrap the batches of a pass into a PyTorch loader.

    Parameters
    ----------
    dataset : BatchDataset
    num_workers : int
        Other processes that make batches; where none can be started, this one makes them.
    pin_memory : bool
    """
    # With a generator of its own, a loader draws nothing from the one that dropout draws from:
    # a resumed run makes its first loader earlier than an unbroken one, and would go astray.
    options = {"batch_size": None, "shuffle": False, "generator": torch.Generator()}
    if not num_workers or not _can_start_processes():
        return DataLoader(dataset, pin_memory=pin_memory, **options)
    return BatchLoader(_Arrays(dataset), num_workers=num_workers, collate_fn=_as_it_is, **options)


@cache
def _can_start_processes() -> bool:
    """Tell whether other processes can be given work; say why not, once."""
    try:
        multiprocessing.get_context().Queue()
    except (OSError, ImportError) as error:
        log.warning(
            "No other processes can be started to prepare mini-batches (%s), so num_workers has "
            "no effect.",
            error,
        )
        return False
    return True


@contextmanager
def lost_processes_explained(num_workers: int) -> Iterator[None]:
    """End with a sentence where a process that makes batches was lost.

    Raises
    ------
    ValueError
        In the place of the error of PyTorch.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise ValueError(
            f"One of the {num_workers} processes that prepare mini-batches ended unexpectedly, "
            "most likely because the machine has not enough memory; choose a smaller num_workers "
            f"(--p-num-workers), or 0 ({str(error).splitlines()[0]})"
        ) from error
