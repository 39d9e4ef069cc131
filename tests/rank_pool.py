"""Ranks that stay, for tests of what ranks compute: to start some takes seconds.

As a command, this is one of them: it does the jobs whose directories it reads from its input.
"""

import os
import subprocess
import sys
from pathlib import Path

from torch.distributed import TCPStore

from q2_aam.core.training.ranks import rank

DONE, FAILED = "done", "failed"


class RankPool:
    """Some ranks on this machine, of one thread each.

    Parameters
    ----------
    n : int
    """

    def __init__(self, n: int):
        self.n, self._store = n, TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
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
        """Do a job, in the place of `launch.run_ranks`."""
        assert plan["on_host"] == self.n
        for process in self._processes:
            process.stdin.write(f"{directory}\n")
            process.stdin.flush()
        ends = [process.stdout.readline().strip() for process in self._processes]
        assert ends == [DONE] * self.n

    def close(self) -> None:
        """End them."""
        for process in self._processes:
            process.stdin.close()
            process.wait()


def main() -> None:
    """Do jobs, one after the other."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        rank.train(Path(line.strip()), shown=False)
        print(DONE, file=answers, flush=True)


if __name__ == "__main__":
    main()
