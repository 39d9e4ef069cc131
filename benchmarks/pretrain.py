"""How fast pre-training is, where its time goes, and how much memory it takes.

Steps are taken outside of the training loop, so that their parts can be timed; then the public API
trains for an epoch, loop and all, without validation. The speed of the arithmetic is told beside
that of a large matrix product, timed between the steps, and of one as the feed-forward layers have
it.

With ``--ranks``, only the loop is timed, once for each number of ranks. The threads of the machine
are divided among them, so that two ranks of one thread stand beside one of two.
"""

import resource
import time

import numpy as np
import torch

from benchmarks import data
from benchmarks._report import parser, report
from benchmarks._steps import Steps, n_parameters, product_speed
from q2_aam.core import api
from q2_aam.core.data.sample_table import sample_table

OPTIONS = (
    "batch_size",
    "rarefy_depth",
    "token_limit",
    "embedding_dim",
    "attention_layers",
    "asv_chunk_size",
    "gradient_checkpointing",
    "gradient_accumulation_steps",
)


def main(arguments=None):
    """Run the command."""
    args = _parser().parse_args(arguments)
    data_set = data.read(args.data)
    options = {k: v for k, v in vars(args).items() if k in OPTIONS and v}
    options = {"rarefy_depth": 0, "random_seed": args.seed, **options}
    ids = list(data_set.table.ids())[: args.samples]
    sequences = api.read_sequences(data_set.sequences)
    if args.ranks:
        rows = [by_ranks(data_set, ids, options, n) for n in args.ranks]
        report("pretrain-ranks", rows, args.json, options=options, samples=len(ids))
        return
    table = sample_table(data_set.samples(ids), sequences, 150)
    rows = timed_steps(Steps(table, data_set.tree, options), args.steps)
    rows["peak memory of the process, GiB"] = peak_memory()
    if args.loop:
        rows["samples/s in the loop"] = _in_the_loop(data_set, ids, options)
    rows = [{"measure": name, "value": value} for name, value in rows.items()]
    report("pretrain", rows, args.json, options=options, samples=len(ids))


def timed_steps(steps: Steps, n: int) -> dict[str, float]:
    """Take steps and say how fast they were."""
    n = min(n, len(steps))
    steps.step(steps.batch(0))  # the first one also allocates
    steps.seconds.clear()
    done = {"samples": 0, "distinct ASVs": 0, "tokens": 0}
    products, wall = [], 0.0
    for i in range(n):
        start = time.perf_counter()
        batch = steps.batch(i)
        steps.step(batch)
        wall += time.perf_counter() - start
        done["samples"] += len(steps.batches.plan[i])
        done["distinct ASVs"] += len(batch.asvs)
        done["tokens"] += batch.tokens.numel() + batch.masked_at.numel()
        products.append(product_speed())  # between steps: the machine's speed changes
    seconds = dict(steps.seconds)
    flops = sum(steps.flops(steps.batches[i]) for i in range(n))
    speed = flops / (seconds["forward"] + seconds["backward"])
    large = float(np.median(products))
    dim = steps.settings.model.embedding_dim
    alike = float(np.median([product_speed(done["tokens"] // n, dim, 2 * dim) for _ in range(n)]))
    return {
        "parameters": n_parameters(steps.model),
        **{f"{name}/s": count / wall for name, count in done.items()},
        **{f"share of {name}": s / wall for name, s in seconds.items()},
        "seconds a step": wall / n,
        "GFLOP a step": flops / n / 1e9,
        "GFLOP/s": speed / 1e9,
        "GFLOP/s of a large matrix product": large / 1e9,
        "share of the large product's speed": speed / large,
        "GFLOP/s of a product of the layers' size": alike / 1e9,
        "share of that product's speed": speed / alike,
    }


def peak_memory() -> float:
    """Return the most memory that this process has had, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def by_ranks(data_set, ids, options, n_ranks: int) -> dict[str, float]:
    """Train for some epochs with so many ranks; tell the speed of the best epoch.

    The first epoch also allocates, and another process may take the machine in any of them.
    """
    seconds = _seconds(data_set, ids, options, n_ranks, epochs=4)
    return {
        "ranks": n_ranks,
        "threads of each": max(1, torch.get_num_threads() // n_ranks),
        "samples/s, best epoch": len(ids) / min(seconds),
        "samples/s, median epoch": len(ids) / float(np.median(seconds)),
    }


def _in_the_loop(data_set, ids, options) -> float:
    return len(ids) / _seconds(data_set, ids, options)[-1]


def _seconds(data_set, ids, options, n_ranks: int = 1, epochs: int = 1) -> list[float]:
    """Return the seconds of each epoch."""
    model = api.pretrain(
        data_set.samples(ids),
        data_set.tree,
        sequences=data_set.sequences,
        epochs=epochs,
        test_size=0.0,
        monitor=api.Monitor(layout=api.Layout(n_ranks)),
        **options,
    )
    return model.history["seconds"].tolist()


def _parser():
    made = parser(__doc__)
    made.add_argument("--data", default=str(data.SHARED_DATA / "oral-age"))
    made.add_argument("--samples", type=int, help="of the data (default: all)")
    made.add_argument("--steps", type=int, default=10, help="to time (default: 10)")
    made.add_argument("--batch-size", type=int, default=32)
    made.add_argument("--rarefy-depth", type=int, help="default: all reads")
    made.add_argument("--token-limit", type=int)
    made.add_argument("--embedding-dim", type=int)
    made.add_argument("--attention-layers", type=int)
    made.add_argument("--asv-chunk-size", type=int)
    made.add_argument("--gradient-accumulation-steps", type=int)
    made.add_argument("--gradient-checkpointing", action="store_true")
    made.add_argument("--ranks", type=int, nargs="+", help="time these numbers of ranks only")
    made.add_argument("--no-loop", dest="loop", action="store_false", help="time steps only")
    return made


if __name__ == "__main__":
    main()
