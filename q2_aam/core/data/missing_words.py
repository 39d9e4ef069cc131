"""Words that stand for a missing value: the vocabulary of INSDC and Qiita, and others like it."""

import re
from collections.abc import Iterable

import numpy as np

_VOCABULARY = re.compile(
    r"(missing|not applicable|not collected|not provided|not available|restricted access)(:.*)?"
    r"|labcontrol([ :].*)?"
)
"""INSDC's terms for missing values, with the reason that may follow a colon, and Qiita's word for
controls of the laboratory, which have no value of most columns ('LabControl test')."""

_OF_INSDC = frozenset(
    ["missing", "not applicable", "not collected", "not provided", "restricted access"]
)
"""What QIIME 2 takes for missing where a file says INSDC:missing; it knows no other spelling."""

_OTHERS = re.compile(
    r"[-.?/*#]*|#?n[./]?a\.?|nan|<na>|null|none|nil|tbd|n[./]?d\.?|unknown|unspecified|unavailable"
    r"|undetermined|undefined|uncertain|no (data|value|answer|response)|missing (data|value)"
    r"|not (known|specified|determined|recorded|reported|given|tested|measured|sure|answered"
    r"|assessed|disclosed|done)"
    r"|to be (determined|reported)( later)?|prefer not to (say|answer)"
)
"""Words that often mean the same. Among numbers they can mean nothing else. Among classes they may
be one, such as 'none' for a drug, or 'NA' for North America."""


def are_missing(values: Iterable, *, numeric: bool) -> np.ndarray:
    """Say which values are words for a missing value.

    Parameters
    ----------
    values : iterable of length n
        Text, numbers or anything else. Only text can be such a word.
    numeric : bool
        Whether numbers are expected, so that more words are clear.

    Returns
    -------
    ndarray of shape (n,), dtype bool
    """
    return _are(values, (_VOCABULARY, _OTHERS) if numeric else (_VOCABULARY,))


def may_be_missing(values: Iterable) -> np.ndarray:
    """Say which values may be words for a missing value, and may be classes.

    Parameters
    ----------
    values : iterable of length n

    Returns
    -------
    ndarray of shape (n,), dtype bool
    """
    return _are(values, (_OTHERS,))


def are_of_insdc(values: Iterable) -> np.ndarray:
    """Say which words are those of INSDC to the letter, so that other tools know them too.

    Parameters
    ----------
    values : iterable of length n

    Returns
    -------
    ndarray of shape (n,), dtype bool
    """
    return np.array([isinstance(v, str) and v.strip() in _OF_INSDC for v in values], dtype=bool)


def _are(values, patterns) -> np.ndarray:
    known: dict[str, bool] = {}
    for value in values:
        if isinstance(value, str) and value not in known:
            plain = re.sub(r"[\s_]+|(?<=\w)-(?=\w)", " ", value.casefold()).strip()
            known[value] = any(pattern.fullmatch(plain) for pattern in patterns)
    return np.array([isinstance(v, str) and known[v] for v in values], dtype=bool)
