"""Newick text, checked before `bp` reads it (torch-free).

`bp` reads a missing or unreadable length as 0, keeps comments as parts of names, takes a second
tree for a part of the first, and may end the process on unbalanced text. So the text is checked
here, and handed on without comments or quotation marks.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import bp
import numpy as np

STAND_IN = "\x00"
"""Starts the names that stand for quoted ones in the text that `bp` is given."""

_BEFORE, _AFTER = r"(?<![^\s(),\]])", r"(?![^\s:,();\[])"
_COMMENT_OR_QUOTED = re.compile(
    rf"\[[^\]]*\]|{_BEFORE}'(?:[^']|'')*'{_AFTER}|{_BEFORE}\"[^\"]*\"{_AFTER}"
)
_OPEN, _CLOSE, _COMMA, _COLON, _END = (ord(c) for c in "(),:;")


@dataclass(frozen=True, eq=False)
class Newick:
    """A tree and the names of its nodes.

    Parameters
    ----------
    tree : bp.BP
    quoted : list of str
        Names that were quoted, without the quotation marks.
    """

    tree: bp.BP
    quoted: list[str]

    def name(self, node: int) -> str:
        """Return the name of a node as the file means it; empty if it has none."""
        name = self.tree.name(node) or ""
        return self.quoted[int(name[1:])] if name.startswith(STAND_IN) else name


def read_newick(path: str | Path) -> Newick:
    """Read a tree whose branches all have lengths; that of the root may be missing.

    Parameters
    ----------
    path : path
        UTF-8. Comments in square brackets are skipped; names may be in single quotation marks, in
        which a doubled one stands for one, or in double quotation marks.

    Raises
    ------
    ValueError
        If the file is not one tree of two or more tips, or a length is missing, negative or no
        finite number.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"The phylogeny is not text in UTF-8 (byte {error.start} is "
            f"{error.object[error.start]:#x}); save the tree in Newick format with this encoding."
        ) from error
    text, quoted = _without_quotes(text)
    n_nodes = _check(text, quoted)
    tree = bp.parse_newick(text)
    if len(tree.B) != 2 * n_nodes:
        raise ValueError(
            f"The phylogeny has {n_nodes} nodes, of which {len(tree.B) // 2} can be read; write "
            "it again with a tool that keeps to the Newick format."
        )
    return Newick(tree, quoted)


def _without_quotes(text: str) -> tuple[str, list[str]]:
    """Leave comments out, and put stand-ins in the place of quoted names."""
    quoted: list[str] = []

    def replace(match) -> str:
        found = match[0]
        if found[0] == "[":
            return ""
        quoted.append(found[1:-1].replace("''", "'") if found[0] == "'" else found[1:-1])
        return f"{STAND_IN}{len(quoted) - 1}"

    if STAND_IN in text:
        raise _unreadable("it has a null character", text.index(STAND_IN))
    text = _COMMENT_OR_QUOTED.sub(replace, text).strip()
    stray = re.search(r"['\"\[\]]", text)
    if stray:
        raise _unreadable(
            f"the {stray[0]} near '{_excerpt(text, stray.start(), quoted)}' has no partner, or "
            "stands within a name without quotation marks"
        )
    return text, quoted


def _check(text: str, quoted: list[str]) -> int:
    """Return the number of nodes of a sound tree, or say what is wrong."""
    raw = np.frombuffer(text.encode("utf-8"), dtype=np.uint8)
    places = np.flatnonzero(np.isin(raw, (_OPEN, _CLOSE, _COMMA, _COLON, _END)))
    marks = raw[places]
    _check_marks(raw, places, marks)
    is_end = np.isin(marks, (_CLOSE, _COMMA, _END))
    fork = marks[marks != _COLON]
    n_tips = int((np.isin(fork[1:], (_CLOSE, _COMMA)) & (fork[:-1] != _CLOSE)).sum())
    if n_tips < 2:
        raise ValueError(
            f"The phylogeny has {max(n_tips, 1)} tip; distances and diversities need a tree of "
            "two tips or more, as of all features of the table."
        )
    ends = np.flatnonzero(is_end)
    _check_lengths(raw, places, marks, ends, quoted)
    return len(ends)


