"""How well a metadata column is predicted, beside a random forest on the same folds.

Each fold is held out in turn: an encoder is pre-trained on the samples of the other folds, without
labels, and kept as it is while what predicts the column is trained through the public API, with
its defaults; the result predicts the samples of the fold.
Predictions of all folds are pooled and scored once. The random forest is scikit-learn's with 500
trees on raw counts, what `qiime sample-classifier` users have today.

Further rows show the parts of the prediction by themselves, and the same models on the same
samples after one nucleotide of every ASV was exchanged at random, so that none of them was seen in
training; the forest has no features then.

With `--start shipped`, the encoder that ships takes the place of the one that is pre-trained; with
`--start scratch` there is none, and everything is trained on the column. With `--cut-at-primer`,
sequences of whole genes are cut to the 100 nt that sequencing of V4 reads.

With `--draws`, models are trained on a few samples drawn at random instead, with an encoder of
these samples or of `--transfer`, and predict all others; the scores of the draws are averaged.
"""

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
)

from benchmarks import _primers, data
from benchmarks._models import shipped_encoder
from benchmarks._report import parser, report
from q2_aam.core import api
from q2_aam.core.artifact import storage
from q2_aam.core.evaluation import interval_coverage
from q2_aam.core.model.specification import PARTS
from q2_aam.core.options import quantile_levels

OURS, UNSEEN, FOREST = "q2-aam", "q2-aam, ASVs never seen", "random forest"
BY_PART = {f"{part} alone": part for part in PARTS}
TREES = 500
CALIBRATION_BINS = 10
OWN, SHIPPED, SCRATCH = STARTS = "own", "shipped", "scratch"


def main(arguments=None):
    """Run the command."""
    args = _arguments(arguments)
    data_set = _read(args.data, args)
    values = data_set.column(args.target)
    names = [OURS, *BY_PART, *([] if args.draws else [UNSEEN]), *([FOREST] if args.forest else [])]
    answers, seconds = {name: [] for name in names}, dict.fromkeys(names, 0.0)
    pretraining = dict.fromkeys(names, 0.0)
    for label, train, test in _splits(data_set, values, args):
        start = time.perf_counter()
        encoder, taken = _start(data_set, values[train], label, args)
        model = _train(data_set, values[train], encoder, args)
        answers[OURS].append(_predict(model, data_set, test))
        seconds[OURS] += time.perf_counter() - start
        pretraining[OURS] += taken
        for name, part in BY_PART.items():
            answers[name].append(_predict(_alone(model, part), data_set, test))
        if UNSEEN in answers:
            changed = exchange_nucleotides(data_set, np.random.default_rng(args.seed))
            answers[UNSEEN].append(_predict(model, data_set, test, changed))
        if args.forest:
            start = time.perf_counter()
            answers[FOREST].append(_forest(data_set, values[train], test, args.seed))
            seconds[FOREST] += time.perf_counter() - start
        rows = [
            {
                **_row(name, values, parts, averaged=bool(args.draws)),
                "minutes": seconds[name] / 60,
                "minutes of pre-training": pretraining[name] / 60,
            }
            for name, parts in answers.items()
        ]
        print(f"after {label}:", *(_brief(row) for row in rows), sep="\n  ", flush=True)
    options = {k: str(v) for k, v in vars(args).items() if k != "json" and v is not None}
    report(f"accuracy-{Path(args.data).name}-{args.target}", rows, args.json, options=options)


def _read(directory, args):
    data_set = data.read(directory)
    if not args.cut_at_primer or data_set.sequences is None:
        return data_set
    return replace(data_set, sequences=_primers.cut(api.read_sequences(data_set.sequences)))


def _splits(data_set, values, args):
    """Yield a name, the samples to train on and those to predict, of each fold or draw."""
    if args.draws:
        for draw in range(args.draws):
            order = np.random.default_rng([args.seed, draw]).permutation(values.index)
            yield f"draw {draw}", list(order[: args.samples]), list(order[args.samples :])
        return
    folds = data_set.metadata[args.folds_column].reindex(values.index)
    for fold in args.folds or sorted(folds.dropna().unique()):
        yield fold, list(values.index[folds != fold]), list(values.index[folds == fold])


def _alone(model, part):
    """Return the model with one part of its predictions alone."""
    stored = model.spec.stored
    weights = [float(name == part) for name in PARTS]
    return replace(model, spec=replace(model.spec, stored=stored.with_weights(*weights)))


def _common(args) -> dict:
    """Return the options of pre-training and of training."""
    given = {"rarefy_depth": args.rarefy_depth, "random_seed": args.seed}
    return given | dict(args.option) | {"monitor": api.Monitor(progress=args.progress)}


