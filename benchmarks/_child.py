"""One measurement in a process of its own, with the most memory that the process had."""

import multiprocessing
import resource
import time
from concurrent.futures import ProcessPoolExecutor


def in_child(function, *arguments) -> tuple:
    """Call a function in a new process.

    Returns
    -------
    tuple
        What the function returned, the seconds that it took, and the peak memory of the process
        in GiB.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_measured, function, arguments).result()


def _measured(function, arguments) -> tuple:
    start = time.perf_counter()
    returned = function(*arguments)
    seconds = time.perf_counter() - start
    return returned, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
