"""How many threads an action uses, and how they wait for each other."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from q2_aam.core.training.processors import number_of_threads

WAITING_VARIABLE = "OMP_WAIT_POLICY"


def wait_without_computing() -> None:
    """Let threads that wait for others give their core away; before PyTorch is loaded only.

    By default, they look for new work without a pause. Where other programs run on the same cores,
    they then take the time from each other: a small run takes several times as long. What the
    user has set stays.
    """
    if "torch" not in sys.modules:
        os.environ.setdefault(WAITING_VARIABLE, "PASSIVE")


@contextmanager
def within_slots() -> Iterator[None]:
    """Let PyTorch, and the BLAS and OpenMP libraries, use the threads that this process may.

    What uses threads of its own (extremely randomized trees, UniFrac) takes PyTorch's number.
    """
    wait_without_computing()
    # Only what is loaded can be limited: SciPy brings a BLAS of its own.
    import scipy.linalg  # noqa: F401
    import torch
    from threadpoolctl import threadpool_info, threadpool_limits

    before = torch.get_num_threads()
    number = number_of_threads(before)
    limits: dict[str, int] = {}
    for pool in threadpool_info():
        api = pool["user_api"]
        limits[api] = min(limits.get(api, number), pool["num_threads"])
    torch.set_num_threads(number)
    if torch.get_num_interop_threads() > number:
        with suppress(RuntimeError):  # once they have begun, their number stays
            torch.set_num_interop_threads(number)
    try:
        with threadpool_limits(limits):
            torch.set_num_threads(number)  # which may be more than OMP_NUM_THREADS
            yield
    finally:
        torch.set_num_threads(before)
