"""Which samples of a pipeline train and which test, and what is refused before anything runs."""

import logging

import numpy as np
import pandas as pd

from q2_aam.actions.pipelines import splits
from q2_aam.actions.pipelines.fold_checks import trainable_folds
from q2_aam.actions.pipelines.jobs import Job
from q2_aam.actions.pipelines.start import CheckedInput, check_at_start
from q2_aam.actions.views import classes_of, covariates_of, groups_of
from q2_aam.core.data import messages
from q2_aam.core.data.metadata import check_numbers, warn_if_few, with_values
from q2_aam.core.data.rarefaction import LEFT_OUT, warn_of_shallow
from q2_aam.core.data.splits.grouped_split import with_groups
from q2_aam.core.model.covariates import read_covariates
from q2_aam.core.training.preparation.target_values import check_values
from q2_aam.core.training.preparation.weighting import read_weighting
from q2_aam.types.predictions import check_class_names

log = logging.getLogger(__name__)


def hold_out(job: Job, split, test_value: str, test_fraction: float) -> pd.Series:
    """Say of each sample with a value whether it trains or tests.

    Held out are the samples with a value in a column, or a share drawn at random.
    """
    values, groups = _values(job)
    parts = divide(job, values, groups, split, test_value, test_fraction)
    _look_at_all(job, values, parts)
    problems = problems_of(job, values, groups, parts, [splits.TEST])
    if problems:
        raise ValueError(problems[splits.TEST])
    if job.kind.classes:
        splits.warn_of_unlearnt_classes(values[parts.index], parts, splits.TEST)
    return parts


def divide(job: Job, values, groups, split, test_value: str, test_fraction: float) -> pd.Series:
    """Say of each of these samples whether it trains or tests, by a column or by chance."""
    if split is None:
        return splits.draw_test(values, test_fraction, job.seed, job.kind.classes, groups)
    column = with_values(list(values.index), split.to_series(), job.given.missing_samples)
    parts = splits.named_test(column, test_value)
    if groups is not None:
        splits.check_groups_are_whole(parts, groups)
    return parts


def folds_of(job: Job, folds, n_folds: int, untrainable: str) -> tuple[pd.Series, list[str]]:
    """Say of each sample with a value which fold it is in, and list the folds to predict."""
    values, groups = _values(job)
    if folds is None:
        parts = splits.draw_folds(values, n_folds, job.seed, job.kind.classes, groups)
    else:
        column = with_values(list(values.index), folds.to_series(), job.given.missing_samples)
        parts = splits.named_folds(column)
        if groups is not None:
            splits.check_groups_are_whole(parts, groups)
    _look_at_all(job, values, parts)
    names = sorted(set(parts))
    names = trainable_folds(names, problems_of(job, values, groups, parts, names), untrainable)
    if job.kind.classes:
        for name in names:
            splits.warn_of_unlearnt_classes(values[parts.index], parts, name)
    return parts.rename_axis("sample-id"), names


def _values(job: Job) -> tuple[pd.Series, pd.Series | None]:
    """Return the target of each sample that has one, and reads, and a group if there are any."""
    sample_ids, missing_samples = with_reads(job), job.given.missing_samples
    if job.kind.classes:
        column = classes_of(job.given.metadata)
        values = with_values(sample_ids, column, missing_samples).astype(str)
        check_class_names(values.name, values)
    else:
        column = job.given.metadata.to_series()
        values = check_numbers(with_values(sample_ids, column, missing_samples, numeric=True))
    ids, groups = with_what_is_asked(job, values.index)
    return values[ids], groups


def with_reads(job: Job) -> list[str]:
    """List the samples of the table that have reads."""
    has_reads = np.asarray(job.counts.sum("sample")) != 0
    if not has_reads.all():
        log.warning("%d samples without reads are left out.", int((~has_reads).sum()))
    return list(job.counts.ids()[has_reads])


def with_what_is_asked(job: Job, sample_ids: pd.Index) -> tuple[list[str], pd.Series | None]:
    """Return the samples that have a group and a weight, if these are given, and the groups."""
    missing_samples = job.given.missing_samples
    ids, groups = with_groups(sample_ids, groups_of(job.given.groups), missing_samples)
    weights = None if job.given.weights is None else job.given.weights.to_series()
    ids, _ = read_weighting(ids, weights, groups_of(job.given.balance), missing_samples)
    return ids, None if groups is None else groups[ids]


def _look_at_all(job: Job, values: pd.Series, parts: pd.Series) -> None:
    """Say what is to be said of all samples, so that no part of them says it again."""
    look_at_values(job, values[parts.index], cross_validated=parts.name == "fold")
    look_at_reads(job, parts)


def look_at_values(job: Job, values: pd.Series, *, cross_validated: bool = False) -> None:
    """Say what is to be said of the values of all samples."""
    job.target = values
    check_values(values, job.settings.fine_tuning)
    classes = values if job.kind.classes else None
    messages.set_whole(messages.Whole(len(values), classes, cross_validated))
    warn_if_few(len(values), classes)


def look_at_reads(job: Job, parts: pd.Series) -> None:
    """Choose what depends on the reads of all samples, and say what is to be said of them."""
    reads = pd.Series(job.counts.sum("sample"), job.counts.ids())[list(parts.index)]
    depth = job.choose_depth(reads.to_numpy())
    job.choose_start(parts.index)
    warn_of_shallow(list(reads.index), reads.to_numpy(), depth, f"{LEFT_OUT} of training")


def problems_of(job: Job, values, groups, parts: pd.Series, held_out: list[str]) -> dict[str, str]:
    """Say why parts cannot be held out, by their names: what a late action would refuse."""
    learns_tree = job.training["penalty"] > 0 and not job.training["freeze_base"]
    drops = job.training["missing_features"] == "drop"  # even where nothing is learnt of it
    tree = job.given.phylogeny if job.pretrains or learns_tree or drops else None
    covariates = covariates_of(job.given.covariates, job.given.covariate_columns)
    if covariates is not None:
        covariates = read_covariates(covariates, list(values.index), values.name)
    given = CheckedInput(job.counts, values, groups, tree, job.given.sequences, covariates)
    found = check_at_start(given, job.kind.model, job.settings, parts, held_out)
    problems = dict(found.problems)
    if job.kind.classes:
        for name, target in found.targets.items():
            tested = values[parts.index[parts == name]]
            if not set(tested) & set(target.classes):
                problems[name] = splits.none_is_learnt(tested, target.classes)
    return problems
