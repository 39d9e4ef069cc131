"""The part of the page of summarize-training that says which samples did what."""

import pandas as pd

from q2_aam.core.data.splits.roles import LEFT_OUT, REASON, ROLE, TRAINING, VALIDATION
from q2_aam.pages.frame import Download, Section, Table

MEANING = (
    "The model learnt from the training samples. The validation samples chose the epoch that was "
    "kept; a model that stores samples stores these, too. The model has seen no other samples."
)
UNKNOWN = (
    "{} does not say it. A model keeps no sample ids if it was trained with keep_sample_ids off, "
    "if extract-encoder took it out of another model, if it ships with q2-aam, or if an older "
    "release made it."
)


def section(models: list) -> Section:
    """Count the samples of each model by what they were used for.

    Parameters
    ----------
    models : list of Model
        With 'name' and 'samples'.
    """
    known = [model for model in models if model.samples is not None]
    others = [model.name for model in models if model.samples is None]
    paragraphs = [MEANING] * bool(known) + [UNKNOWN.format(name) for name in others[:1]]
    if len(others) > 1:
        paragraphs[-1] = UNKNOWN.format(", ".join(others)).replace("does not", "do not", 1)
    return Section("Which samples did what", paragraphs, tables=[_numbers(known)] * bool(known))


def _numbers(models: list) -> Table:
    kinds = [(role, "") for role in (TRAINING, VALIDATION)]
    kinds += sorted({pair for model in models for pair in _pairs(model.samples, LEFT_OUT)})
    rows = [
        [_label(*kind), *[f"{_number(model.samples, *kind):,}" for model in models]]
        for kind in kinds
    ]
    rows.append(["All samples given", *[f"{len(model.samples):,}" for model in models]])
    return Table("Number of samples", ["Used for", *[model.name for model in models]], rows)


def downloads(models: list) -> dict[str, Download]:
    """Return the samples of each model that knows them, by the name of a file."""
    return {
        f"samples-{i}.tsv": Download(
            model.samples, f"what each sample was used for in {model.name} ({model.what})"
        )
        for i, model in enumerate(models, start=1)
        if model.samples is not None
    }


def _pairs(samples: pd.DataFrame, role: str) -> set[tuple[str, str]]:
    return {(role, reason) for reason in samples.loc[samples[ROLE] == role, REASON]}


def _number(samples: pd.DataFrame, role: str, reason: str) -> int:
    return int(((samples[ROLE] == role) & (samples[REASON] == reason)).sum())


def _label(role: str, reason: str) -> str:
    return f"{role.capitalize()}: {reason}" if reason else role.capitalize()
