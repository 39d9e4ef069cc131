"""One feature under several names: its sequence, the MD5 or SHA-1 sum of it, or with annotations.

QIIME 2 names features by MD5 sums (DADA2, Deblur) or SHA-1 sums (vsearch) of their sequences, or
by the sequences. vsearch adds the abundance to a name (';size=123;'), and programs for trees write
blanks as underscores or percent signs. Two names that agree in such a form are one feature.
"""

import hashlib
import re
from collections.abc import Iterable
from urllib.parse import unquote

_ANNOTATIONS = re.compile(r"(;\s*(size|ee|length|seqs|clusterid)=[^;]*)+;?\s*$")
_SUM = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{40}")
_SEQUENCE = re.compile(r"[ACGTURYSWKMBDHVN]{20,}", re.IGNORECASE)
"""Shorter names, such as 'ASV', may be words."""

SUMS = (hashlib.md5, hashlib.sha1)
SHOWN = 60


def is_sum(name: str) -> bool:
    """Whether a name looks like an MD5 or SHA-1 sum."""
    return _SUM.fullmatch(name) is not None


def without_annotations(name: str) -> str:
    """Return a name without what vsearch adds to it."""
    return _ANNOTATIONS.sub("", name).removeprefix("centroid=") if "=" in name else name


def forms(name: str, sequence: str | None = None, *, sums: bool = True) -> list[str]:
    """Return the forms of a name by which it is compared with others.

    Parameters
    ----------
    name : str
    sequence : str, optional
        The feature's sequence. Without it, a name that is a sequence is taken for it.
    sums : bool
        Whether to compute the sums of the sequence.

    Returns
    -------
    list of str
        Two names are of one feature if they have a form in common.
    """
    plain = without_annotations(name)
    found = [plain.replace(" ", "_")]
    if "%" in plain:
        found.append(unquote(plain).replace(" ", "_"))
    if is_sum(plain):
        found.append(plain.lower())
    if sequence is None and _SEQUENCE.fullmatch(plain):
        sequence = plain
    if sequence:
        sequence = sequence.upper().replace("U", "T")
        found.append(sequence)
        if sums:
            raw = sequence.encode()
            found += [algorithm(raw, usedforsecurity=False).hexdigest() for algorithm in SUMS]
    return found


class OtherForms:
    """Names that can be found by any of their forms.

    Parameters
    ----------
    names : iterable of (str, str or None)
        Each with its sequence, if that is known.
    """

    def __init__(self, names: Iterable[tuple[str, str | None]]):
        self._names: dict[str, dict[str, None]] = {}
        for name, sequence in names:
            for form in forms(name, sequence):
                self._names.setdefault(form, {})[name] = None

    def find(self, name: str) -> list[str]:
        """Return the names that have a form in common with this one, in their order."""
        return list({n: None for form in forms(name) for n in self._names.get(form, ())})


def shorten(name: str) -> str:
    """Cut a long name, such as a sequence, for a message."""
    return name if len(name) <= SHOWN else f"{name[:SHOWN]}…"
