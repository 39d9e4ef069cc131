"""Samples that belong together, such as several of one person: divided by groups (torch-free).

Shapes: n samples, G groups, C classes (one if there are none).
"""

import warnings

import numpy as np
import pandas as pd

from q2_aam.core.data.metadata import with_values


def with_groups(sample_ids, column: pd.Series | None, missing_samples: str):
    """Return the samples that have a group, in the order of the table, and their groups.

    Parameters
    ----------
    sample_ids : sequence of str
    column : pandas.Series, optional
        Text or numbers by sample id; missing ones are NaN or None.
    missing_samples : {'error', 'ignore'}
        What to do when samples have no group.

    Returns
    -------
    sample_ids : list of str
    groups : pandas.Series of str, optional
        By sample id. Without a column there are none, and all samples are kept.

    Raises
    ------
    ValueError
        If samples have no group and 'error' is chosen, or none has one.
    """
    if column is None:
        return list(sample_ids), None
    groups = with_values(list(sample_ids), column, missing_samples).map(name_of)
    return list(groups.index), groups


def name_of(value) -> str:
    """Write a value as a name: a column of 1, 2, 3 is read as 1.0, 2.0, 3.0."""
    if not isinstance(value, float):
        return str(value)
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else f"{value:.15g}"


def hold_out_groups(groups, share: float, rng, classes=None) -> np.ndarray:
    """Choose whole groups at random that have about a share of the samples.

    `sklearn.model_selection.GroupShuffleSplit` takes a share of the groups, whatever their sizes,
    and knows no classes. Here, groups in random order are taken as long as each brings the
    samples, and those of each class, nearer to the share.

    Parameters
    ----------
    groups : sequence of length n
    share : float
        From 0 to 1.
    rng : numpy.random.Generator or numpy.random.RandomState
    classes : sequence of length n, optional
        Every class keeps a sample that is not chosen.

    Returns
    -------
    ndarray of shape (n,), bool
        Which samples are chosen: of at least one group where that is possible, never of all.
    """
    number, members = _members(groups, classes)
    total = members.sum(axis=0)
    goal = share * total

    def off(held):
        return abs(held.sum() - goal.sum()) + np.abs(held - goal).sum()

    chosen, held = np.zeros(len(members), dtype=bool), np.zeros_like(goal)
    order = rng.permutation(len(members))
    for group in order:
        then = held + members[group]
        if (then < total).all() and off(then) < off(held):
            chosen[group], held = True, then
    if not chosen.any():  # all groups are large
        possible = [group for group in order if (members[group] < total).all()]
        if possible:
            chosen[min(possible, key=lambda group: off(members[group]))] = True
    return chosen[number]


def deal_groups(groups, n_folds: int, rng, classes=None) -> np.ndarray:
    """Deal whole groups out to folds with as equal numbers of samples as they allow.

    Parameters
    ----------
    groups : sequence of length n
    n_folds : int
        From 2 to the number of groups.
    rng : numpy.random.Generator or numpy.random.RandomState
        Of its stream, equal folds follow with every version of scikit-learn.
    classes : sequence of length n, optional
        Deal each class out equally as well, as far as whole groups allow.

    Returns
    -------
    ndarray of shape (n,), int
        Number of the fold of each sample, from 0. No fold is empty.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    number, members = _members(groups, classes)
    sizes = members.sum(axis=1)
    # Largest first, equals at random: the splitter keeps this order where classes do not decide.
    # It is not left to shuffle, because up to scikit-learn 1.7 that mixed up groups and classes.
    order = rng.permutation(len(members))
    order = order[np.argsort(-sizes[order], kind="stable")]
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    if n_folds == len(members):
        return rank[number]
    fold, labels = np.zeros(len(number), dtype=int), np.zeros(len(number), dtype=int)
    by_class = members.shape[1] > 1 and members.sum(axis=0).max() >= n_folds
    if by_class:
        labels = np.unique(np.asarray(classes, dtype=str), return_inverse=True)[1]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        parts = StratifiedGroupKFold(n_folds).split(labels[:, None], labels, rank[number])
        for i, (_, rows) in enumerate(parts):
            fold[rows] = i
    if by_class and len(np.unique(fold)) < n_folds:
        return deal_groups(groups, n_folds, rng)
    return fold


def _members(groups, classes) -> tuple[np.ndarray, np.ndarray]:
    """Number the groups (n,), and count their samples by class (G, C)."""
    number = np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
    label = np.zeros(len(number), dtype=int)
    if classes is not None:
        label = np.unique(np.asarray(classes, dtype=str), return_inverse=True)[1]
    members = np.zeros((number.max() + 1, label.max() + 1))
    np.add.at(members, (number, label), 1)
    return number, members
