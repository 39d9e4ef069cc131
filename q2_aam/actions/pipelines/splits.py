"""Which samples are held out: drawn by a seed, or named by a metadata column.

A split gives every sample the name of its part. Nothing here knows what the parts are used for.
"""

import logging
from collections.abc import Collection

import numpy as np
import pandas as pd

from q2_aam.core.data.metadata import listed
from q2_aam.core.data.splits.grouped_split import deal_groups, hold_out_groups, name_of

log = logging.getLogger(__name__)

PARTS = TRAINING, TEST = "training", "test"


def draw_test(
    values: pd.Series, fraction: float, seed: int, stratify: bool, groups: pd.Series | None = None
) -> pd.Series:
    """Hold a share of the samples out at random.

    Parameters
    ----------
    values : pandas.Series of length n
        What is to be predicted, by sample id.
    fraction : float
        Share of the samples to hold out, between 0 and 1.
    seed : int
        Equal seeds hold out equal samples, whatever the versions of the packages.
    stratify : bool
        Hold the same share of each class out, to within a sample; every class keeps at least one
        sample in training.
    groups : pandas.Series of length n, optional
        Hold whole groups out. The shares are met as far as these allow.

    Returns
    -------
    pandas.Series of str
        'training' or 'test', by sample id in the order of `values`.

    Raises
    ------
    ValueError
        If no sample would be left in a part.
    """
    if groups is not None:
        return _draw_groups(values, fraction, seed, stratify, groups)
    order = _shuffled(values, seed, stratify)
    # Every 1/fraction-th in order: a run of m samples gives m * fraction of them, to within one.
    held = np.diff(np.floor(np.arange(len(order) + 1) * fraction + 0.5)) > 0
    parts = pd.Series(np.where(held, TEST, TRAINING), order)
    if stratify:
        for _, members in values.groupby(values):
            if (parts[members.index] == TEST).all():
                parts[members.index[0]] = TRAINING
    if parts.nunique() < 2:
        raise ValueError(
            f"Of {len(values)} samples, a test_fraction of {fraction} leaves none "
            f"{'to test' if TEST not in set(parts) else 'to train'}; choose another fraction "
            "(--p-test-fraction) or give more samples."
        )
    return parts[values.index].rename("part")


def _draw_groups(values, fraction, seed, stratify, groups) -> pd.Series:
    rng = np.random.RandomState(seed)
    held = hold_out_groups(groups[values.index], fraction, rng, values if stratify else None)
    if not held.any():
        reason = "all samples are of one group"
        if len(set(groups)) > 1:
            reason = (
                f"each of the {groups.nunique()} groups has all samples of a class, which could "
                "then not be learnt"
            )
        raise ValueError(
            f"No test samples can be drawn by the groups of metadata column '{groups.name}': "
            f"{reason}. Give another column as groups (--m-groups-column), or name the test "
            "samples by a column (--m-split-column)."
        )
    return pd.Series(np.where(held, TEST, TRAINING), values.index, name="part")


def draw_folds(
    values: pd.Series, n_folds: int, seed: int, stratify: bool, groups: pd.Series | None = None
) -> pd.Series:
    """Deal the samples out to folds at random, as equally as possible.

    Parameters
    ----------
    values : pandas.Series of length n
        What is to be predicted, by sample id.
    n_folds : int
        From 2 to n, or to the number of groups.
    seed : int
        Equal seeds give equal folds, whatever the versions of the packages.
    stratify : bool
        Deal each class out equally as well.
    groups : pandas.Series of length n, optional
        Each group is in one fold. Folds are equal as far as this allows.

    Returns
    -------
    pandas.Series of str
        Name of the fold ('fold1' …), by sample id in the order of `values`.

    Raises
    ------
    ValueError
        If there are fewer samples, or groups, than folds.
    """
    if len(values) < n_folds:
        raise ValueError(
            f"There are {len(values)} samples with a value, fewer than the {n_folds} folds; "
            "choose fewer folds (--p-n-folds)."
        )
    if groups is not None and groups.nunique() < n_folds:
        raise ValueError(
            f"The {len(values)} samples are of {groups.nunique()} groups (metadata column "
            f"'{groups.name}'), fewer than the {n_folds} folds; choose fewer folds (--p-n-folds)."
        )
    if groups is None:
        order = _shuffled(values, seed, stratify)
        number = np.arange(len(order)) % n_folds
    else:
        rng, order = np.random.RandomState(seed), values.index
        number = deal_groups(groups[order], n_folds, rng, values if stratify else None)
    width = len(str(n_folds))
    names = [f"fold{i + 1:0{width}d}" for i in number]
    return pd.Series(names, order)[values.index].rename("fold")


