"""The page of summarize-training; it reads model directories without torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from q2_aam.core.artifact import ensemble_directory, model_directory
from q2_aam.core.artifact.shipped.identity import is_shipped
from q2_aam.core.artifact.shipped.name import NAME
from q2_aam.core.data.target import CategoricalTarget
from q2_aam.core.model.specification import ENCODER, REGRESSOR, ModelSpec
from q2_aam.core.model.tensor_shapes import tensor_shapes
from q2_aam.pages import charts as charts
from q2_aam.pages import epoch_charts, legend, run_samples, training_tables
from q2_aam.pages.frame import Download, Figure, Page, Section, Table, count, number

KINDS = {ENCODER: "encoder", REGRESSOR: "regressor"}
HIGHEST_IS_BEST = ("r2", "accuracy", "f1")
MAX_SAID = 6
PARTS = {"train": "training", "val": "validation"}
# Name of the chart, and title of its axis.
LABELS = {
    "total_loss": ("Total loss", "Weighted sum of the losses (no unit)"),
    "target_loss": ("Loss on the target", "Loss (no unit)"),
    "count_loss": ("Loss on ASV abundances", "Loss (no unit)"),
    "unifrac_loss": ("Loss on UniFrac", "Loss (no unit)"),
    "nuc_loss": ("Loss on masked nucleotides", "Cross-entropy (nats)"),
    "nuc_accuracy": ("Masked nucleotides restored", "Share of nucleotides"),
    "mae": ("Mean absolute error", "Error (units of the column)"),
    "mse": ("Mean squared error", "Error (squared units of the column)"),
    "r2": ("R squared", "R² (1 is perfect, 0 is the mean)"),
    "accuracy": ("Accuracy", "Share of samples"),
    "precision": ("Precision", "Mean over classes (0 to 1)"),
    "recall": ("Recall", "Mean over classes (0 to 1)"),
    "f1": ("F1", "Mean over classes (0 to 1)"),
}


@dataclass(frozen=True)
class Model:
    """What is shown of a model.

    Parameters
    ----------
    name : str
        By which the page calls it.
    spec : ModelSpec
    versions : dict of str to str
    history : pandas.DataFrame
    n_bytes : int
        Size of the file of its weights.
    warnings : tuple of str
        What its training warned of.
    samples : pandas.DataFrame, optional
        What each sample was used for.
    ships : bool
        Whether its encoder is the one that ships, unchanged.
    """

    name: str
    spec: ModelSpec
    versions: dict[str, str]
    history: pd.DataFrame
    n_bytes: int
    warnings: tuple[str, ...] = ()
    samples: pd.DataFrame | None = None
    ships: bool = False

    @property
    def n_parameters(self) -> int:
        """Numbers in its tensors."""
        return sum(math.prod(info.shape) for info in tensor_shapes(self.spec).values())

    @property
    def best_metric(self) -> str:
        """What chose the epoch that was kept."""
        tuning = self.spec.fine_tuning
        return "val_loss" if tuning is None else tuning.best_metric

    @property
    def _measured(self) -> pd.Series:
        """What chose the epoch that was kept, by row of the history; empty if nothing did."""
        name = "total_loss" if self.best_metric == "val_loss" else self.best_metric
        return self.history.get(f"val/{name}", pd.Series(dtype=float)).dropna()

    @property
    def was_validated(self) -> bool:
        """Whether there were validation samples to choose the epoch by."""
        return not self._measured.empty

    @property
    def kept_row(self) -> int | None:
        """Row of the history whose epoch the model is: the best in validation, else the last."""
        if self.history.empty:
            return None
        if not self.was_validated:
            return len(self.history) - 1
        highest = self.best_metric in HIGHEST_IS_BEST
        return int(self._measured.idxmax() if highest else self._measured.idxmin())

    @property
    def what(self) -> str:
        """What it predicts, in a few words."""
        kind = KINDS.get(self.spec.kind, "classifier")
        return kind if self.spec.target is None else f"{kind} of {self.spec.target.column}"


def read(directories: Sequence[str]) -> list[Model]:
    """Read model directories, and those of the models of ensembles, without their weights."""
    models = []
    for i, directory in enumerate(directories, start=1):
        members = ensemble_directory.member_directories(directory)
        for member in members:
            of_ensemble = f".{member.name}" * ensemble_directory.is_ensemble(directory)
            models.append(_read(member, f"Model {i}{of_ensemble}"))
    return models


def _read(directory: Path, name: str) -> Model:
    saved = model_directory.read_config(directory)
    history = model_directory.read_history(directory)
    n_bytes = (directory / model_directory.WEIGHTS).stat().st_size
    read = saved.spec, saved.versions, history, n_bytes, saved.warnings
    samples = model_directory.read_samples(directory)
    return Model(name, *read, samples, is_shipped(directory))


def page(models: list[Model]) -> Page:
    """Compose the page of one or several models."""
    title = f"Training of {'a model' if len(models) == 1 else f'{len(models)} models'}"
    rest = [_course(models), run_samples.section(models)]
    rest += [_facts(models), training_tables.options(models), training_tables.epochs(models)]
    sections = [*_parts_of_predictions(models), *rest]
    downloads = {
        f"history-{i}.tsv": Download(
            model.history.set_index("epoch"), f"all epochs of {model.name} ({model.what})"
        )
        for i, model in enumerate(models, start=1)
    }
    downloads |= run_samples.downloads(models)
    lead = [_lead(model) for model in models]
    return Page(title, lead, sections, _warnings(models), downloads)


def _lead(model: Model) -> str:
    reads = model.spec.reads
    text = (
        f"{model.name} is {'an' if model.spec.kind == ENCODER else 'a'} {model.what}, trained on "
        f"{count(reads.n_samples, 'sample')} with {count(reads.n_features, 'ASV')}"
    )
    if model.ships:
        its = "It" if model.spec.kind == ENCODER else "Its encoder"
        text += f". {its} is {NAME}, which ships with q2-aam"
    if model.kept_row is None:
        return f"{text}; it has no history."
    row = model.history.iloc[model.kept_row]
    found = [
        f"{LABELS[name][0]} {number(row[f'val/{name}'])}"
        for name in ("mae", "r2", "accuracy", "f1", "unifrac_loss", "nuc_accuracy")
        if f"val/{name}" in row and not math.isnan(row[f"val/{name}"])
    ]
    said = f" (validation: {', '.join(found)})" if found else ""
    return f"{text}. The epoch kept is {int(row['epoch'])}{said}."


def _parts_of_predictions(models: list[Model]) -> list[Section]:
    """Say what the predictions of models that store samples rest on, and how good each part is."""
    tables = []
    for model in models:
        stored = model.spec.stored
        if stored is None:
            continue
        measure = "accuracy" if stored.classes else "R²"
        rows = [
            [name.capitalize(), f"{100 * part.weight:.0f} %", _score(part.score)]
            for name, part in stored.parts.items()
        ]
        rows.append(["All together", "100 %", _score(stored.score)])
        if model.spec.covariates is not None:
            score = _score(model.spec.covariates.score)
            rows.append(["For comparison: the covariates alone, without ASVs", "–", score])
        of = f" of {model.name}" * (len(models) > 1)
        columns = ["Part", "Weight", f"Validation {measure}"]
        tables.append(Table(f"Parts of the predictions{of}", columns, rows, 1))
    if not tables:
        return []
    text = (
        "A prediction is the weighted mean of three parts. The validation samples chose the "
        "weights, as far as so many samples can. Kernel ridge regression and trees count less in "
        "a sample with ASVs that the model does not know; the network counts more there. The "
        "score of all together is a little too high, because the same samples chose the weights."
    )
    return [Section("What predictions rest on", [text], tables=tables)]


def _score(score: float | None) -> str:
    return "–" if score is None else number(score)


def _warnings(models: list[Model]) -> list[str]:
    """Return what training warned of, each once, with the models that it was said of."""
    said = dict.fromkeys(text for model in models for text in model.warnings)
    notes = []
    for text in said:
        of = [model.name for model in models if text in model.warnings]
        names = "" if len(models) == 1 else f" of {_listed_names(of)}"
        notes.append(f"Warning in the training{names}: {text}")
    return notes


def _listed_names(names: list[str]) -> str:
    """Write names such as 'Model 1, Model 2 and 3 more'."""
    more = f" and {len(names) - MAX_SAID} more" if len(names) > MAX_SAID else ""
    return f"{', '.join(names[:MAX_SAID])}{more}"


def _course(models: list[Model]) -> Section:
    names = [model.name for model in models]
    columns = dict.fromkeys(
        column.split("/", 1)[1]
        for model in models
        for column in model.history.columns
        if column.split("/", 1)[0] in PARTS and "/" in column
    )
    order = [*[name for name in LABELS if name in columns], *sorted(set(columns) - set(LABELS))]
    figures = [_course_figure(models, name, names) for name in order]
    if any("learning_rate" in model.history for model in models):
        figures.append(_rate_figure(models, names))
    text = (
        "Epochs are counted from 1. A diamond marks the epoch that was kept. It is the best "
        "epoch in validation, by the option best-metric. If training still improves but "
        "validation does not, the model begins to overfit."
    )
    if not figures:
        text = "The history is empty."
    return Section("Training by epoch", [text], figures)


def _course_figure(models, name, names) -> Figure:
    title, axis = LABELS.get(name, (name.replace("_", " ").capitalize(), "Value"))
    rows, said = [], []
    for model in models:
        for part, series in PARTS.items():
            column = f"{part}/{name}"
            if column not in model.history:
                continue
            values, n = model.history[column], len(model.history)
            kept = (np.arange(n) == model.kept_row) & (part == "val")
            rows += charts.records(
                epoch=model.history["epoch"],
                value=values,
                series=[series] * n,
                model=[model.name] * n,
                kept=kept.tolist(),
            )
            said.append(_change(model.name if len(models) > 1 else "", series, values))
    description = f"{title}, by epoch. {' '.join(said[:MAX_SAID])}"
    return Figure(title, epoch_charts.course(rows, names, axis), description, _keys(rows, names))


def _keys(rows, names) -> list[legend.Key]:
    return legend.course_keys(
        names, {row["model"] for row in rows}, {row.get("series") for row in rows}
    )


def _change(name, series, values) -> str:
    values = values.dropna()
    start = f"{name}, {series}" if name else series.capitalize()
    if values.empty:
        return f"{start}: no values."
    if len(values) == 1:
        return f"{start}: {number(values.iloc[0])}."
    return f"{start}: from {number(values.iloc[0])} to {number(values.iloc[-1])}."


def _rate_figure(models, names) -> Figure:
    rows = []
    for model in models:
        if "learning_rate" in model.history:
            rows += charts.records(
                epoch=model.history["epoch"],
                value=model.history["learning_rate"],
                model=[model.name] * len(model.history),
            )
    values = [row["value"] for row in rows if row["value"] is not None]
    extent = f"from {min(values):.2g} to {max(values):.2g}" if values else "not known"
    description = f"Learning rate at the end of each epoch: {extent}."
    keys = _keys(rows, names) if len(names) > 1 else []
    return Figure("Learning rate", epoch_charts.learning_rate(rows, names), description, keys)


def _facts(models: list[Model]) -> Section:
    facts = [_facts_of(model) for model in models]
    names = list(dict.fromkeys(name for each in facts for name in each))
    rows = [[name, *[each.get(name, "–") for each in facts]] for name in names]
    versions = sorted({name for model in models for name in model.versions})
    version_rows = [[name, *[m.versions.get(name, "–") for m in models]] for name in versions]
    columns = ["", *[model.name for model in models]]
    many = len(columns)
    return Section(
        "The models" if len(models) > 1 else "The model",
        tables=[
            Table("What it is, and what it was trained on", columns, rows, many),
            Table("Packages that made it", columns, version_rows, many),
        ],
    )


def _facts_of(model: Model) -> dict[str, str]:
    spec, history = model.spec, model.history
    reads = spec.reads
    lengths = f"{reads.shortest} to {reads.longest} nucleotides"
    facts = {"Kind": f"AAMModel[{spec.kind}]"}
    if model.ships:
        facts["Encoder"] = f"{NAME}, as it ships"
    if spec.target is not None:
        facts["Column"] = spec.target.column
    if isinstance(spec.target, CategoricalTarget):
        facts["Classes"] = _listed(spec.target.classes)
    facts |= {
        "Samples": f"{reads.n_samples:,}"
        + ", without those held out for validation" * model.was_validated,
        "ASVs": f"{reads.n_features:,}",
        "Sequences": f"{reads.longest} nucleotides"
        if reads.shortest == reads.longest
        else lengths,
        "Parameters": f"{model.n_parameters:,}",
        "Size of the weights": f"{model.n_bytes / 1e6:,.2f} MB",
        "Epochs": f"{len(history)} of at most {spec.training.epochs}",
    }
    if model.kept_row is not None:
        epoch = int(history["epoch"].iloc[model.kept_row])
        chosen = f"chosen by {model.best_metric}" if model.was_validated else "the last"
        facts["Epoch that was kept"] = f"{epoch} ({chosen})"
    if "seconds" in history:
        facts["Time"] = _duration(history["seconds"].sum())
    return facts


def _listed(names: Sequence[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)}: {', '.join(names[:most])}{more}"


def _duration(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest, "s")]
    shown = [f"{value} {unit}" for value, unit in parts if value]
    return " ".join(shown[:2]) or f"{seconds:.1f} s"
