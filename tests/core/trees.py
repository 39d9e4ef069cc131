"""Random trees and tables for the tests of what reads phylogenies."""

import numpy as np


def random_newick(rng, names, *, root_length=False) -> str:
    """Write a tree with forks of any width, unary nodes, and lengths of which some are zero."""
    parts = [f"{name}:{_length(rng)}" for name in names]
    while len(parts) > 1:
        n = min(len(parts), int(rng.integers(2, 5)))
        chosen = sorted(rng.permutation(len(parts))[:n], reverse=True)
        inner = ",".join(parts.pop(i) for i in chosen)
        node = f"({inner})"
        if rng.random() < 0.2:
            node = f"({node}:{_length(rng)})"
        parts.append(f"{node}:{_length(rng)}")
    top = parts[0]
    if not top.startswith("("):
        top = f"({top})"
        return f"{top};"
    return f"{top};" if root_length else f"{top[: top.rindex(':')]};"


def _length(rng) -> float:
    return 0.0 if rng.random() < 0.1 else round(float(rng.random()) + 0.01, 6)


def random_counts(rng, n_samples, n_features) -> np.ndarray:
    """Draw counts in which every sample has a feature and most features are absent."""
    counts = rng.integers(1, 50, (n_samples, n_features))
    counts *= rng.random((n_samples, n_features)) < 0.4
    counts[np.arange(n_samples), rng.integers(0, n_features, n_samples)] += 1
    return counts