def _shuffled(values: pd.Series, seed: int, stratify: bool) -> pd.Index:
    """Return the sample ids in random order, class after class if stratified."""
    # RandomState, not Generator: only its streams are the same in every version of numpy (NEP 19).
    order = values.index[np.random.RandomState(seed).permutation(len(values))]
    if not stratify:
        return order
    return order[np.argsort(values[order].astype(str).to_numpy(), kind="stable")]


def named_test(column: pd.Series, test_value: str) -> pd.Series:
    """Hold the samples out that have a value in a metadata column.

    Parameters
    ----------
    column : pandas.Series
        Text or numbers by sample id, none missing.
    test_value : str
        The value of the samples to hold out.

    Returns
    -------
    pandas.Series of str
        'training' or 'test', by sample id.

    Raises
    ------
    ValueError
        If no sample, or every sample, has the value.
    """
    names = column.map(name_of)
    held = names == test_value
    if not held.any():
        listed = ", ".join(f"'{name}'" for name in sorted(set(names))[:5])
        raise ValueError(
            f"No sample of the table has the value '{test_value}' in the metadata column "
            f"'{column.name}' that names the held-out samples; it has {listed}. Name the value "
            "to hold out (--p-test-value)."
        )
    if held.all():
        raise ValueError(
            f"All {len(names)} samples of the table have the value '{test_value}' in the metadata "
            f"column '{column.name}', which leaves none to train; hold another value out "
            "(--p-test-value)."
        )
    return pd.Series(np.where(held, TEST, TRAINING), names.index, name="part")


def named_folds(column: pd.Series) -> pd.Series:
    """Take each value of a metadata column for a fold.

    Parameters
    ----------
    column : pandas.Series
        Text or numbers by sample id, none missing.

    Returns
    -------
    pandas.Series of str
        Name of the fold, by sample id.

    Raises
    ------
    ValueError
        If there is only one value.
    """
    names = column.map(name_of).rename("fold")
    if names.nunique() < 2:
        raise ValueError(
            f"Metadata column '{column.name}' cannot name the folds: its {len(names)} samples of "
            f"the table have 1 different value, '{names.iloc[0]}'. Give a column of two or more "
            "values, each of which the samples of a fold share."
        )
    return names


def check_groups_are_whole(parts: pd.Series, groups: pd.Series) -> None:
    """Refuse parts that a column names, if they divide groups.

    Parameters
    ----------
    parts, groups : pandas.Series of str
        Part and group by sample id.

    Raises
    ------
    ValueError
        If samples of a group are in several parts.
    """
    divided = parts.groupby(groups[parts.index]).nunique()
    divided = divided[divided > 1]
    if divided.empty:
        return
    members = parts[groups[parts.index] == divided.index[0]]
    first, other = members.index[0], members.index[members != members.iloc[0]][0]
    raise ValueError(
        f"{len(divided)} of the {groups.nunique()} groups of metadata column '{groups.name}' are "
        f"divided, such as '{divided.index[0]}': its sample '{first}' is in '{parts[first]}', and "
        f"its sample '{other}' in '{parts[other]}'. Correct one of the columns, or give only the "
        "groups: then whole groups are drawn."
    )


def warn_of_unlearnt_classes(classes: pd.Series, parts: pd.Series, held_out: str) -> None:
    """Warn of classes that occur only among the samples held out."""
    held = parts == held_out
    unlearnt = sorted(set(classes[held]) - set(classes[~held]))
    for name in unlearnt:
        log.warning(
            "All samples of class '%s' are held out together (%s): the model cannot learn this "
            "class, and will never predict it.",
            name, held_out,
        )  # fmt: skip


def none_is_learnt(classes: pd.Series, learnt: Collection[str]) -> str:
    """Say that every prediction of a part must be wrong.

    Parameters
    ----------
    classes : pandas.Series of str
        Of the held-out samples, by sample id.
    learnt : collection of str
        The classes of the training samples; none of them is held out.
    """
    return (
        f"None of the {len(classes)} held-out samples is of a class that the training samples "
        f"have: held out are {listed(set(classes))}; training has {listed(learnt)}. Hold samples "
        "of the same classes out, or choose a smaller rarefy_depth if it left a class out."
    )
