"""A phylogeny as a sparse matrix: which branches lie above which feature (torch-free).

Shapes: F features, E branches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import bp
import numpy as np
from scipy.sparse import csr_matrix


@dataclass(frozen=True, eq=False)
class BranchTable:
    """The branches above each feature, and their lengths.

    The branch above the root is left out: it is above everything and tells nothing. The branches
    between the root and the last common ancestor of the features are kept, as scikit-bio and
    unifrac keep them.

    Parameters
    ----------
    above : csr_matrix of shape (F, E), dtype float64
        1 where a branch lies between a feature and the root. Rows of features that the tree lacks
        are empty.
    lengths : ndarray of shape (E,)
        Branch lengths, finite and at least 0.
    feature_ids : tuple of str
    """

    above: csr_matrix
    lengths: np.ndarray
    feature_ids: tuple[str, ...]

    @classmethod
    def from_newick(
        cls, path: str | Path, feature_ids: Sequence[str], *, prune: bool = True
    ) -> "BranchTable":
        """Read the branches above some features from a Newick file.

        Parameters
        ----------
        path : path
            Rooted tree; every branch but the root's has a length. Names may be quoted or
            percent-encoded.
        feature_ids : sequence of str
        prune : bool
            Keep only branches that lead to these features, and join those without a fork between
            them. Distances are the same; without it, a tree of millions of tips stays in memory.

        Raises
        ------
        ValueError
            If the file is no tree, lengths are missing or negative, a feature is not a tip, or is
            several.
        """
        tree = _parse(Path(path))
        name_of = _match_tips(tree, feature_ids)
        if prune:
            tree = tree.shear(set(name_of.values())).collapse()
        return cls(*_branches_above(tree, feature_ids, name_of), tuple(feature_ids))


def missing_features(path: str | Path, feature_ids: Sequence[str]) -> list[str]:
    """Return those of the features that are not tips of the tree, in their order."""
    tree = _parse(Path(path))
    known = _tip_names(tree)
    return [name for name in feature_ids if _found_as(name, known) is None]


def _parse(path: Path):
    text = path.read_text(encoding="utf-8")
    try:
        tree = bp.parse_newick(text)
    except (ValueError, IndexError) as error:
        raise ValueError(
            f"The phylogeny cannot be read as a tree in Newick format with at least two nodes: "
            f"{error}."
        ) from error
    _check_lengths(tree, text)
    return tree


def _check_lengths(tree, text: str) -> None:
    opening = np.flatnonzero(tree.B)
    lengths = np.fromiter((tree.length(i) for i in opening), float, len(opening))
    wrong = ~np.isfinite(lengths) | (lengths < 0)
    wrong[0] = False  # that of the root is not used
    if wrong.any():
        node = opening[np.flatnonzero(wrong)[0]]
        place = f"'{tree.name(node)}'" if tree.name(node) else "an unnamed node"
        raise ValueError(
            f"The phylogeny has {int(wrong.sum())} branches whose length is negative or no "
            f"number, such as {tree.length(node):g} above {place}; "
            "UniFrac needs lengths of zero and above."
        )
    n_missing = len(opening) - 1 - _count_lengths(text)
    if n_missing > 0:
        raise ValueError(
            f"The phylogeny lacks the lengths of {n_missing} of its {len(opening) - 1} branches; "
            "UniFrac is a ratio of branch lengths, so make the tree with a method that estimates "
            "them (as qiime phylogeny align-to-tree-mafft-fasttree does)."
        )


def _count_lengths(text: str) -> int:
    """Count the branch lengths of a Newick text; colons within quotes are parts of names."""
    raw = np.frombuffer(text.encode("utf-8"), dtype=np.uint8)
    quoted = np.cumsum(raw == ord("'")) % 2 == 1
    return int(((raw == ord(":")) & ~quoted).sum())


def _tip_names(tree) -> dict[str, int]:
    structure = tree.B
    names: dict[str, int] = {}
    for node in np.flatnonzero(structure[:-1] & ~structure[1:].astype(bool)):
        name = tree.name(node)
        if name is not None:
            names[name] = names.get(name, 0) + 1
    return names


def _found_as(feature: str, known: dict[str, int]) -> str | None:
    """Return how a feature is called in the tree, or None if it is not there."""
    if feature in known:
        return feature
    doubled = feature.replace("'", "''")
    return doubled if doubled in known else None


def _match_tips(tree, feature_ids) -> dict[str, str]:
    known = _tip_names(tree)
    encoded = {unquote(name): name for name in known if "%" in name}
    name_of, missing = {}, []
    for feature in feature_ids:
        name = _found_as(feature, known) or encoded.get(feature)
        if name is None:
            missing.append(feature)
        else:
            name_of[feature] = name
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(feature_ids)} features of the table are not among the "
            f"{len(known)} tips of the phylogeny, such as '{missing[0]}'; give the phylogeny of "
            "this table (fragment insertion adds features to a tree), filter the table, or leave "
            "such features out with missing_features 'drop' (--p-missing-features drop)."
        )
    double = [feature for feature, name in name_of.items() if known[name] > 1]
    if double:
        raise ValueError(
            f"{len(double)} features are several tips of the phylogeny each, such as "
            f"'{double[0]}'; each feature must be one tip."
        )
    return name_of


def _branches_above(tree, feature_ids, name_of) -> tuple[csr_matrix, np.ndarray]:
    structure = tree.B
    opening = np.flatnonzero(structure)
    number = np.full(len(structure), -1)
    number[opening] = np.arange(len(opening))
    parent = number[np.fromiter((tree.parent(i) for i in opening), np.int64, len(opening))]
    parent[0] = 0
    row_of = {name_of[feature]: row for row, feature in enumerate(feature_ids)}
    tips = opening[~structure[np.minimum(opening + 1, len(structure) - 1)].astype(bool)]
    found = [(row_of[tree.name(tip)], number[tip]) for tip in tips if tree.name(tip) in row_of]
    rows, nodes = np.array(found, dtype=np.int64).T
    row_parts, node_parts = [], []
    while len(nodes):  # all features climb one branch at a time
        row_parts.append(rows)
        node_parts.append(nodes - 1)  # the root is number 0
        nodes = parent[nodes]
        rows, nodes = rows[nodes > 0], nodes[nodes > 0]
    rows, columns = np.concatenate(row_parts), np.concatenate(node_parts)
    shape = (len(feature_ids), len(opening) - 1)
    lengths = np.fromiter((tree.length(i) for i in opening[1:]), float, shape[1])
    return csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape), lengths
