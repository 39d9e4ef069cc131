"""The page of evaluate-classification."""

import numpy as np
import pandas as pd

from q2_aam.core.evaluation import classification_curves
from q2_aam.core.evaluation.classes import check_classes
from q2_aam.core.evaluation.differences import check_same_samples, classification_differences
from q2_aam.core.evaluation.scores import ClassificationReport, classification_scores
from q2_aam.pages import baselines as of_baselines
from q2_aam.pages import charts as charts
from q2_aam.pages import legend, samples
from q2_aam.pages.frame import Download, Figure, Page, Section, Table, count, interval, number

LABELS = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
    "macro_auc": "Macro AUC (ROC)",
    "log_loss": "Log loss (nats)",
    "ece": "Expected calibration error",
}
COLOURED_CLASSES = 7
CURVE_POINTS = 100
MAX_CURVES = 100
WORST = 20


def page(
    predictions: pd.Series,
    probabilities: pd.DataFrame,
    column: pd.Series,
    missing: str,
    seed: int,
    baselines: dict[str, tuple[pd.Series, pd.DataFrame]] | None = None,
) -> Page:
    """Compose the page.

    Parameters
    ----------
    predictions : pandas.Series
        Class names by sample id.
    probabilities : pandas.DataFrame
        By sample id and class name.
    column : pandas.Series
        True classes by sample id.
    missing : {'error', 'ignore'}
        What to do with predicted samples without a class.
    seed : int
    baselines : dict of str to tuple, optional
        Predictions and probabilities of the same samples to compare with, by what made them.

    Raises
    ------
    ValueError
        If predictions and probabilities are of other samples, or samples lack classes and may
        not, or no true class is one that the model knows, or a baseline lacks samples.
    """
    true = samples.true_values(predictions, column, missing).astype(str)
    probabilities = _aligned(probabilities, predictions).loc[true.index]
    check_classes(true, probabilities.columns)
    predicted = predictions.loc[true.index]
    report = classification_scores(true.tolist(), predicted.tolist(), probabilities, seed)
    compared = _compare(true, (predicted, probabilities), baselines or {}, seed)
    chances = probabilities.div(probabilities.sum(axis=1), axis=0)
    table = pd.DataFrame({"true": true, "predicted": predicted})
    table["probability"] = chances.max(axis=1)
    table = table.assign(**{name: made[0] for name, made in (baselines or {}).items()})
    shown = [c for c in report.by_class if c.n_true or c.n_predicted]
    sections = [
        _scores(report),
        *of_baselines.sections(compared, report.overall, LABELS),
        _confusion(report, shown),
        _ranking(report, true, chances),
        _calibration(report, table),
        Section("Samples", tables=[_worst(table)]),
    ]
    downloads = {
        "scores.tsv": Download(samples.score_frame(report.overall), "the scores, with intervals"),
        "class-scores.tsv": Download(_class_frame(report), "the scores of each class"),
        "confusion.tsv": Download(
            report.confusion.rename_axis("true class"), "true classes by predicted classes"
        ),
        "samples.tsv": Download(
            table.rename_axis("sample-id"), "every sample: true, predicted, its probability"
        ),
        **of_baselines.downloads(compared),
    }
    notes = samples.notes_on(len(predictions), len(true)) + _notes(true, predicted, chances)
    lead = [_lead(report, len(true), column.name)]
    lead += [each.sentence(report.overall, "accuracy", "accuracy", number) for each in compared]
    return Page(f"Predictions of {column.name}", lead, sections, notes, downloads)


def _compare(true: pd.Series, model, baselines, seed: int) -> list[of_baselines.Comparison]:
    """Score the baselines, and the model beside them."""
    compared = []
    for name, (predictions, probabilities) in baselines.items():
        check_same_samples(name, true.index, predictions.index)
        chances = _aligned(probabilities, predictions).loc[true.index]
        other = predictions.loc[true.index], chances
        differences = classification_differences(list(true), model, other, seed)
        scores = classification_scores(list(true), list(other[0]), chances, seed).overall
        compared.append(of_baselines.Comparison(name, scores, differences))
    return compared


def _aligned(probabilities: pd.DataFrame, predictions: pd.Series) -> pd.DataFrame:
    missing = predictions.index.difference(probabilities.index)
    if len(missing) or not probabilities.index.is_unique:
        found = f"'{missing[0]}' has none" if len(missing) else "some samples have them twice"
        raise ValueError(
            "The probabilities are not those of the predictions: of the "
            f"{len(predictions)} predicted samples, {found}. Give both outputs of one "
            "predict-classification."
        )
    return probabilities.rename(columns=str)


