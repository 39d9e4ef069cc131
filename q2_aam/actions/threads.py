"""How many processor cores an action may use: no more than the slots that Galaxy gives the job."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

SLOTS_VARIABLE = "GALAXY_SLOTS"


def slots() -> int | None:
    """Return the number of cores that Galaxy gives this job; None outside of Galaxy.

    Galaxy sets the environment variable GALAXY_SLOTS for each job. A value that is not a whole
    number from 1 is ignored, with a warning.
    """
    given = os.environ.get(SLOTS_VARIABLE, "").strip()
    if not given:
        return None
    if not (given.isascii() and given.isdigit() and int(given) > 0):
        log.warning(
            "GALAXY_SLOTS is '%s', which is not a whole number from 1: it is ignored.", given
        )
        return None
    return int(given)


@contextmanager
def within_slots() -> Iterator[None]:
    """Let PyTorch, and the BLAS and OpenMP libraries, use at most the slots of the job.

    A smaller number, from OMP_NUM_THREADS for example, is kept. Outside of Galaxy nothing changes.
    What uses threads of its own (extremely randomized trees, UniFrac) takes PyTorch's number.
    """
    most = slots()
    if most is None:
        yield
        return
    # Only what is loaded can be limited: SciPy brings a BLAS of its own.
    import scipy.linalg  # noqa: F401
    import torch
    from threadpoolctl import threadpool_info, threadpool_limits

    before = torch.get_num_threads()
    limits: dict[str, int] = {}
    for pool in threadpool_info():
        api = pool["user_api"]
        limits[api] = min(limits.get(api, most), pool["num_threads"])
    torch.set_num_threads(min(before, most))
    try:
        with threadpool_limits(limits):
            yield
    finally:
        torch.set_num_threads(before)
