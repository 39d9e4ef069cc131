"""A phylogeny as a sparse matrix: which branches lie above which feature (torch-free).

Shapes: F features, E branches.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from q2_aam.core.data.feature_names import OtherForms, forms, is_sum, shorten
from q2_aam.core.phylogeny.newick import Newick, read_newick

log = logging.getLogger(__name__)


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
    parent : ndarray of shape (E,), int64
        The branch above each, or -1 below the root. Branches are in the order of the tree: one
        comes before those below it, and these come together.
    tips : ndarray of shape (F,), int64
        The branch that ends in each feature.
    feature_ids : tuple of str
    """

    above: csr_matrix
    lengths: np.ndarray
    parent: np.ndarray
    tips: np.ndarray
    feature_ids: tuple[str, ...]

    @classmethod
    def from_newick(
        cls, path: str | Path, feature_ids: Sequence[str], *, prune: bool = True
    ) -> "BranchTable":
        """Read the branches above some features from a Newick file.

        Parameters
        ----------
        path : path
            Rooted tree with branch lengths; see `read_newick`. Names may be quoted or
            percent-encoded, or those of the features in another form (`feature_names`).
        feature_ids : sequence of str
        prune : bool
            Keep only branches that lead to these features, and join those without a fork between
            them. Distances are the same; without it, a tree of millions of tips stays in memory.

        Raises
        ------
        ValueError
            If the file is no tree, too many lengths are missing or negative, a feature is not a
            tip, or is several.
        """
        newick = _read(path, feature_ids)
        for warning in newick.warnings:
            log.warning(warning)
        tree, tips = newick.tree, _match_tips(newick, feature_ids)
        names = [tree.name(tip) for tip in tips]
        if prune:
            tree = tree.shear(set(names)).collapse()
        return cls(*_branches_above(tree, names), tuple(feature_ids))


def missing_features(path: str | Path, feature_ids: Sequence[str]) -> list[str]:
    """Return those of the features that are not tips of the tree, in their order."""
    found = _Tips.of(_read(path, feature_ids)).find(feature_ids)
    return [name for name, tips in zip(feature_ids, found, strict=True) if not tips]


def pruned_newick(path: str | Path, feature_ids: Sequence[str]) -> str:
    """Write the part of a tree that leads to some features.

    Parameters
    ----------
    path : path
    feature_ids : sequence of str

    Returns
    -------
    str
        Newick text whose tips are named f0, f1, … in the order of the features, so that no reader
        stumbles over a name. Lengths are exact; the root has none.

    Raises
    ------
    ValueError
        As `BranchTable.from_newick`.
    """
    newick = _read(path, feature_ids)
    names = [newick.tree.name(tip) for tip in _match_tips(newick, feature_ids)]
    tree = newick.tree.shear(set(names)).collapse()
    row_of = {name: row for row, name in enumerate(names)}
    structure = tree.B.tolist()
    parts, above = [], []
    for place, opens in enumerate(structure):
        if opens:
            sibling = "," if above and not structure[place - 1] else ""
            label = "(" if structure[place + 1] else f"f{row_of[tree.name(place)]}"
            parts.append(sibling + label)
            above.append(place)
        else:
            node = above.pop()
            fork = ")" if place > node + 1 else ""
            parts.append(f"{fork}:{float(tree.length(node))!r}" if above else f"{fork};")
    return "".join(parts)


def another_tip(path: str | Path, feature_ids: Sequence[str]) -> str:
    """Return the name of a tip that is none of these features; empty if there is none."""
    return shorten(_read(path, feature_ids).other)


def _read(path, feature_ids) -> Newick:
    """Read the names of those tips only that may be features."""
    known = {form for name in feature_ids for form in forms(name)}
    has_sums = any(is_sum(form) for name in feature_ids for form in forms(name, sums=False)[:1])
    known.update(feature_ids)

    def wanted(name: str) -> bool:
        if name in known or name.isdigit():
            return name in known
        return not known.isdisjoint(forms(name, sums=has_sums))

    return read_newick(path, wanted)


