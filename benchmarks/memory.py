"""How much memory a pre-training step takes, beside the formula of docs/memory.md.

Each row is a process of its own that takes one step, on samples that have as many ASVs as the
token limit and none in common: the worst there is. What the step needs at the most, beyond what
the process had before, and what its tensors take at the most, are set beside the formula.
`--table` prints what the formula gives for the sizes of common GPUs instead.
"""

import ctypes
import gc
import json
import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import biom
import numpy as np
import torch
from scipy.sparse import csr_matrix

from benchmarks._report import parser, report
from q2_aam.core.options.config import ModelConfig
from q2_aam.core.training.memory import FULL, Cut, Layers, Size, step_memory
from q2_aam.core.training.preparation.phylogenetic_targets import JOINING_REFERENCES

ROWS = (
    {"batch_size": 2, "token_limit": 256},
    {"batch_size": 6, "token_limit": 256},
    {"batch_size": 6, "token_limit": 256, "gradient_checkpointing": True},
    {"batch_size": 6, "token_limit": 256, "asv_chunk_size": 64},
    {"batch_size": 8, "token_limit": 1024, "asv_chunk_size": 64, "gradient_checkpointing": True},
    {"batch_size": 8, "token_limit": 1024, "asv_chunk_size": 64, "parts": 2},
    {"batch_size": 8, "token_limit": 1024, "asv_chunk_size": 64, "parts": 8},
)
COLUMNS = ("batch_size", "token_limit", "asv_chunk_size", "gradient_checkpointing", "parts")


def estimate(options: dict, *, distinct=None, joining=None, length=100, number=FULL) -> float:
    """Return the most memory that a pre-training step at default model size takes, in GiB.

    Parameters
    ----------
    options : dict
        batch_size and token_limit, perhaps asv_chunk_size and gradient_checkpointing; `parts` of
        the samples that are computed one after another.
    distinct : int, optional
        Distinct ASVs in a batch; those of all samples unless given.
    joining : int, optional
        References that join the batch; those of stripe mode unless given.
    length : int
        Nucleotides of an ASV.
    number : float
        Bytes of a number: 4, or 2.5 in mixed precision.
    """
    if joining is None:
        joining = min(JOINING_REFERENCES, options["batch_size"])
    samples, richness = options["batch_size"] + joining, options["token_limit"]
    return step_memory(
        Layers.of_config(ModelConfig()),
        Size(samples, richness, distinct or samples * richness, length),
        Cut(options.get("asv_chunk_size"), options.get("parts", 1)),
        recomputes=bool(options.get("gradient_checkpointing")),
        number=number,
    )


def main(arguments=None):
    """Run the command."""
    args = _parser().parse_args(arguments)
    if args.table:
        report("memory-table", table_for_gpus(), args.json)
        return
    rows = []
    for options in ROWS:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            found = process.submit(measured_memory, json.dumps(options), args.seed).result()
        row = {name: options.get(name, "off") for name in COLUMNS}
        row |= {"process, GiB": found[0], "tensors, GiB": found[1]}
        row["formula, GiB"] = estimate(options, joining=0)
        rows.append(row)
        print(rows[-1], flush=True)
    report("memory", rows, args.json)


def table_for_gpus() -> list[dict]:
    """Give the largest batch of the formula for GPUs of common sizes, a GiB left for the rest."""
    rows = []
    for gib in (8, 12, 16, 24, 40, 80):
        for limit in (256, 1024):
            row = {"GPU memory, GiB": gib, "ASVs a sample": limit}
            for name, saving in {
                "plain": {},
                "gradient_checkpointing": {"gradient_checkpointing": True},
                "asv_chunk_size 64": {"asv_chunk_size": 64},
                "both": {"gradient_checkpointing": True, "asv_chunk_size": 64},
            }.items():
                fits = [
                    b
                    for b in 2 ** np.arange(11)
                    if estimate({"batch_size": int(b), "token_limit": limit, **saving}) < gib - 1
                ]
                row[f"batch_size, {name}"] = int(max(fits, default=0)) or "none"
            rows.append(row)
    return rows


def measured_memory(options: str, seed: int) -> tuple[float, float]:
    """Take steps in this process; return the most memory that it and its tensors took, in GiB."""
    from benchmarks._steps import Steps
    from q2_aam.core.data.sample_table import sample_table

    options = json.loads(options)
    parts = options.pop("parts", 1)
    # All samples are in the batch, so no reference joins it.
    n, width = options["batch_size"], options["token_limit"]
    rng = np.random.default_rng(seed)
    letters = rng.choice(list("ACGT"), (n * width, 100))
    names = ["".join(row) for row in letters]
    counts = csr_matrix(np.kron(np.eye(n), np.ones((1, width))))
    table = biom.Table(counts.T, names, [f"s{i}" for i in range(n)])
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place) / "tree.nwk"
        tree.write_text(f"({','.join(f'{name}:1' for name in names)});")
        steps = Steps(sample_table(table, None, 150), tree, {"rarefy_depth": 0, **options}, parts)
    steps.batches.plan[:] = [np.arange(options["batch_size"])]
    batch = steps.batch(0)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # give back what is free, so that it is counted when used
    before = _now()
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    steps.step(batch)
    process = _peak() - before
    with torch.profiler.profile(profile_memory=True) as profiler:
        steps.step(batch)
    return process, _most_allocated(profiler)


def _most_allocated(profiler) -> float:
    """Return what all tensors together took at the most, beyond those before."""
    events = profiler.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    return max(np.cumsum([size for _, size in changes])) / 2**30


def _now() -> float:
    return _status("VmRSS")


def _peak() -> float:
    return _status("VmHWM")


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 2**20


def _parser():
    made = parser(__doc__)
    made.add_argument("--table", action="store_true", help="print the formula for other sizes")
    return made


if __name__ == "__main__":
    main()
