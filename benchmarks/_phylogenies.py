"""Random trees and samples of any size, made in seconds, for what is measured on phylogenies."""

import numpy as np
from scipy.sparse import csr_matrix

POOLS, POOL, COMMON = 20, 10_000, 1_000


def random_newick(rng: np.random.Generator, names: list[str]) -> str:
    """Write a random tree (Yule's model: every order of its forks is as likely).

    Parameters
    ----------
    rng : numpy.random.Generator
    names : list of str
        Of the tips, from left to right.

    Returns
    -------
    str
        Newick text.
    """
    opened, closed = np.zeros((2, len(names)), dtype=int)
    forks: list[tuple[float, int]] = []
    for gap, age in enumerate(rng.random(len(names) - 1).tolist()):
        start = gap
        while forks and forks[-1][0] < age:  # a younger fork ends at this tip
            start = forks.pop()[1]
            closed[gap] += 1
        opened[start] += 1
        forks.append((age, start))
    closed[-1] = len(forks)
    lengths = iter(rng.exponential(0.03, 2 * len(names)).tolist())
    tips = (
        f"{'(' * opens}{name}:{next(lengths):.6f}"
        + "".join(f"):{next(lengths):.6f}" for _ in range(closes))
        for name, opens, closes in zip(names, opened.tolist(), closed.tolist(), strict=True)
    )
    text = ",".join(tips)
    return f"{text[: text.rindex(':')]};"


def random_samples(rng: np.random.Generator, n_samples: int, n_features: int) -> csr_matrix:
    """Draw samples of a few hundred features each.

    Half of a sample's draws are from features that all samples share, two fifths from one of
    twenty overlapping pools, and a tenth from everywhere; the first of each are drawn most often.

    Parameters
    ----------
    rng : numpy.random.Generator
    n_samples, n_features : int

    Returns
    -------
    csr_matrix of shape (n_samples, n_features), int32
    """
    features = rng.permutation(n_features)
    pool, common = min(POOL, n_features), min(COMMON, n_features)
    drawn = rng.poisson(450, n_samples)
    row = np.repeat(np.arange(n_samples, dtype=np.int32), drawn)
    first = np.repeat(rng.integers(0, POOLS, n_samples), drawn) * ((n_features - pool) // POOLS)
    place, source = rng.random(len(row)) ** 6, rng.random(len(row))
    where = np.select(
        [source < 0.5, source < 0.9], [place * common, first + place * pool], place * n_features
    ).astype(np.int64)
    reads = rng.geometric(0.1, len(row)).astype(np.int32)
    return csr_matrix((reads, (row, features[where])), shape=(n_samples, n_features))
