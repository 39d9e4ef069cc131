"""Which samples are held out of training for validation."""

import logging

import numpy as np

from q2_aam.core.data.splits.grouped_split import hold_out_groups

log = logging.getLogger(__name__)


def split(
    n: int, test_size: float, seed: int, classes=None, groups=None
) -> tuple[np.ndarray, np.ndarray]:
    """Divide row numbers into training and validation.

    Parameters
    ----------
    n : int
        Number of samples.
    test_size : float
        Share of validation samples; at least one where it is above 0 and n allows.
    seed : int
    classes : sequence, optional
        Class of each sample: each class is divided in the same proportion as far as whole
        samples allow, and keeps at least one sample in training.
    groups : sequence, optional
        Group of each sample: a group is not divided, so shares are met only as far as whole
        groups allow.

    Returns
    -------
    train, validation : ndarray of int
        Sorted and disjoint; together they are all rows.
    """
    rng = np.random.default_rng([seed, 0x5EED])
    n_held = min(max(round(n * test_size), 1), n - 1) if test_size > 0 else 0
    if groups is not None and n_held:
        chosen = hold_out_groups(groups, n_held / n, rng, classes)
        return np.flatnonzero(~chosen), np.flatnonzero(chosen)
    order = rng.permutation(n)
    if classes is None or not n_held:
        return np.sort(order[n_held:]), np.sort(order[:n_held])
    held = _proportional(order, np.asarray(classes), n_held)
    return np.setdiff1d(order, held), np.sort(held)


def _proportional(order, classes, n_held) -> np.ndarray:
    """Take about ``n_held`` rows so that each class gives its share, but never its last sample."""
    share = n_held / len(order)
    members = [order[classes[order] == name] for name in np.unique(classes)]
    whole = [min(int(share * len(rows)), len(rows) - 1) for rows in members]
    rest = [share * len(rows) - n for rows, n in zip(members, whole, strict=True)]
    spare = [i for i, rows in enumerate(members) if len(rows) - whole[i] > 1]
    for i in sorted(spare, key=lambda i: -rest[i])[: n_held - sum(whole)]:
        whole[i] += 1
    return np.concatenate([rows[:n] for rows, n in zip(members, whole, strict=True)])


def divide(n: int, test_size: float, seed: int, classes=None, groups=None):
    """Divide row numbers as `split` does, and refuse a division that a run cannot use.

    Parameters
    ----------
    n, test_size, seed, classes
        See `split`.
    groups : pandas.Series, optional
        Group of each sample; the name is the column's.

    Raises
    ------
    ValueError
        If validation samples are asked for and none can be held back.
    """
    train, held = split(n, test_size, seed, classes, groups)
    if test_size == 0 or len(held):
        return train, held
    if groups is None:
        raise ValueError(
            f"Each of the {n} classes of the metadata column has one sample, so none can "
            "be held back for validation; choose a column of categories that samples share."
        )
    if groups.nunique() == 1:
        raise ValueError(
            f"All {n} training samples are of one group ('{groups.iloc[0]}' of metadata column "
            f"'{groups.name}'), so none can be held back for validation; set test_size to 0 "
            "(--p-test-size 0), or give no groups."
        )
    raise ValueError(
        f"Each of the {groups.nunique()} groups of metadata column '{groups.name}', such as "
        f"'{groups.iloc[0]}', has all training samples of a class, so none can be held back for "
        "validation; set test_size to 0 (--p-test-size 0), or give no groups."
    )


def tell_of_groups(groups, held: np.ndarray, test_size: float) -> None:
    """Say how groups were divided, and warn where they change what was asked for.

    Parameters
    ----------
    groups : pandas.Series of length n
        Group of each sample; the name is the column's.
    held : ndarray of int
        Rows of the validation samples.
    test_size : float
        The share that was asked for.
    """
    n, n_groups = len(groups), groups.nunique()
    if n_groups == n:
        log.warning(
            "Each of the %d samples is a group of its own in metadata column '%s', so the groups "
            "keep nothing together. Is it the right column?",
            n, groups.name,
        )  # fmt: skip
    if not test_size:
        return
    log.info(
        "Validation samples: %d of %d, from %d of %d groups.",
        len(held), n, groups.iloc[held].nunique(), n_groups,
    )  # fmt: skip
    if not 0.5 <= len(held) / (n * test_size) <= 2:
        log.warning(
            "The groups of metadata column '%s' stay whole, so %d of %d samples are validation "
            "samples, where test_size is %g.",
            groups.name, len(held), n, test_size,
        )  # fmt: skip