def _start(data_set, values, label, args):
    """Return the encoder that training starts from, or None, and seconds of pre-training."""
    if args.start == SHIPPED:
        return shipped_encoder(args.encoder), 0.0
    if args.transfer:
        source = _read(args.transfer, args)
        return _encoder(source, list(source.table.ids()), "all", args)
    if args.start == SCRATCH:
        return None, 0.0
    ids = list(values.index) if args.draws else _not_in(data_set, label, args)
    return _encoder(data_set, ids, label, args)


def _train(data_set, values, encoder, args):
    train = api.train_classifier if _is_text(values) else api.train_regressor
    own = {"epochs": args.epochs} if args.epochs else {}
    if args.quantiles and not _is_text(values):
        own["loss_type"] = "quantile"
    if encoder is None:
        own["from_scratch"] = True
    return train(
        data_set.samples(values.index),
        values,
        encoder=encoder,
        sequences=data_set.sequences,
        freeze_base=encoder is not None and not args.joint,
        **own,
        **_common(args),
    )


def _not_in(data_set, fold, args) -> list[str]:
    """List all samples that are not in a fold, those without a value of the column too."""
    folds = data_set.metadata[args.folds_column].reindex(list(data_set.table.ids()))
    return [str(name) for name in folds.index[folds != fold]]


def _encoder(data_set, ids, label, args):
    """Pre-train on some samples, or take what an earlier call kept; return it and the seconds."""
    source = Path(args.transfer or args.data).name
    kept = args.encoders and Path(args.encoders) / f"{source}-{label}".replace(" ", "-")
    if kept and kept.exists():
        return storage.load(kept), 0.0
    own = {} if args.pretrain_epochs is None else {"epochs": args.pretrain_epochs}
    start = time.perf_counter()
    model = api.pretrain(
        data_set.samples(ids),
        data_set.tree,
        sequences=data_set.sequences,
        test_size=0.1,
        **own,
        **_common(args),
    )
    seconds = time.perf_counter() - start
    if kept:
        storage.save(model, kept)
    return model, seconds


def _predict(model, data_set, ids, sequences=None):
    """Return numbers, or a table of quantiles or of probabilities, by sample."""
    table = data_set.samples(ids)
    sequences = sequences or data_set.sequences
    if model.spec.quantiles:
        return api.predict_quantiles(table, model, sequences=sequences)
    if model.spec.kind == "SequenceRegressor":
        return api.predict_regression(table, model, sequences=sequences)
    return api.predict_classification(table, model, sequences=sequences)[1]


def _forest(data_set, values, test, seed):
    ids = list(data_set.table.ids())
    row_of = {name: i for i, name in enumerate(ids)}
    counts = data_set.table.matrix_data.T.tocsr()
    known = counts[[row_of[name] for name in values.index]].toarray()
    asked = counts[[row_of[name] for name in test]].toarray()
    made_by = RandomForestClassifier if _is_text(values) else RandomForestRegressor
    forest = made_by(TREES, n_jobs=-1, random_state=seed).fit(known, values)
    if _is_text(values):
        return pd.DataFrame(forest.predict_proba(asked), index=test, columns=forest.classes_)
    return pd.Series(forest.predict(asked), index=test)


def exchange_nucleotides(data_set, rng) -> dict[str, str]:
    """Exchange one nucleotide of every ASV; return the new sequences by feature id."""
    ids = [str(name) for name in data_set.table.ids("observation")]
    sequences = api.read_sequences(data_set.sequences) or {name: name for name in ids}
    known, changed = set(sequences.values()), {}
    for name in ids:
        text = sequences[name].upper()
        while (new := _exchanged(text, rng)) in known:
            continue
        changed[name] = new
    return changed


def _exchanged(text: str, rng) -> str:
    place = rng.integers(min(len(text), 100))
    others = [base for base in "ACGT" if base != text[place]]
    return text[:place] + others[rng.integers(len(others))] + text[place + 1 :]


def _is_text(values) -> bool:
    return not is_numeric_dtype(values)


def _row(name, values, parts, *, averaged: bool) -> dict:
    """Score predictions of all parts together, or the mean of the scores of each."""
    rows = [_score(values, part) for part in (parts if averaged else [pd.concat(parts)])]
    scores = {score: float(np.mean([row[score] for row in rows])) for score in rows[0]}
    return {"model": name, "samples": sum(len(part) for part in parts), **scores}


