"""What a run takes for its place among others: by itself it is one process, whatever is set.

Lightning looks for schedulers in the environment. In a job of several tasks it would wait for
processes that nobody starts, or refuse the job; in a task of another rank than 0 it would write
nothing; and under SLURM it would answer SIGUSR1 with a checkpoint in the current directory, where
the next run would take it up.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
"""Where Lightning and torchmetrics read the rank of a process, when they are imported."""


@contextmanager
def _only_numbers_as_ranks() -> Iterator[None]:
    """Hide what is no number: RANK, for example, can be a taxonomic rank of somebody's script."""
    words = {name: os.environ[name] for name in RANKS if not _is_number(os.environ.get(name, "0"))}
    for name in words:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(words)


def _is_number(text: str) -> bool:
    try:
        int(text)
    except ValueError:
        return False
    return True


with _only_numbers_as_ranks():
    from lightning.fabric.plugins.environments import LightningEnvironment


class SingleProcess(LightningEnvironment):
    """One process that belongs to no group, in whatever job it runs."""

    creates_processes_externally = False
    main_address = "127.0.0.1"

    def local_rank(self) -> int:
        """Return 0, also where LOCAL_RANK is set."""
        return 0

    def node_rank(self) -> int:
        """Return 0, also where NODE_RANK or GROUP_RANK is set."""
        return 0

    def teardown(self) -> None:
        """Leave WORLD_SIZE to those who set it."""


def single_process() -> SingleProcess:
    """Return the environment of a run in one process, and make this process its first.

    What Lightning has read as the rank of this process is the number of a task of a job.
    """
    environment = SingleProcess()
    environment.set_global_rank(0)
    return environment