def _check_marks(raw, places, marks) -> None:
    if not len(raw):
        raise _unreadable("it is empty")
    if not len(marks) or marks[-1] != _END or places[-1] != len(raw) - 1:
        raise _unreadable("it does not end with a semicolon, so it may be cut short")
    if (marks == _END).sum() > 1:
        raise _unreadable(f"it holds {int((marks == _END).sum())} trees where one is expected")
    step = (marks == _OPEN).astype(np.int64) - (marks == _CLOSE)
    depth = np.cumsum(step)
    if depth[-1] != 0 or depth.min() < 0:
        raise _unreadable(
            f"its {int((marks == _OPEN).sum())} opening and {int((marks == _CLOSE).sum())} "
            "closing parentheses do not match"
        )
    if (depth[marks == _COMMA] < 1).any():
        raise _unreadable("it has several nodes outside all parentheses, so no root")
    before = np.concatenate([[_OPEN], marks[:-1]])
    filled = np.concatenate([[0], np.cumsum(raw > ord(" "))])
    starts = np.concatenate([[0], places[:-1] + 1])
    odd = (marks == _OPEN) & (
        ~np.isin(before, (_OPEN, _COMMA)) | (filled[places] > filled[starts])
    )
    if odd.any():
        raise _unreadable("an opening parenthesis does not follow another or a comma")
    if ((marks == _COLON) & (before == _COLON)).any():
        place = places[np.flatnonzero((marks == _COLON) & (before == _COLON))[0]]
        near = raw[max(0, place - 20) : place + 10].tobytes().decode("utf-8", "replace")
        raise _unreadable(f"two colons follow each other without a fork near '{near}'")


def _check_lengths(raw, places, marks, ends, quoted) -> None:
    """Check the length of every branch but the root's, which is the last."""
    given = marks[ends - 1] == _COLON
    n_missing = int((~given[:-1]).sum())
    if n_missing:
        raise ValueError(
            f"The phylogeny lacks the lengths of {n_missing} of its {len(ends) - 1} branches; "
            "UniFrac is a ratio of branch lengths, so make the tree with a method that estimates "
            "them (as qiime phylogeny align-to-tree-mafft-fasttree does)."
        )
    text = raw.tobytes()
    stops = places[ends[given]].tolist()
    starts = (places[ends[given] - 1] + 1).tolist()
    lengths = np.array([_number(text[i:j]) for i, j in zip(starts, stops, strict=True)])
    wrong = ~np.isfinite(lengths) | (lengths < 0)
    if given[-1]:  # the root's branch is not used, but it must be a number for bp
        wrong[-1] = np.isnan(lengths[-1])
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        found = text[starts[first] : stops[first]].decode("utf-8", "replace").strip()
        k = ends[given][first] - 2
        label = text[places[k] + 1 if k >= 0 else 0 : starts[first] - 1].decode().strip()
        label = _named(label, quoted)
        raise ValueError(
            f"The phylogeny has {int(wrong.sum())} branches whose length is negative or no "
            f"number, such as '{found}' above {repr(label) if label else 'an unnamed node'}; "
            "UniFrac needs finite lengths of zero and above."
        )


def _number(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def _named(label: str, quoted: list[str]) -> str:
    return quoted[int(label[1:])] if label.startswith(STAND_IN) else label


def _excerpt(text: str, place: int, quoted: list[str]) -> str:
    near = text[max(0, place - 20) : place + 20]
    return re.sub(f"{STAND_IN}([0-9]+)", lambda m: repr(quoted[int(m[1])]), near)


def _unreadable(found: str, place: int | None = None) -> ValueError:
    at = "" if place is None else f" at character {place}"
    return ValueError(
        f"The phylogeny cannot be read as a tree in Newick format: {found}{at}; give one rooted "
        "tree, such as '((a:1,b:2):0.5,c:3);'."
    )
