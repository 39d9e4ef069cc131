"""What the first command of a new user gives, beside a random forest: minutes and scores.

The command is `qiime aam regress-samples` with a table, a column, and nothing else: it starts
from the encoder that ships. Then come q2-sample-classifier's random forest, on a split of its own
and on ours, and our command with a phylogeny, which pre-trains on the same training samples. The
data are the oral samples, the column is age.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import biom
import pandas as pd
import qiime2
from sklearn.metrics import mean_absolute_error, r2_score

from benchmarks import data
from benchmarks._report import parser, report

COLUMN = "age"
METADATA = f"--m-metadata-file metadata.tsv --m-metadata-column {COLUMN}"
JOBS = 2


def main(arguments=None):
    """Run the command."""
    args = _parser().parse_args(arguments)
    place = Path(args.keep or tempfile.mkdtemp(prefix="q2-aam-first-command-"))
    place.mkdir(parents=True, exist_ok=True)
    try:
        rows = _rows(place, args)
    finally:
        if not args.keep:
            shutil.rmtree(place)
    report("first-command", rows, args.json, seed=args.seed, options=args.options)


def _rows(place: Path, args) -> list[dict]:
    source = Path(args.data)
    true = data.read(source).column(COLUMN)
    _import(place, source, args)
    ours = f"aam regress-samples --i-table table.qza {METADATA} {args.options}"
    if args.seed:
        ours += f" --p-random-seed {args.seed}"
    start = " --i-encoder encoder.qza" if args.encoder else ""
    first = _qiime(place, f"{ours}{start} --output-dir first")
    held_out = _samples(place / "first/test_table.qza")
    rows = [
        _row("q2-aam, the first command", first, place / "first", true, held_out),
        *_forests(place, args.seed, true, held_out),
    ]
    if args.own:
        own = _qiime(place, f"{ours} --i-phylogeny tree.qza --output-dir own")
        rows.append(_row("q2-aam, with a phylogeny", own, place / "own", true, held_out))
    return rows


def _import(place: Path, source: Path, args) -> None:
    """Import what the commands take; a user has it."""
    imports = [
        ("FeatureTable[Frequency]", source / "table.biom", "table", "BIOMV210Format"),
        ("Phylogeny[Rooted]", source / "tree.nwk", "tree", "NewickFormat"),
    ]
    if args.encoder:
        imports.append(
            ("AAMModel[SequenceEncoder]", args.encoder, "encoder", "AAMModelDirectoryFormat")
        )
    for type_, path, name, form in imports:
        path = shlex.quote(str(Path(path).resolve()))
        _qiime(place, f"tools import --type {type_} --input-path {path} "
               f"--input-format {form} --output-path {name}.qza")  # fmt: skip
    shutil.copyfile(source / "metadata.tsv", place / "metadata.tsv")


def _forests(place: Path, seed: int, true: pd.Series, held_out: set[str]) -> list[dict]:
    """Train random forests with the defaults of q2-sample-classifier."""
    forest = f"{METADATA} --p-n-jobs {JOBS} --p-random-state {seed}"
    whole = _qiime(place, "sample-classifier regress-samples --i-table table.qza "
                   f"{forest} --output-dir forest")  # fmt: skip
    same = _qiime(place, "sample-classifier fit-regressor --i-table first/training_table.qza "
                  f"{forest} --output-dir fitted")  # fmt: skip
    same += _qiime(place, "sample-classifier predict-regression --i-table first/test_table.qza "
                   f"--i-sample-estimator fitted/sample_estimator.qza --p-n-jobs {JOBS} "
                   "--o-predictions fitted/predictions.qza")  # fmt: skip
    return [
        _row("random forest, its own split", whole, place / "forest", true),
        _row("random forest, same split", same, place / "fitted", true, held_out),
    ]


def _row(what: str, minutes: float, made: Path, true: pd.Series, held_out=None) -> dict:
    """Score the predictions of a folder, which must be of the samples that are held out."""
    guess = qiime2.Artifact.load(str(made / "predictions.qza")).view(pd.Series)
    if held_out is not None and set(guess.index) != held_out:
        raise RuntimeError(f"{what}: {len(guess)} other samples than those of first/test_table.")
    return {
        "what": what,
        "held-out samples": len(guess),
        "minutes": minutes,
        "R2": r2_score(true[guess.index], guess),
        "MAE": mean_absolute_error(true[guess.index], guess),
    }


def _samples(path: Path) -> set[str]:
    return set(qiime2.Artifact.load(str(path)).view(biom.Table).ids())


def _qiime(place: Path, command: str) -> float:
    """Show a command, run it, and return the minutes that it took, with its start.

    What q2cli keeps of the plugins, defaults too, lies beside the data, so none of it is old.
    """
    words = shlex.split(command)
    env = {**os.environ, "XDG_CONFIG_HOME": str(place.resolve() / "config")}
    env.pop("CONDA_PREFIX", None)
    print("$ qiime", shlex.join(words), flush=True)
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "q2cli", *words], cwd=place, env=env, check=True)
    return (time.perf_counter() - start) / 60


def _parser():
    made = parser(__doc__)
    made.add_argument("--data", default=str(data.SHARED_DATA / "oral-age"))
    made.add_argument("--encoder", metavar="DIRECTORY", help="give this one to the first command")
    made.add_argument(
        "--options", default="", metavar="TEXT",
        help="further options of our commands, such as '--p-rarefy-depth 1000' (default: none)",
    )  # fmt: skip
    made.add_argument(
        "--without-own", dest="own", action="store_false", help="no command with a phylogeny"
    )
    made.add_argument("--keep", metavar="DIRECTORY", help="keep all files here")
    return made


if __name__ == "__main__":
    main()
