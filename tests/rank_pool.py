"""Ranks that stay, for tests of what ranks compute: to start some takes seconds.

As a command, this is one of them: it does the jobs whose directories it reads from its input.
"""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from torch.distributed import TCPStore

from q2_aam.core.training.ranks import rank, stopping
from q2_aam.core.training.ranks.rank_module import RankModule

DONE, STOPPED = "done", "stopped"


class RankPool:
    """Some ranks on this machine, of one thread each.

    Parameters
    ----------
    n : int
    """

    def __init__(self, n: int):
        self.n, self._store = n, TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
        self.signal_at = 0
        ours = {
            "MASTER_ADDR": "localhost",
            "MASTER_PORT": str(self._store.port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCHELASTIC_RESTART_COUNT": "0",
            "TORCHELASTIC_RUN_ID": "pool",
            "WORLD_SIZE": str(n),
            "GROUP_RANK": "0",
            "PYTHONPATH": os.pathsep.join(sys.path),
            "OMP_NUM_THREADS": "1",
        }
        self._processes = [
            subprocess.Popen(
                [sys.executable, __file__],
                env={**os.environ, **ours, "RANK": str(i), "LOCAL_RANK": str(i)},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for i in range(n)
        ]  # fmt: skip

    def run_ranks(self, directory: Path, plan: dict, threads: int, *, first: bool) -> None:
        """Do a job, in the place of `launch.run_ranks`.

        The last rank is sent SIGTERM at the n-th batch, if `signal_at` is n.
        """
        assert plan["on_host"] == self.n
        batches, self.signal_at = [0] * (self.n - 1) + [self.signal_at], 0
        for process, batch in zip(self._processes, batches, strict=True):
            process.stdin.write(f"{batch} {directory}\n")
            process.stdin.flush()
        ends = {process.stdout.readline().strip() for process in self._processes}
        if ends == {STOPPED}:
            raise SystemExit
        assert ends == {DONE}

    def close(self) -> None:
        """End them."""
        for process in self._processes:
            process.stdin.close()
            process.wait()


def work(directory: Path, batch: int) -> str:
    """Do a job; return how it ended."""
    train_on, seen = RankModule.training_step, []

    def training_step(module, *arguments):
        seen.append(arguments)
        if len(seen) == batch:
            os.kill(os.getpid(), signal.SIGTERM)
        return train_on(module, *arguments)

    RankModule.training_step = training_step
    try:
        rank.train(directory, shown=False)
    except SystemExit:
        stopping.forget()
        return STOPPED
    finally:
        RankModule.training_step = train_on
    return DONE


def main() -> None:
    """Do jobs, one after the other."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        batch, _, directory = line.strip().partition(" ")
        stopping.listen()
        with ThreadPoolExecutor() as beside:  # as a rank works beside its main thread
            end = beside.submit(work, Path(directory), int(batch)).result()
        answers.write(f"{end}\n")
        answers.flush()


if __name__ == "__main__":
    main()
