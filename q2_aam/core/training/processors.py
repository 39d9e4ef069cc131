"""How many processor cores and threads this process may use, by all who have a say in it."""

import logging
import math
import os
from functools import cache
from pathlib import Path

from q2_aam.core.data import messages

log = logging.getLogger(__name__)

SHARES = (
    "GALAXY_SLOTS",
    "SLURM_CPUS_PER_TASK",
    "SLURM_CPUS_ON_NODE",
    "PBS_NUM_PPN",
    "NCPUS",
    "LSB_DJOB_NUMPROC",
    "NSLOTS",
)
"""Where Galaxy, SLURM, PBS, LSF and Grid Engine say how many cores a job has on its machine."""
UNLIMITED = 10**9
THREADS_VARIABLE = "Q2_AAM_THREADS"


def cores() -> int:
    """Return how many processor cores this process may use, from 1.

    This is the smallest of the process's CPU set, of the CPU quota of its control groups (version
    1 or 2), as a container has it, and of the job's share: the first variable of `SHARES` that is
    set.
    """
    return min(_cpu_set(), _quota(), _share())


def number_of_threads(now: int) -> int:
    """Return how many threads to use, from 1.

    Parameters
    ----------
    now : int
        How many PyTorch would use. It knows OMP_NUM_THREADS, and what a caller has set.

    Returns
    -------
    int
        What Q2_AAM_THREADS says, or else `now`; in any case no more than `cores`.
    """
    most, wanted = cores(), number_in(THREADS_VARIABLE)
    if wanted is None:
        return min(now, most)
    if wanted > most:
        log.warning(
            "Q2_AAM_THREADS is %d, but this process may use only %d processor cores: it uses %d "
            "threads.",
            wanted,
            most,
            most,
        )
    return min(wanted, most)


def _cpu_set() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _share() -> int:
    given = (number_in(name) for name in SHARES)
    return next((number for number in given if number is not None), UNLIMITED)


def number_in(variable: str) -> int | None:
    """Return the whole number from 1 in an environment variable; None if there is none.

    Any other value is ignored, with a warning.
    """
    given = os.environ.get(variable, "").strip()
    if not given:
        return None
    if given.isascii() and given.isdigit() and int(given) > 0:
        return int(given)
    _warn_of_value(variable, given)
    return None


def loader_processes(num_workers: int) -> int:
    """Return how many processes prepare mini-batches: no more than there are cores for them."""
    most = cores()
    if num_workers > most:
        _warn_of_cores(num_workers, most)
    return min(num_workers, most)


@cache
def _warn_of_cores(num_workers: int, most: int) -> None:
    """Say once, not in every epoch, that fewer processes are started."""
    log.warning(
        "num_workers is %d, but this process may use only %d processor cores: it starts %d other "
        "processes.",
        num_workers,
        most,
        most,
        extra=messages.PASSING,
    )


@cache
def _warn_of_value(variable: str, given: str) -> None:
    log.warning(
        "%s is '%s', which is not a whole number from 1: it is ignored.",
        variable,
        given,
        extra=messages.PASSING,
    )


def _quota(
    groups: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")
) -> int:
    """Return the smallest quota of this process's control groups, rounded up to whole cores.

    In a container, the path of a group can be that outside: its root is then this process's own.
    """
    try:
        lines = [line.split(":", 2) for line in groups.read_text().splitlines()]
    except OSError:
        return UNLIMITED
    quotas = [
        _quota_of(place)
        for _, controllers, path in lines
        if not controllers or "cpu" in controllers.split(",")
        for root in (mounted, mounted / (controllers or "unified"), mounted / "cpu")
        for place in _and_parents(root, path)
    ]
    return max(1, math.ceil(min(quotas, default=UNLIMITED)))


def _and_parents(root: Path, path: str) -> list[Path]:
    group = root / path.strip("/")
    return [place for place in (group, *group.parents) if place.is_relative_to(root)]


def _quota_of(group: Path) -> float:
    """Return how many cores a control group may use, by its files of version 2 or 1."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota = (group / "cpu.cfs_quota_us").read_text()
            period = (group / "cpu.cfs_period_us").read_text()
        return float(quota) / float(period) if float(quota) > 0 else UNLIMITED
    except (OSError, ValueError, ZeroDivisionError):  # no limit is "max", or -1
        return UNLIMITED
