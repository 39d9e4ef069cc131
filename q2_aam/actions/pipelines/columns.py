"""Several numeric columns in one pipeline: which can be learnt, and the same split for all."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import qiime2

from q2_aam.actions.columns import clashes
from q2_aam.actions.pipelines import splits
from q2_aam.actions.pipelines.covariates_alone import predict_from_covariates
from q2_aam.actions.pipelines.division import (
    divide,
    look_at_reads,
    look_at_values,
    problems_of,
    with_reads,
    with_what_is_asked,
)
from q2_aam.actions.pipelines.forest import Forest
from q2_aam.actions.pipelines.jobs import Job, Made
from q2_aam.core.data.metadata import check_numbers, listed, with_values
from q2_aam.core.evaluation.result_table import COVARIATES, FOREST


@dataclass(frozen=True, eq=False)
class Column:
    """A column to predict.

    Parameters
    ----------
    name : str
    job : Job
        Whose metadata is this column.
    values : pandas.Series of float
        By sample id; samples without a value are absent.
    parts : pandas.Series of str
        'training' or 'test' of these samples.
    """

    name: str
    job: Job
    values: pd.Series
    parts: pd.Series


def divided(
    job: Job, names: Sequence[str], split, test_value: str, test_fraction: float
) -> tuple[pd.Series, list[Column]]:
    """Divide the samples once for all columns, and see that each column can be learnt.

    Parameters
    ----------
    job : Job
        Whose metadata has all columns.
    names : sequence of str
        The columns to predict.
    split : qiime2.MetadataColumn, optional
        Names the samples to hold out by `test_value`; without it, they are drawn.
    test_value : str
    test_fraction : float

    Returns
    -------
    parts : pandas.Series of str
        'training' or 'test', of each sample that has a value in any of the columns.
    columns : list of Column
        In the order of `names`.

    Raises
    ------
    ValueError
        If columns are unknown, not numeric or cannot be learnt: one message names all of them.
    """
    metadata, problems = job.given.metadata, _cannot_be_targets(job, names)
    numeric = [name for name in dict.fromkeys(names) if name not in problems]
    values = _values(job, numeric)
    for name in numeric:
        try:
            values[name] = check_numbers(values[name].dropna())
        except ValueError as error:
            problems[name] = str(error)
    found = values.dropna(how="all")
    if found.empty:
        problems |= dict.fromkeys(numeric, "no sample of the table has a value")
        raise ValueError(_told(problems, names, metadata))
    ids, groups = with_what_is_asked(job, found.index)
    parts = divide(job, found.loc[ids].iloc[:, 0], groups, split, test_value, test_fraction)
    look_at_reads(job, parts)
    columns = []
    for i, name in enumerate(names):
        if name in problems:
            continue
        own = found.loc[parts.index, name].dropna()
        where = f"Column {i + 1} of {len(names)} ({name}): "
        column = Column(
            name, job.of_column(metadata.get_column(name), where), own, parts[own.index]
        )
        columns.append(column)
        problem = _problem(column, groups)
        if problem is not None:
            problems[name] = problem
    if problems:
        raise ValueError(_told(problems, names, metadata))
    return parts, columns


def _cannot_be_targets(job: Job, names: Sequence[str]) -> dict[str, str]:
    """Say which columns cannot be predicted whatever their values are, and why."""
    metadata, problems = job.given.metadata, {}
    # Whether 'auto' trains a forest is decided only once the samples are divided.
    beside = [FOREST] * (job.given.forest != "no")
    beside += [COVARIATES] * (job.given.covariates is not None)
    clashing = clashes(names, beside)
    for name in names:
        if name not in metadata.columns:
            problems[name] = "the metadata has no such column"
        elif metadata.columns[name].type != "numeric":
            problems[name] = "it is categorical; predict classes with classify-samples"
        elif list(names).count(name) > 1:
            problems[name] = "it is named more than once"
        elif name in (job.given.covariate_columns or ()):
            problems[name] = "it is a covariate too; leave it out of covariate_columns"
        elif name in clashing:
            problems[name] = clashing[name]
    return problems


def _values(job: Job, names: list[str]) -> pd.DataFrame:
    """Return the values of all samples that have reads and are in the metadata."""
    metadata = job.given.metadata
    there = pd.Series(1.0, pd.Index(metadata.ids), name=", ".join(names) or "columns")
    ids = with_values(with_reads(job), there, job.given.missing_samples, numeric=True).index
    return metadata.to_dataframe().reindex(columns=names).loc[ids].astype(float)


def _problem(column: Column, groups) -> str | None:
    """Say why a column cannot be learnt and tested, if so."""
    if column.parts.empty:
        return "no sample of the table has a value"
    for part in (splits.TRAINING, splits.TEST):
        if part not in set(column.parts):
            return f"none of its {len(column.parts)} samples with a value is a {part} sample"
    held_out = [splits.TEST]
    found = problems_of(column.job, column.values, groups, column.parts, held_out)
    return found.get(splits.TEST)


def _told(problems: dict[str, str], names: Sequence[str], metadata: qiime2.Metadata) -> str:
    """Tell what is wrong with all columns, and which columns there are."""
    each = " ".join(f"'{name}': {said.rstrip('.')}." for name, said in problems.items())
    numeric = [name for name, known in metadata.columns.items() if known.type == "numeric"]
    there = f"The numeric columns are {listed(numeric)}" if numeric else "No column is numeric"
    return (
        f"{len(problems)} of the {len(set(names))} columns cannot be predicted. {each} {there}. "
        "Leave these columns out, or correct them."
    )


def train_and_test(columns: list[Column], encoder: Any, forest: Forest) -> tuple[list[Made], dict]:
    """Train and test a model for each column.

    Parameters
    ----------
    columns : list of Column
    encoder : Artifact
        What all models start from, pre-trained for them; None where nothing was pre-trained.
    forest : Forest
        Decided for all columns.

    Returns
    -------
    made : list of Made
        For each column.
    dict
        What the evaluation is given of the forests and of the covariates alone, by name; those
        that each column has.
    """
    made, baselines = [], []
    for column in columns:
        look_at_values(column.job, column.values)
        if encoder is not None:
            column.job.start_from(encoder)
        made.append(column.job.train_and_test(column.parts, splits.TEST))
        of_forest = forest.of(column.job).predict(made[-1:])
        baselines.append(of_forest | predict_from_covariates(column.job, made[-1:]))
    everywhere = [name for name in baselines[0] if all(name in each for each in baselines)]
    return made, {name: [each[name] for each in baselines] for name in everywhere}


def by_column(names: Iterable[str], results: Iterable[Any]) -> dict[str, Any]:
    """Name results by columns, as collections of QIIME 2 name them.

    These take letters, digits, '_', '-', '.' and '+'. All else becomes '_'; a number tells names
    apart that would then be the same.
    """
    named: dict[str, Any] = {}
    for name, result in zip(names, results, strict=True):
        key = plain = re.sub(r"[^A-Za-z0-9_.+-]", "_", name)
        n = 1
        while key in named:
            n += 1
            key = f"{plain}_{n}"
        named[key] = result
    return named
