"""Random trees and tables for the tests of what reads phylogenies."""

import numpy as np
from hypothesis import strategies as st

LENGTHS = st.one_of(st.just(0.0), st.floats(1e-6, 10), st.integers(0, 3).map(float), st.just(1e-9))
AWKWARD = ["a b", "it's", "x(1)", "a,b:c;", "[z]", "percent%20", "Ωmega", '"q"', "under_score"]


@st.composite
def newicks(draw, names, *, extra=3, lengths=LENGTHS) -> str:
    """Draw a tree as users have them.

    Forks of any width, nodes with one child, lengths that are zero or large, tips that nobody asks
    for, names that are quoted or percent-encoded where they must be, and perhaps a root with a
    name and a length.
    """
    others = [f"other{i}" for i in range(draw(st.integers(int(len(names) < 2), extra)))]
    parts = [_written(draw, name) for name in draw(st.permutations([*names, *others]))]
    parts = [f"{part}:{draw(lengths)}" for part in parts]
    while len(parts) > 1 or not parts[0].startswith("("):
        start = draw(st.integers(0, max(0, len(parts) - 2)))
        width = draw(st.integers(1 if len(parts) == 1 else 2, 4))
        node = f"({','.join(parts[start : start + width])})"
        if draw(st.integers(0, 4)) == 0:
            node = f"({node}:{draw(lengths)})"
        parts[start : start + width] = [f"{node}{draw(st.sampled_from(['', '0.9', 'node']))}"]
        parts[start] += f":{draw(lengths)}"
    top = parts[0]
    return f"{top};" if draw(st.booleans()) else f"{top[: top.rindex(':')]};"


def _written(draw, name) -> str:
    """Write a name in one of the ways in which a file may have it."""
    quoted = "'" + name.replace("'", "''") + "'"
    if name.isascii() and name.replace("_", "").isalnum():
        return draw(st.sampled_from([name, quoted]))
    encoded = "".join(c if c.isalnum() else "".join(f"%{b:02X}" for b in c.encode()) for c in name)
    return draw(st.sampled_from([encoded, quoted]))


@st.composite
def tables(draw, n_features, *, max_samples=6, empty=False) -> np.ndarray:
    """Draw counts, most of them zero; every sample has reads unless some may be empty."""
    n = draw(st.integers(2, max_samples))
    count = st.one_of(st.just(0), st.just(0), st.integers(1, 60), st.just(100_000))
    counts = np.array(draw(st.lists(count, min_size=n * n_features, max_size=n * n_features)))
    counts = counts.reshape(n, n_features)
    for row in counts[:0] if empty else counts:
        if not row.any():
            row[draw(st.integers(0, n_features - 1))] = 1
    return counts
