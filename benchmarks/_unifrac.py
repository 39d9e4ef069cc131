"""One measurement of UniFrac a process: ``python -m benchmarks._unifrac WHAT DIRECTORY N TIMES``.

The directory has ``tree.nwk``, and ``counts.npz`` (samples by features) and ``features.txt``. What
is timed, and the process's peak of memory, are printed as JSON. Loads no torch.
"""

import json
import sys
import time
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix, load_npz

from q2_aam.core.phylogeny.branches import BranchTable
from q2_aam.core.phylogeny.unifrac import UniFracTargets

REFERENCES, BATCH = 100, 32


class Inputs:
    """What lies in a directory.

    Parameters
    ----------
    place : path
    n : int
        Samples to read, the first ones; 0 for all.
    """

    def __init__(self, place: str | Path, n: int = 0):
        self.place, self.n = Path(place), n
        self.features = (self.place / "features.txt").read_text().split()

    @cached_property
    def counts(self) -> csr_matrix:
        """Counts of the samples, (n, features)."""
        counts = load_npz(self.place / "counts.npz")
        return counts[: self.n or counts.shape[0]]

    def branches(self) -> BranchTable:
        """Read the tree."""
        return BranchTable.from_newick(self.place / "tree.nwk", self.features)


def _stripes(inputs: Inputs, metric: str):
    branches, counts = inputs.branches(), inputs.counts

    def work():
        UniFracTargets(branches, metric, references=counts[:REFERENCES])(counts)

    return work


def _batches(inputs: Inputs, references: bool):
    counts = inputs.counts
    against = counts[:REFERENCES] if references else None
    targets = UniFracTargets(inputs.branches(), references=against)

    def work():
        for i in range(0, counts.shape[0], BATCH):
            targets(counts[i : i + BATCH])

    return work


def _whole(inputs: Inputs):
    branches, counts = inputs.branches(), inputs.counts
    return lambda: UniFracTargets(branches, references=counts)(counts)


def _library(inputs: Inputs):
    import biom
    import bp
    import unifrac

    seen = np.unique(inputs.counts.indices)
    counts = inputs.counts.T.tocsr()[seen]
    ids = [f"s{i}" for i in range(counts.shape[1])]
    table = biom.Table(counts, [inputs.features[i] for i in seen], ids)
    tree = bp.parse_newick((inputs.place / "tree.nwk").read_text())
    return lambda: unifrac.unweighted(table, tree)


PREPARE = {
    "stripes": lambda inputs: _stripes(inputs, "unweighted"),
    "weighted-stripes": lambda inputs: _stripes(inputs, "weighted_normalized"),
    "batch-stripes": lambda inputs: _batches(inputs, True),
    "batch-pairs": lambda inputs: _batches(inputs, False),
    "whole": _whole,
    "library": _library,
    "tree": lambda inputs: inputs.branches,
}
"""Each returns the work that is timed."""


def main(what: str, place: str, n: str, repeats: str) -> None:
    """Time some work, the best of several times, and print the result."""
    start = time.perf_counter()
    work = PREPARE[what](Inputs(place, int(n)))
    prepared = time.perf_counter() - start
    best = min(_timed(work) for _ in range(int(repeats)))
    print(json.dumps({"prepare": prepared, "seconds": best, "peak": peak()}))


def _timed(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def peak(process: int | str = "self") -> float:
    """Return the most memory that a process has had, in GiB; 0 if it is not there any more."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    found = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    return found[0] / 2**20 if found else 0.0


if __name__ == "__main__":
    main(*sys.argv[1:])
