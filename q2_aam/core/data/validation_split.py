"""Which samples are held out of training for validation."""

import numpy as np


def split(n: int, test_size: float, seed: int, classes=None) -> tuple[np.ndarray, np.ndarray]:
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

    Returns
    -------
    train, validation : ndarray of int
        Sorted and disjoint; together they are all rows.
    """
    rng = np.random.default_rng([seed, 0x5EED])
    n_held = min(max(round(n * test_size), 1), n - 1) if test_size > 0 else 0
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