def _notes(true, predicted, chances) -> list[str]:
    notes = []
    unknown = sorted(set(true) - set(chances.columns))
    if unknown:
        n = count(int(true.isin(unknown).sum()), "sample")
        notes.append(
            f"{n} of classes that the model does not know ({', '.join(unknown[:5])}"
            f"{', …' if len(unknown) > 5 else ''}) count as wrong. Their true class counts as "
            "having probability 0, so the log loss is very high."
        )
    other = int((chances.idxmax(axis=1) != predicted).sum())
    if other:
        notes.append(
            f"In {count(other, 'sample')} the predicted class is not the most probable one; "
            "accuracy, F1 and the confusion matrix use the predicted class; calibration uses the "
            "most probable one."
        )
    return notes


def _lead(report: ClassificationReport, n: int, column: str) -> str:
    accuracy, f1 = report.overall["accuracy"], report.overall["macro_f1"]
    return (
        f"In {count(n, 'sample')}, {accuracy.value:.1%} of the predictions of {column} are right "
        f"(95% interval {accuracy.low:.1%} to {accuracy.high:.1%}; predicting the commonest "
        f"class for all: {accuracy.baseline:.1%}). Macro F1 is {number(f1.value)}."
    )


def _scores(report: ClassificationReport) -> Section:
    text = (
        "Accuracy counts samples. Balanced accuracy and macro averages count classes: rare "
        "classes weigh as much as common classes. For log loss and calibration error, lower is "
        "better. The constant prediction is the commonest class of these samples. Its "
        "probabilities are the shares of the classes. " + samples.INTERVALS
    )
    rows = [
        [
            c.name,
            f"{c.n_true:,}",
            f"{c.n_predicted:,}",
            number(c.precision),
            number(c.recall),
            number(c.f1),
            number(c.auc.value),
            interval(c.auc.low, c.auc.high),
            number(c.average_precision.value),
            interval(c.average_precision.low, c.average_precision.high),
        ]
        for c in report.by_class
    ]
    columns = ["Class", "Samples", "Predicted", "Precision", "Recall", "F1", "AUC (ROC)",
               "95% interval", "Average precision", "95% interval"]  # fmt: skip
    overall = samples.score_table("Scores of all samples", report.overall, LABELS, "Constant")
    return Section("Scores", [text], tables=[overall, Table("Scores by class", columns, rows)])


def _confusion(report: ClassificationReport, shown) -> Section:
    names = [c.name for c in shown]
    counts = report.confusion.loc[names, names]
    shares = counts.div(counts.sum(axis=1).replace(0, 1), axis=0)
    pairs = [(t, p) for t in names for p in names]
    rows = charts.records(
        true=[t for t, _ in pairs],
        predicted=[p for _, p in pairs],
        n=counts.to_numpy().ravel(),
        share=shares.to_numpy().ravel(),
    )
    wrong = counts.to_numpy().copy()
    np.fill_diagonal(wrong, 0)
    said = ""
    if wrong.any():
        t, p = (names[i] for i in np.unravel_index(wrong.argmax(), wrong.shape))
        said = (
            f" The most frequent mistake: {count(wrong.max(), 'sample')} of {t} predicted as {p}."
        )
    figure = Figure(
        "Confusion matrix",
        charts.confusion(rows, len(names)),
        f"A row is a true class, a column is a predicted class. Right predictions are on the "
        f"diagonal.{said}",
        wide=True,
    )
    cells = [
        [t, *[f"{counts.loc[t, p]:,} ({shares.loc[t, p]:.0%})" for p in names]] for t in names
    ]
    table = Table(
        "Samples of each true class (rows) by predicted class (columns), and share of the row",
        ["True class", *names],
        cells,
        collapsed=len(names) > charts.TEXT_CLASSES,
    )
    return Section("Confusion", figures=[figure], tables=[table])


