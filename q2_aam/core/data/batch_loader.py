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

from q2_aam.core.data import messages
from q2_aam.core.data.mini_batches import BatchDataset

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
        """Yield each batch in its order; make it here where no process can be started."""
        try:
            made = super().__iter__()
        except OSError as error:
            _warn(str(error))
            yield from self.dataset.batches
            return
        for arrays in made:
            tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
            yield self.dataset.batches.made(**tensors)


@cache
def _can_start(num_workers: int) -> bool:
    """Tell whether there are the locks that other processes need.

    Each takes a page of /dev/shm. A loader that fails to get them leaves a traceback behind.
    """
    try:
        locks = [multiprocessing.Queue() for _ in range(3 * (num_workers + 1))]
        locks += [multiprocessing.Event() for _ in range(2)]
    except (OSError, ImportError) as error:
        _warn(str(error))
        return False
    return True


@cache
def _warn(reason: str) -> None:
    """Say once, not in every epoch, why no process can be started."""
    log.warning(
        "No other processes can be started to prepare mini-batches (%s), so num_workers has no "
        "effect.",
        reason,
        extra=messages.PASSING,
    )


def _as_it_is(arrays):
    return arrays  # PyTorch would make tensors of them, in the other process


def loader(dataset: BatchDataset, num_workers: int = 0, pin_memory: bool = False) -> DataLoader:
    """Wrap the batches of a pass into a PyTorch loader.

    Parameters
    ----------
    dataset : BatchDataset
    num_workers : int
        Other processes that make batches. Where they cannot be started, this one makes them.
    pin_memory : bool
    """
    # With a generator of its own, a loader draws nothing from the one that dropout draws from:
    # a resumed run makes its first loader earlier than an unbroken one, and would go astray.
    options = {"batch_size": None, "shuffle": False, "generator": torch.Generator()}
    if not num_workers or not _can_start(num_workers):
        return DataLoader(dataset, pin_memory=pin_memory, **options)
    return BatchLoader(_Arrays(dataset), num_workers=num_workers, collate_fn=_as_it_is, **options)


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