@dataclass(frozen=True, eq=False)
class _Tips:
    """Tips of a tree by their names, and the names that several tips have."""

    nodes: dict[str, int]
    double: set[str]

    @classmethod
    def of(cls, newick: Newick) -> "_Tips":
        nodes: dict[str, int] = {}
        double = set()
        for name, node in zip(newick.names, newick.nodes.tolist(), strict=True):
            if nodes.setdefault(name, node) != node:
                double.add(name)
        return cls(nodes, double)

    def find(self, feature_ids: Sequence[str]) -> list[tuple[str, ...]]:
        """Return how each feature is called in the tree: once, or never, or at several tips."""
        if all(name in self.nodes for name in feature_ids):
            return [self._as_written(name) for name in feature_ids]
        wanted = set(feature_ids)  # a tip that is one feature as written is no other decoded
        free = OtherForms((name, None) for name in self.nodes if name not in wanted)
        taken: set[str] = set()
        found = []
        for feature in feature_ids:
            if feature in self.nodes:
                found.append(self._as_written(feature))
                continue
            names = tuple(n for name in free.find(feature) for n in self._as_written(name))
            found.append(tuple(name for name in names if name not in taken))
            taken.update(names)
        return found

    def _as_written(self, name: str) -> tuple[str, ...]:
        return (name, name) if name in self.double else (name,)


def _tell_of_other_forms(feature_ids, names) -> None:
    """Tell of features that the tree calls in another form."""
    other = [(f, name) for f, (name,) in zip(feature_ids, names, strict=True) if f != name]
    if other:
        log.info(
            "%d of %d tips of the phylogeny are named in another form than the features, such as "
            "'%s' for '%s': they are taken for the same.",
            len(other), len(names), shorten(other[0][1]), shorten(other[0][0]),
        )  # fmt: skip


def _match_tips(newick: Newick, feature_ids) -> list[int]:
    """Return the tip of each feature."""
    tips = _Tips.of(newick)
    names = tips.find(feature_ids)
    missing = [f for f, found in zip(feature_ids, names, strict=True) if not found]
    if missing:
        tip = f" (a tip is called '{shorten(newick.other)}')" if newick.other else ""
        raise ValueError(
            f"{len(missing)} of {len(feature_ids)} features of the table are not among the "
            f"{newick.n_tips} tips of the phylogeny, such as '{shorten(missing[0])}'{tip}; give "
            "the phylogeny of this table (fragment insertion adds features to a tree), filter the "
            "table, or leave such features out with missing_features 'drop' (--p-missing-features "
            "drop)."
        )
    double = [f for f, found in zip(feature_ids, names, strict=True) if len(found) > 1]
    if double:
        raise ValueError(
            f"{len(double)} features occur at several tips of the phylogeny, such as "
            f"'{double[0]}'; each feature must be one tip, so rename or remove the others."
        )
    _tell_of_other_forms(feature_ids, names)
    return [tips.nodes[name] for (name,) in names]


def _branches_above(tree, names: list[str]) -> tuple:
    """Return what `BranchTable` holds of a tree, but for the names of the features."""
    structure = tree.B
    opening = np.flatnonzero(structure)
    number = np.full(len(structure), -1)
    number[opening] = np.arange(-1, len(opening) - 1)  # the root is above all branches
    branches = opening[1:]
    parent = number[np.fromiter((tree.parent(i) for i in branches), np.int64, len(branches))]
    lengths = np.fromiter((tree.length(i) for i in branches), float, len(branches))
    row_of = {name: row for row, name in enumerate(names)}
    tips = np.empty(len(names), dtype=np.int64)
    for place in branches[~structure[branches + 1].astype(bool)].tolist():
        row = row_of.get(tree.name(place))
        if row is not None:
            tips[row] = number[place]
    rows, above = np.arange(len(names)), tips
    row_parts, column_parts = [], []
    while len(rows):  # all features climb one branch at a time
        row_parts.append(rows)
        column_parts.append(above)
        above = parent[above]
        rows, above = rows[above >= 0], above[above >= 0]
    rows, columns = np.concatenate(row_parts), np.concatenate(column_parts)
    shape = (len(names), len(branches))
    return csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape), lengths, parent, tips
