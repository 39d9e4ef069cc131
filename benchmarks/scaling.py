"""How the cost of pre-training, training and prediction grows, in time and in memory.

One thing is doubled at a time, on simulated data: samples, ASVs a sample, distinct ASVs, the
length of reads, or the batch. Each size is a process of its own, so that its peak memory is its
own. Times are those of the fastest epoch through the public API (pre-training; training with a
frozen encoder, whose ASVs were encoded in the first epoch), or of the fastest of as many
predictions of all samples, by a model that stores as many samples at every size, as
`stored_samples` has it in large studies.
"""

import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks._child import in_child
from benchmarks._models import untrained_encoder
from benchmarks._report import parser, report
from q2_aam.core import api
from q2_aam.core.data.simulate import SimulationConfig, simulate

BASE = {
    "samples": 128,
    "ASVs a sample": 64,
    "distinct ASVs": 256,
    "read length": 100,
    "batch": 16,
}
STAGES = ("pretrain", "train", "predict")


def main(arguments=None):
    """Run the command."""
    args = _parser().parse_args(arguments)
    rows = []
    for stage in args.of:
        for what in args.double:
            if stage == "predict" and what == "batch":
                continue  # prediction has a batch of its own
            before = None
            for factor in 2 ** np.arange(args.doublings + 1):
                size = {**BASE, what: int(BASE[what] * factor)}
                seconds, _, memory = in_child(_seconds, stage, size, args.epochs, args.seed)
                rows.append(
                    {
                        "of": stage,
                        "doubled": what,
                        **size,
                        "seconds": seconds,
                        "times the one before": seconds / before if before else "",
                        "peak memory, GiB": memory,
                    }
                )
                print(rows[-1], flush=True)
                before = seconds
    report("scaling", rows, args.json, epochs=args.epochs)


def _seconds(stage: str, size: dict, epochs: int, seed: int) -> float:
    """Return the seconds of the fastest epoch, or of the fastest prediction of all samples."""
    made = simulate(
        SimulationConfig(
            n_samples=size["samples"],
            n_features=size["distinct ASVs"],
            n_bp=size["read length"],
            occupancy=size["ASVs a sample"] / size["distinct ASVs"],
            depth=20_000,
            seed=seed,
        )
    )
    options = {
        "rarefy_depth": 0,
        "batch_size": size["batch"],
        "max_bp": max(150, size["read length"]),
        "random_seed": seed,
        "test_size": 0.0,
    }
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place) / "tree.nwk"
        tree.write_text(made.newick)
        if stage == "pretrain":
            model = api.pretrain(made.table, tree, epochs=epochs, **options)
            return float(model.history["seconds"].min())
    return _of_training(stage, made, options, epochs, seed)


def _of_training(stage, made, options, epochs, seed) -> float:
    encoder = untrained_encoder(seed, max_bp=options["max_bp"])
    model = api.train_regressor(
        made.table,
        made.metadata["age"],
        encoder=encoder,
        freeze_base=True,
        stored_samples=0 if stage == "train" else BASE["samples"],
        epochs=epochs if stage == "train" else 1,
        **options,
    )
    if stage == "train":
        return float(model.history["seconds"].min())
    seconds = []
    for _ in range(epochs):
        start = time.perf_counter()
        api.predict_regression(made.table, model, device="cpu")
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _parser():
    made = parser(__doc__)
    made.add_argument("--of", nargs="+", choices=STAGES, default=list(STAGES))
    made.add_argument("--double", nargs="+", choices=BASE, default=list(BASE))
    made.add_argument("--doublings", type=int, default=2)
    made.add_argument(
        "--epochs", type=int, default=4, help="or predictions, of which the fastest counts"
    )
    return made


if __name__ == "__main__":
    main()
