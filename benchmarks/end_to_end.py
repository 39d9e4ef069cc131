"""What a user does, on real data, through the `qiime` command: from import to visualization.

On the oral data: import, pre-train, train on age with a fold held out, predict the fold, and draw
q2-sample-classifier's scatterplot of the predictions. On the vaginal data, whose ids are numbers:
the same with sequences for a Nugent category, and its confusion matrix. Every command is shown.
"""

import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import qiime2
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, r2_score

from benchmarks import data
from benchmarks._report import parser, report

OPTIONS = ["--p-lr", "0.001", "--p-batch-size", "16"]


def main(arguments=None):
    """Run the command."""
    args = _parser().parse_args(arguments)
    place = Path(args.keep or tempfile.mkdtemp(prefix="q2-aam-end-to-end-"))
    place.mkdir(parents=True, exist_ok=True)
    try:
        tasks = {"oral": _oral, "vaginal": _vaginal}
        rows = [tasks[name](place / name, args) for name in args.only]
    finally:
        if not args.keep:
            shutil.rmtree(place)
    report("end-to-end", rows, args.json, fold=args.fold)


def _oral(place, args) -> dict:
    start = time.perf_counter()
    whole = data.read(data.SHARED_DATA / "oral-age")
    task = _Task(place, whole, "age", args)
    task.prepare(sequences=False)
    task.pretrain(["--p-rarefy-depth", "1000"])
    task.train("train-regressor", "regressor", ["--p-rarefy-depth", "1000"])
    _qiime(place, "aam predict-regression --i-table test.qza --i-regressor model.qza "
                  "--o-predictions predictions.qza")  # fmt: skip
    _qiime(place, "sample-classifier scatterplot --i-predictions predictions.qza "
                  "--m-truth-file metadata.tsv --m-truth-column age "
                  "--p-missing-samples ignore --o-visualization scatterplot.qzv")  # fmt: skip
    guess = qiime2.Artifact.load(str(place / "predictions.qza")).view(pd.Series)
    true = whole.column("age")[guess.index]
    scores = {"R2": r2_score(true, guess), "MAE": mean_absolute_error(true, guess)}
    return task.row(start, guess, scores)


def _vaginal(place, args) -> dict:
    start = time.perf_counter()
    whole = data.read(data.SHARED_DATA / "vaginal-ravel")
    task = _Task(place, whole, "nugent_category", args)
    task.prepare(sequences=True)
    given = ["--i-sequences", "sequences.qza"]
    task.pretrain([*given, "--p-rarefy-depth", "0"])
    task.train("train-classifier", "classifier", [*given, "--p-rarefy-depth", "0"])
    _qiime(place, "aam predict-classification --i-table test.qza --i-classifier model.qza "
                  "--i-sequences sequences.qza --o-predictions predictions.qza "
                  "--o-probabilities probabilities.qza")  # fmt: skip
    _qiime(place, "sample-classifier confusion-matrix --i-predictions predictions.qza "
                  "--i-probabilities probabilities.qza --m-truth-file metadata.tsv "
                  "--m-truth-column nugent_category --p-missing-samples ignore "
                  "--o-visualization confusion-matrix.qzv")  # fmt: skip
    guess = qiime2.Artifact.load(str(place / "predictions.qza")).view(pd.Series)
    true = whole.column("nugent_category").reindex(guess.index).dropna()
    guess = guess[true.index]
    scores = {
        "accuracy": accuracy_score(true, guess),
        "macro F1": f1_score(true, guess, average="macro"),
    }
    return task.row(start, guess, scores)


class _Task:
    """One data set on its way through the commands."""

    def __init__(self, place: Path, whole: data.DataSet, column: str, args):
        self.place, self.whole, self.column, self.args = place, whole, column, args
        place.mkdir(exist_ok=True)

    def prepare(self, sequences: bool) -> None:
        """Import the data, and divide the table by the fold."""
        source = self.whole.tree.parent
        _qiime(self.place, f"tools import --type FeatureTable[Frequency] "
               f"--input-path {source}/table.biom --input-format BIOMV210Format "
               "--output-path table.qza")  # fmt: skip
        _qiime(self.place, f"tools import --type Phylogeny[Rooted] --input-path "
               f"{self.whole.tree} --output-path tree.qza")  # fmt: skip
        if sequences:
            _qiime(self.place, f"tools import --type FeatureData[Sequence] --input-path "
                   f"{self.whole.sequences} --output-path sequences.qza")  # fmt: skip
        shutil.copyfile(source / "metadata.tsv", self.place / "metadata.tsv")
        # confusion-matrix stops at test samples whose value is missing, whatever it is told.
        tested = f"fold='{self.args.fold}' AND [{self.column}] IS NOT NULL"
        for name, where in ("train", f"fold<>'{self.args.fold}'"), ("test", tested):
            _qiime(self.place, "feature-table filter-samples --i-table table.qza "
                   f"--m-metadata-file metadata.tsv --p-where \"{where}\" "
                   f"--o-filtered-table {name}.qza")  # fmt: skip

    def pretrain(self, options) -> None:
        """Pre-train on the training samples."""
        _qiime(self.place, "aam pretrain --i-table train.qza --i-phylogeny tree.qza "
               f"--p-epochs {self.args.pretrain_epochs} --p-random-seed {self.args.seed} "
               "--o-encoder encoder.qza", [*OPTIONS, *options])  # fmt: skip

    def train(self, action, output, options) -> None:
        """Train on the column."""
        _qiime(self.place, f"aam {action} --i-table train.qza --i-encoder encoder.qza "
               f"--m-metadata-file metadata.tsv --m-metadata-column {self.column} "
               f"--p-missing-samples ignore --p-freeze-base --p-epochs {self.args.epochs} "
               f"--p-random-seed {self.args.seed} --o-{output} model.qza",
               [*OPTIONS, *options])  # fmt: skip

    def row(self, start, guess, scores) -> dict:
        """Return the line of the report."""
        said = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
        return {
            "data": self.whole.tree.parent.name,
            "column": self.column,
            "held-out samples": len(guess),
            "scores": said,
            "minutes": (time.perf_counter() - start) / 60,
        }


def _qiime(place: Path, command: str, options=()) -> None:
    words = [*shlex.split(command), *options]
    print("$ qiime", shlex.join(words), flush=True)
    subprocess.run([sys.executable, "-m", "q2cli", *words], cwd=place, check=True)


def _parser():
    made = parser(__doc__)
    made.add_argument("--fold", default="fold0")
    made.add_argument("--pretrain-epochs", type=int, default=2)
    made.add_argument("--epochs", type=int, default=6)
    made.add_argument(
        "--only", nargs="+", choices=("oral", "vaginal"), default=["oral", "vaginal"]
    )
    made.add_argument("--keep", metavar="DIRECTORY", help="keep all files here")
    return made


if __name__ == "__main__":
    main()
