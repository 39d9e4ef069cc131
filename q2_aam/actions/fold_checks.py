"""What is known of folds before anything is trained: whether their models can be, and how many."""

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd

from q2_aam.core.data.target import CategoricalTarget, NumericTarget
from q2_aam.core.data.validation_split import divide
from q2_aam.core.options.config import ClassificationConfig, Settings

log = logging.getLogger(__name__)

MANY_FOLDS = 10
LONG = 60
"""Seconds."""
WAY_OUT = (
    "Choose other folds, or leave these folds out with untrainable_folds 'ignore' "
    "(--p-untrainable-folds ignore)."
)


@dataclass(frozen=True)
class KnownSamples:
    """What is known of the samples that models are trained on.

    Parameters
    ----------
    target : pandas.Series
        What is to be predicted, by sample id, in the order of the table.
    groups : pandas.Series, optional
        Group by sample id.
    depths : pandas.Series
        Reads by sample id.
    settings : Settings
        Of the training.
    """

    target: pd.Series
    groups: pd.Series | None
    depths: pd.Series
    settings: Settings

    @property
    def classes(self) -> bool:
        """Whether classes are to be predicted, and not numbers."""
        return isinstance(self.settings.fine_tuning, ClassificationConfig)

    def problem(self, sample_ids: pd.Index) -> str | None:
        """Say why these samples cannot train a model, as training would; None if they can."""
        data, seed = self.settings.data, self.settings.training.random_seed
        least = max(data.rarefy_depth, 1)
        deep = sample_ids[self.depths[sample_ids] >= least]
        if len(deep) < 2 + (data.test_size > 0):
            return (
                f"Only {len(deep)} of {len(sample_ids)} training samples have {least} reads "
                "(rarefy_depth), too few to learn from; choose a smaller rarefy_depth, or give "
                "more samples."
            )
        values = self.target[deep]
        groups = None if self.groups is None else self.groups[deep]
        classes = values.to_numpy() if self.classes else None
        try:
            train, _ = divide(len(deep), data.test_size, seed, classes, groups)
            self._fit(values.iloc[train])
        except ValueError as error:
            return str(error)
        return None

    def _fit(self, values: pd.Series) -> None:
        if self.classes:
            CategoricalTarget.fit(values.name, values)
        else:
            NumericTarget.fit(values.name, values, self.settings.fine_tuning.target_transform)


def trainable_folds(known: KnownSamples, fold_of: pd.Series, untrainable: str) -> list[str]:
    """List the folds that can be predicted, as the other folds can train a model.

    Parameters
    ----------
    known : KnownSamples
    fold_of : pandas.Series of str
        Fold by sample id.
    untrainable : {'error', 'ignore'}
        What to do if there are others.

    Raises
    ------
    ValueError
        If there are others and 'error' is chosen, or no fold is left. One message lists all.
    """
    names, folds_of = sorted(set(fold_of)), {}
    for name in names:
        others, own = fold_of.index[fold_of != name], fold_of.index[fold_of == name]
        problem = known.problem(others)
        if problem is None and not known.depths[own].any():
            problem = "Its samples have no reads, so they cannot be predicted."
        if problem is not None:
            folds_of.setdefault(problem, []).append(name)
    left_out = {name for folds in folds_of.values() for name in folds}
    if not left_out:
        return names
    listed = " ".join(
        f"Fold{'s' * (len(folds) > 1)} {', '.join(map(repr, folds))}: {problem}"
        for problem, folds in folds_of.items()
    )
    said = (
        f"{len(left_out)} of {len(names)} folds cannot be predicted, because the samples of the "
        f"other folds cannot train a model. {listed}"
    )
    if len(left_out) == len(names):
        raise ValueError(f"{said} Choose other folds.")
    if untrainable == "error":
        raise ValueError(f"{said} {WAY_OUT}")
    log.warning("%s They are left out, so their samples are not predicted.", said)
    return [name for name in names if name not in left_out]


def tell_of_many(n_folds: int, n_samples: int) -> None:
    """Say beforehand that many folds take as many trainings."""
    if n_folds > MANY_FOLDS:
        log.warning(
            "There are %d folds of %d samples, so %d models are trained. This takes %d times as "
            "long as one training.",
            n_folds, n_samples, n_folds, n_folds,
        )  # fmt: skip


def tell_of_time(seconds: float, n_folds: int) -> None:
    """Say how long all folds will take, if the first one took so many seconds.

    Where QIIME 2 runs in parallel, actions return at once, which tells nothing.
    """
    if seconds < 1 or n_folds < 2:
        return
    level = logging.WARNING if seconds * n_folds > LONG else logging.INFO
    log.log(
        level,
        "The first of %d folds took %s. All folds will take about %s.",
        n_folds, _duration(seconds), _duration(seconds * n_folds),
    )  # fmt: skip


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"


def depths_of(table) -> pd.Series:
    """Return the reads of each sample of a `biom.Table` by sample id."""
    return pd.Series(np.asarray(table.sum("sample")), list(table.ids()))
