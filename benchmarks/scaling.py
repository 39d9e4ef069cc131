"""How the cost of pre-training grows with samples, ASVs a sample, read length and batch.

On simulated data, one thing is doubled at a time. A doubling of samples is timed over whole epochs
of the public API, loop and all, the others over steps.
"""

import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks._report import parser, report
from benchmarks._steps import Steps
from q2_aam.core import api
from q2_aam.core.data.sample_table import sample_table
from q2_aam.core.data.simulate import SimulationConfig, simulate

BASE = {"samples": 128, "features": 256, "read length": 100, "batch": 16}


def main(arguments=None):
    """Run the command."""
    args = _parser().parse_args(arguments)
    rows = []
    for what in args.double:
        before = None
        for factor in 2 ** np.arange(args.doublings + 1):
            size = {**BASE, what: int(BASE[what] * factor)}
            with _data(size, args.seed) as (table, tree):
                seconds = (_epoch if what == "samples" else _step)(table, tree, size, args)
                richness = float(np.median(table.pa(inplace=False).sum("sample")))
            grown = seconds / before if before else float("nan")
            row = {
                "doubled": what,
                **size,
                "ASVs a sample": richness,
                "timed": "epoch" if what == "samples" else "step",
                "seconds": seconds,
                "times the one before": grown,
            }
            rows.append(row)
            before = seconds
    report("scaling", rows, args.json, epochs=args.epochs, steps=args.steps)


@contextmanager
def _data(size, seed):
    config = SimulationConfig(
        n_samples=size["samples"], n_features=size["features"], n_bp=size["read length"], seed=seed
    )
    made = simulate(config)
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place) / "tree.nwk"
        tree.write_text(made.newick)
        yield made.table, tree


def _options(size, args) -> dict:
    return {
        "rarefy_depth": 0,
        "batch_size": size["batch"],
        "max_bp": max(150, size["read length"]),
        "random_seed": args.seed,
    }


def _epoch(table, tree, size, args) -> float:
    model = api.pretrain(table, tree, epochs=args.epochs, test_size=0.0, **_options(size, args))
    return float(model.history["seconds"].min())


def _step(table, tree, size, args) -> float:
    options = _options(size, args)
    steps = Steps(sample_table(table, None, options["max_bp"]), tree, options)
    steps.step(steps.batch(0))
    taken = []
    for i in range(min(args.steps, len(steps))):
        start = time.perf_counter()
        steps.step(steps.batch(i))
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


def _parser():
    made = parser(__doc__)
    made.add_argument("--double", nargs="+", choices=BASE, default=list(BASE))
    made.add_argument("--doublings", type=int, default=2)
    made.add_argument("--epochs", type=int, default=2)
    made.add_argument("--steps", type=int, default=4)
    return made


if __name__ == "__main__":
    main()
