"""Time and memory of UniFrac targets, beside `ssu` and the `unifrac` library.

Each line is measured in a process of its own, except for training steps. `prepare s` is the
reading of files (and, for batches, the references' share); `seconds` is the work itself. `ssu`
reads files and writes its matrix, all of it in `seconds`; the library is given what is read
already. The oral data are small, so each of their lines is the best of several times, for all
tools alike. What would take longer or more memory than allowed is not run, or stopped, and the
line says so. The parts: simulated samples, doublings of their number, the oral data, a training
step at default size, and a tree of a million tips.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import biom
import h5py
import numpy as np
from scipy.sparse import csr_matrix, load_npz, save_npz

from benchmarks import data
from benchmarks._phylogenies import random_newick, random_samples
from benchmarks._report import parser, report
from benchmarks._unifrac import BATCH, REFERENCES, peak
from q2_aam.core.data.sample_table import sample_table

STRIPES = f"N x {REFERENCES} stripes"
BATCHES = {
    "batch-stripes": f"batches of {BATCH} x {REFERENCES}",
    "batch-pairs": f"batches of {BATCH} x {BATCH}",
}
WHOLE = "N x N"


def main(arguments=None):
    """Run the command."""
    args = _parser().parse_args(arguments)
    rows = []
    for part in args.parts:
        for row in PARTS[part](args):
            print(", ".join(f"{k} {v}" for k, v in row.items() if v != ""), flush=True)
            rows.append({"part": part, **row})
    report("unifrac", rows, args.json, seed=args.seed, tips=args.tips, limit=args.limit)


def _simulated(args):
    with _simulation(args, max(args.sizes)) as place:
        for n in args.sizes:
            yield _ours("stripes", STRIPES, place, n, args)
            yield _ours("weighted-stripes", f"{STRIPES}, weighted", place, n, args)
            for what, said in BATCHES.items():
                yield _ours(what, said, place, n, args)
        before: dict[str, tuple[int, float]] = {}
        for n in args.sizes:
            for by in ("q2-aam", "ssu", "unifrac"):
                yield _whole(by, place, n, args, before)


def _whole(by, place, n, args, before) -> dict:
    """Measure a whole matrix, unless what fewer samples took says that it takes too long."""
    fewer, seconds = before.get(by, (n, 0.0))
    expected, matrix = seconds * (n / fewer) ** 2, 4 * n**2 / 2**30
    if expected > args.limit:
        return _row(WHOLE, n, by, note=f"not run: {expected:.0f} s by N = {fewer}")
    if matrix > args.memory:
        return _row(WHOLE, n, by, note=f"not run: the matrix takes {matrix:.1f} GiB")
    if by == "ssu":
        row = _ssu(place, n, args)
    else:
        row = _ours("whole" if by == "q2-aam" else "library", WHOLE, place, n, args, by)
    taken = row["seconds"]
    before[by] = (n, taken) if taken != "" else (fewer, max(seconds, args.limit * 1.01))
    return row


def _doubling(args):
    largest = max(args.sizes)
    with _simulation(args, largest) as place:
        before = None
        for n in (largest // 4, largest // 2, largest):
            row = _ours("stripes", STRIPES, place, n, args)
            if before and row["seconds"] != "":
                row["note"] = f"{row['seconds'] / before:.2f} times half of them (at most 2.2)"
            before = row["seconds"] or None
            yield row


def _oral(args):
    whole = data.read(data.SHARED_DATA / "oral-age")
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        shutil.copyfile(whole.tree, place / "tree.nwk")
        counts = csr_matrix(whole.table.matrix_data.T)
        _write(place, counts, whole.table.ids("observation"))
        n = counts.shape[0]
        many = args.repeats
        stripes = _ours("stripes", STRIPES, place, n, args, repeats=many)
        yield stripes
        said = f"{STRIPES}, weighted"
        yield _ours("weighted-stripes", said, place, n, args, repeats=many)
        ssu = min((_ssu(place, n, args) for _ in range(many)), key=lambda row: row["seconds"])
        for row in (ssu, _ours("library", WHOLE, place, n, args, "unifrac", many)):
            times = row["seconds"] / stripes["seconds"]
            yield {**row, "note": f"{times:.1f} times the stripes (10 or more)"}


def _step(args):
    from benchmarks._steps import Steps  # loads torch

    whole = data.read(data.SHARED_DATA / "oral-age")
    table = sample_table(whole.table, None, 150)
    for said, options in {
        f"{BATCH} x {REFERENCES}": {},
        f"{BATCH} x {REFERENCES}, weighted": {"unifrac_metric": "weighted_normalized"},
        f"{BATCH} x {BATCH}": {"stripe_mode": False},
    }.items():
        named = {"batch_size": BATCH, "rarefy_depth": 0, "random_seed": args.seed, **options}
        steps = Steps(table, whole.tree, named)
        steps.step(steps.batch(0))
        steps.seconds.clear()
        for i in range(1, 1 + args.steps):
            steps.step(steps.batch(i))
        whole_step, targets = sum(steps.seconds.values()), steps.seconds["UniFrac"]
        said_share = f"{100 * targets / whole_step:.2f} % of a step of "
        yield _row(
            f"{said} in a step", BATCH, "q2-aam", seconds=targets / args.steps,
            note=f"{said_share}{whole_step / args.steps:.2f} s (under 5 %)",
        )  # fmt: skip


def _tree(args):
    rng = np.random.default_rng([args.seed, 1])
    letters = np.frombuffer(b"ACGT", dtype=np.uint8)[rng.integers(0, 4, (args.tree_tips, 150))]
    names = letters.view("S150").ravel().astype(str).tolist()
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        (place / "tree.nwk").write_text(random_newick(rng, names))
        chosen = rng.permutation(args.tree_tips)[: args.tree_features]
        (place / "features.txt").write_text("\n".join(names[i] for i in chosen))
        del names, letters
        said = f"tree of {args.tree_tips} tips, pruned to {len(chosen)}"
        row = _ours("tree", said, place, 0, args)
        yield {**row, "samples": "", "note": "(under 60 s and 2 GiB)"}


@contextmanager
def _simulation(args, n):
    """Write a tree and samples."""
    rng = np.random.default_rng(args.seed)
    names = [f"f{i}" for i in range(args.tips)]
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        (place / "tree.nwk").write_text(random_newick(rng, names))
        _write(place, random_samples(rng, n, args.tips), names)
        yield place


def _write(place: Path, counts, features) -> None:
    save_npz(place / "counts.npz", counts, compressed=False)
    (place / "features.txt").write_text("\n".join(features))


def _ours(what, said, place, n, args, by="q2-aam", repeats=1) -> dict:
    work = [what, str(place), str(n), str(repeats)]
    command = [sys.executable, "-m", "benchmarks._unifrac", *work]
    found, note, _, most = _watch(command, args)
    if note:
        return _row(said, n, by, note=note, most=most)
    told = json.loads(found.splitlines()[-1])
    return _row(said, n, by, told["seconds"], told["peak"], told["prepare"])


def _ssu(place, n, args) -> dict:
    if shutil.which("ssu") is None:
        return _row(WHOLE, n, "ssu", note="not installed")
    features = (place / "features.txt").read_text().split()
    counts = load_npz(place / "counts.npz")[:n]
    table = biom.Table(counts.T.tocsr(), features, [f"s{i}" for i in range(n)])
    table.remove_empty("observation")
    with h5py.File(place / "table.biom", "w") as file:
        table.to_hdf5(file, "benchmark")
    command = ["ssu", "-i", "table.biom", "-t", "tree.nwk", "-m", "unweighted", "-o", "whole.h5"]
    command += ["-r", "hdf5_fp32", "--pcoa", "0"]
    _, note, seconds, most = _watch(command, args, place)
    return _row(WHOLE, n, "ssu", "" if note else seconds, most, note=note)


def _watch(command, args, place=None) -> tuple[str, str, float, float]:
    """Run a command within the limits.

    Returns
    -------
    tuple
        What it printed; why it did not end well, if so; its seconds; its peak of memory in GiB.
    """
    start, most, note = time.perf_counter(), 0.0, ""
    with tempfile.TemporaryFile("w+") as printed:
        process = subprocess.Popen(command, stdout=printed, cwd=place)
        while process.poll() is None:
            most = max(most, peak(process.pid))
            if time.perf_counter() - start > args.limit:
                note = f"stopped after {args.limit:g} s"
            elif most > args.memory:
                note = f"stopped at {args.memory:.1f} GiB"
            if note:
                process.kill()
                process.wait()
            time.sleep(0.005)
        seconds = time.perf_counter() - start
        if process.returncode and not note:
            note = f"failed with status {process.returncode}"
        printed.seek(0)
        return printed.read(), note, seconds, most


def _row(work, n, by, seconds="", most="", prepare="", note="") -> dict:
    return {
        "work": work,
        "samples": n,
        "by": by,
        "prepare s": prepare,
        "seconds": seconds,
        "peak GiB": most,
        "note": note,
    }


def _available() -> float:
    lines = Path("/proc/meminfo").read_text().splitlines()
    kib = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    return 0.8 * kib / 2**20


def _parser():
    made = parser(__doc__)
    add = made.add_argument
    add("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    add("--sizes", nargs="+", type=int, default=[1_000, 10_000, 50_000], metavar="N")
    add("--tips", type=int, default=100_000, help="of the simulated samples' tree")
    add("--tree-tips", type=int, default=1_000_000, help="of the tree that is pruned")
    add("--tree-features", type=int, default=10_000, help="that it is pruned to")
    add("--steps", type=int, default=4, help="training steps to time")
    add("--repeats", type=int, default=5, help="times that the oral data are measured")
    add("--limit", type=float, default=300, help="seconds that one measurement may take")
    add("--memory", type=float, default=_available(), help="GiB that one may take (default: 0.8 "
        "of what is free)")  # fmt: skip
    return made


PARTS = {
    "simulated": _simulated,
    "doubling": _doubling,
    "oral": _oral,
    "step": _step,
    "tree": _tree,
}

if __name__ == "__main__":
    main()
