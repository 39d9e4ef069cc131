"""Two hosts on one machine: network namespaces that a cable joins (iproute2, as root)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

FIRST, SECOND = "10.203.17.1", "10.203.17.2"
MEET_AT = f"{FIRST}:29400"


class TwoHosts:
    """Two network namespaces, each with one end of a cable.

    Raises
    ------
    OSError, subprocess.CalledProcessError
        If this machine does not allow it.
    """

    def __init__(self):
        self.names = [f"q2aam{os.getpid()}{end}" for end in "ab"]
        self._ends = [f"qa{os.getpid()}{end}" for end in "ab"]
        if shutil.which("ip") is None:
            raise OSError("iproute2 is not installed")
        for name in self.names:
            _ip("netns", "add", name)
        _ip("link", "add", self._ends[0], "type", "veth", "peer", "name", self._ends[1])
        for name, end, address in zip(self.names, self._ends, (FIRST, SECOND), strict=True):
            _ip("link", "set", end, "netns", name)
            _ip("-n", name, "address", "add", f"{address}/24", "dev", end)
            _ip("-n", name, "link", "set", end, "up")
            _ip("-n", name, "link", "set", "lo", "up")

    def start(self, host: int, arguments: list[str], variables: dict, output: Path):
        """Start a Python command on a host, 0 or 1; what it says goes to a file."""
        ours = {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", **variables}
        with output.open("a") as file:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.names[host], sys.executable, *arguments],
                env={**os.environ, **ours}, stdout=file, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def cut(self) -> None:
        """Cut the cable: nothing arrives any more, and nobody is told."""
        _ip("-n", self.names[0], "link", "set", self._ends[0], "down")

    def close(self) -> None:
        """Remove both; their processes must have ended."""
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", name], check=False)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def main(folder: str, *options: str) -> None:
    """Pre-train on the first host: what its user's own command does."""
    from training_process import Job, work

    from q2_aam.core import api

    layout = api.Layout.from_environment(os.environ)
    chosen = {"optimizer": "sgd", "batch_size": 4, "patience": 1000}
    chosen |= {name: int(value) for name, value in (o.split("=") for o in options)}
    work(Job(Path(folder), options=chosen, layout=layout))


if __name__ == "__main__":
    main(*sys.argv[1:])
