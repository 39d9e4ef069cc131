"""The models of a cross-validation together, beside one model of the same samples.

A fold of a data set is held out. A model is trained on all other samples. On these samples, a
cross-validation by the other folds trains a model for each of them; these models together are the
ensemble. All have the defaults of training, and start from the encoder that ships where it fits.
The held-out fold is then predicted by the one model, by each of the models of the folds (the mean
of their scores is shown), and by the ensemble.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from pandas.api.types import is_numeric_dtype

from benchmarks import data
from benchmarks._report import parser, report
from benchmarks.accuracy import _option, _score
from q2_aam.core import api

ONE, EACH, TOGETHER = "one model", "a model of a fold, mean", "ensemble"


def main(arguments=None):
    """Run the command."""
    args = _parser().parse_args(arguments)
    data_set = data.read(args.data)
    values = data_set.column(args.target)
    folds = data_set.metadata[data.FOLD].reindex(values.index)
    test, known = values[folds == args.fold], values[folds != args.fold]
    start = time.perf_counter()
    one = _train(data_set, known, args)
    seconds = {ONE: time.perf_counter() - start}
    start = time.perf_counter()
    names = sorted(set(folds[known.index]))
    members = [_train(data_set, known[folds[known.index] != name], args) for name in names]
    seconds[TOGETHER] = time.perf_counter() - start
    ensemble = api.Ensemble.of(members)
    rows = [_row(name, data_set, test, model, seconds[name]) for name, model in (
        (ONE, one), (TOGETHER, ensemble))]  # fmt: skip
    scores = [_score(values, _predict(model, data_set, test)) for model in members]
    rows.insert(1, {"model": EACH} | {n: np.mean([s[n] for s in scores]) for n in scores[0]})
    options = {name: str(value) for name, value in vars(args).items() if name != "json"}
    report(f"ensemble-{Path(args.data).name}-{args.target}", rows, args.json, options=options)


def _train(data_set, values, args):
    train = api.train_regressor if is_numeric_dtype(values) else api.train_classifier
    chosen = {"random_seed": args.seed, **dict(args.option)}
    samples = data_set.samples(values.index)
    return train(samples, values, sequences=data_set.sequences, **chosen)


def _row(name, data_set, test, model, seconds) -> dict:
    start = time.perf_counter()
    said = _predict(model, data_set, test)
    taken = time.perf_counter() - start
    row = {"model": name} | _score(test, said)
    return row | {"training, s": seconds, "prediction, s": taken, "size, MB": _megabytes(model)}


def _predict(model, data_set, test):
    table, given = data_set.samples(test.index), {"sequences": data_set.sequences}
    if is_numeric_dtype(test):
        return api.predict_regression(table, model, **given)
    return api.predict_classification(table, model, **given)[1]


def _megabytes(model) -> float:
    with tempfile.TemporaryDirectory() as place:
        api.save(model, Path(place) / "model")
        return sum(path.stat().st_size for path in Path(place).rglob("*.*")) / 1e6


def _parser():
    made = parser(__doc__)
    made.add_argument("--data", default=str(data.SHARED_DATA / "oral-age"))
    made.add_argument("--target", default="age", help="metadata column (default: age)")
    made.add_argument("--fold", default="fold0", help="to hold out (default: fold0)")
    made.add_argument(
        "--option", type=_option, action="append", default=[], metavar="NAME=VALUE",
        help="any option of training; the rest have their defaults",
    )  # fmt: skip
    return made


if __name__ == "__main__":
    main()