def _ranking(report: ClassificationReport, true: pd.Series, chances: pd.DataFrame) -> Section:
    defined = [c for c in report.by_class if not np.isnan(c.auc.value)]
    defined = sorted(defined, key=lambda c: -c.n_true)[:MAX_CURVES]
    if not defined:
        return Section("Ranking", ["Curves need samples of at least two classes."])
    named = [c.name for c in defined[:COLOURED_CLASSES]]
    roc, recall = [], []
    for c in defined:
        is_class, chance = (true == c.name).to_numpy(), chances[c.name].to_numpy()
        roc += _curve(c.name, classification_curves.roc_curve(is_class, chance, CURVE_POINTS))
        recall += _curve(
            c.name, classification_curves.precision_recall_curve(is_class, chance, CURVE_POINTS)
        )
    more = ""
    if len(defined) > len(named):
        more = f" The {len(named)} largest classes have colours, the others are grey."
    keys = legend.line_keys([*named, *[legend.OTHER] * bool(more)])
    aucs = [c.auc.value for c in defined]
    precisions = [c.average_precision.value for c in defined]
    titles = ("False positive rate (1 - specificity)", "True positive rate (sensitivity)")
    figures = [
        Figure(
            "ROC curves, each class against the rest",
            charts.class_curves(roc, named, titles, diagonal=True),
            "The nearer to the upper left corner, the better. The dashed line is chance. The "
            f"area under the curve is from {number(min(aucs))} to {number(max(aucs))}.{more}",
            keys,
        ),
        Figure(
            "Precision-recall curves, each class against the rest",
            charts.class_curves(
                recall, named, ("Recall (sensitivity)", "Precision"), diagonal=False
            ),
            "The nearer to the upper right corner, the better. Chance is a level line at the "
            "class's share of the samples. The average precision is from "
            f"{number(min(precisions))} to {number(max(precisions))}.{more}",
            keys,
        ),
    ]
    text = "How well the probability of a class separates its samples from all other samples."
    return Section("Ranking by probability", [text], figures)


def _curve(name: str, curve: pd.DataFrame) -> charts.Records:
    return charts.records(
        name=[name] * len(curve), x=curve.iloc[:, 0], y=curve.iloc[:, 1], order=range(len(curve))
    )


def _calibration(report: ClassificationReport, table: pd.DataFrame) -> Section:
    bins, ece = report.calibration, report.overall["ece"]
    rows = charts.records(**{n: bins[n] for n in ("confidence", "accuracy", "low", "high", "n")})
    sizes = charts.records(least=bins["least"], most=bins["most"], n=bins["n"])
    gap = table["probability"].mean() - report.overall["accuracy"].value
    figures = [
        Figure(
            "Reliability",
            charts.reliability(rows),
            "On the dashed line, the probability equals the share of right predictions. Below "
            f"it, the model is too sure. The mean probability is {number(abs(gap))} "
            f"{'above' if gap > 0 else 'below'} the accuracy. Bars are 95% intervals (Wilson).",
        ),
        Figure(
            "How sure the predictions are",
            charts.histogram(sizes, "Probability of the predicted class"),
            f"Half of the predictions have a probability above "
            f"{number(table['probability'].median())}.",
        ),
    ]
    cells = [
        [
            f"{row.least:.1f} to {row.most:.1f}",
            f"{int(row.n):,}",
            number(row.confidence),
            number(row.accuracy),
            interval(row.low, row.high),
        ]
        for row in bins.itertuples()
    ]
    columns = ["Probability", "Samples", "Mean probability", "Share right", "95% interval"]
    text = (
        "Whether the probabilities can be trusted. The expected calibration error is "
        f"{number(ece.value)}. It is the mean distance of the points from the dashed line, "
        "weighted by their samples. With few samples, it is above zero even for perfect "
        "probabilities."
    )
    return Section("Calibration", [text], figures, [Table("Calibration", columns, cells)])


def _worst(table: pd.DataFrame) -> Table:
    wrong = table[table["true"] != table["predicted"]]
    worst = wrong.sort_values("probability", ascending=False, kind="stable").head(WORST)
    rows = [
        [str(name), row["true"], row["predicted"], number(row["probability"])]
        for name, row in worst.iterrows()
    ]
    caption = f"The {count(len(rows), 'wrong prediction')} that the model was most sure of"
    columns = ["Sample", "True", "Predicted", "Probability"]
    return Table(caption, columns, rows, text_columns=3, collapsed=True)


def _class_frame(report: ClassificationReport) -> pd.DataFrame:
    rows = [
        {
            "class": c.name,
            "samples": c.n_true,
            "predicted": c.n_predicted,
            "precision": c.precision,
            "recall": c.recall,
            "f1": c.f1,
            "auc": c.auc.value,
            "auc low": c.auc.low,
            "auc high": c.auc.high,
            "average precision": c.average_precision.value,
            "average precision low": c.average_precision.low,
            "average precision high": c.average_precision.high,
        }
        for c in report.by_class
    ]
    return pd.DataFrame(rows).set_index("class")