def _score(values, said) -> dict[str, float]:
    true = values[said.index]
    return _class_scores(true, said.fillna(0.0)) if _is_text(values) else _scores(true, said)


def _scores(true, predicted) -> dict[str, float]:
    """Score numbers, or quantiles: these also by how many values lie in the outermost interval."""
    if isinstance(predicted, pd.Series):
        return {"R2": r2_score(true, predicted), "MAE": mean_absolute_error(true, predicted)}
    levels = quantile_levels.levels_of(predicted.columns)
    widest = interval_coverage.coverage(predicted.to_numpy(), true.to_numpy(), levels).iloc[0]
    return _scores(true, predicted[quantile_levels.names((quantile_levels.MEDIAN,))[0]]) | {
        "promised": widest["nominal"],
        "within": widest["covered"],
        "width": widest["mean_width"],
    }


def _class_scores(true, likely) -> dict[str, float]:
    likely = likely[sorted(likely.columns)]
    guess = likely.columns[likely.to_numpy().argmax(axis=1)]
    present = [name for name in likely.columns if 0 < (true == name).sum() < len(true)]
    auc = [roc_auc_score(true == name, likely[name]) for name in present]
    return {
        "accuracy": accuracy_score(true, guess),
        "macro F1": f1_score(true, guess, average="macro"),
        "AUC": float(np.mean(auc)),
        "ECE": calibration_error(true.to_numpy() == guess, likely.max(axis=1).to_numpy()),
    }


def calibration_error(right: np.ndarray, confidence: np.ndarray) -> float:
    """Return the expected calibration error, over ten bins of confidence (Guo et al., 2017)."""
    number = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = [
        abs(right[number == i].mean() - confidence[number == i].mean()) * (number == i).mean()
        for i in np.unique(number)
    ]
    return float(sum(gaps))


def _brief(row) -> str:
    return "  ".join(
        f"{name} {value:.3f}" if isinstance(value, float) else str(value)
        for name, value in row.items()
    )


def _option(text: str) -> tuple:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _arguments(given):
    made = _parser()
    args = made.parse_args(given)
    if args.transfer and args.start != OWN:
        made.error("--transfer pre-trains an encoder: it goes with --start own only")
    if args.encoder and args.start != SHIPPED:
        made.error("--encoder takes the place of the one that ships: add --start shipped")
    if args.pretrain_epochs == 0 and args.start == OWN and not args.transfer:
        args.start = SCRATCH
    return args


def _parser():
    made = parser(__doc__)
    made.add_argument("--data", default=str(data.SHARED_DATA / "oral-age"))
    made.add_argument("--target", default="age", help="metadata column (default: age)")
    made.add_argument("--folds", nargs="+", help="only these folds")
    made.add_argument(
        "--start", choices=STARTS, default=OWN,
        help="what training starts from: an encoder of these samples (own, the default), the one "
        "that ships, or nothing (scratch)",
    )  # fmt: skip
    made.add_argument(
        "--encoder", metavar="DIRECTORY", help="with --start shipped: this one instead"
    )
    made.add_argument(
        "--cut-at-primer", action="store_true",
        help="of each sequence of sequences.fna, use the 100 nt after the 515F primer",
    )  # fmt: skip
    made.add_argument("--transfer", metavar="DATA", help="pre-train on this data set instead")
    made.add_argument(
        "--folds-column", default=data.FOLD, metavar="COLUMN",
        help="each value of this column is held out in turn, such as study (default: fold)",
    )  # fmt: skip
    made.add_argument("--draws", type=int, default=0, help="draw samples so many times instead")
    made.add_argument("--samples", type=int, default=80, help="of each draw (default: 80)")
    made.add_argument(
        "--pretrain-epochs", type=int, help="0: as --start scratch (default: the option's)"
    )
    made.add_argument("--epochs", type=int, help="of training (default: the option's)")
    made.add_argument("--rarefy-depth", type=int, default=0, help="default: all reads")
    made.add_argument(
        "--quantiles", action="store_true", help="numbers: predict a 90%% interval, score it too"
    )
    made.add_argument(
        "--option", type=_option, action="append", default=[], metavar="NAME=VALUE",
        help="any other option of pre-training and training, such as lr=0.0003; the rest have "
        "their defaults",
    )  # fmt: skip
    made.add_argument("--without-forest", dest="forest", action="store_false")
    made.add_argument("--joint", action="store_true", help="train the encoder too")
    made.add_argument("--encoders", metavar="DIRECTORY", help="keep and reuse encoders here")
    made.add_argument("--progress", action="store_true")
    return made


if __name__ == "__main__":
    main()
