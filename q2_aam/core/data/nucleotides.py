"""Nucleotides and their token ids: the only place that knows them.

Token 0 is padding, 1 to 4 are A, C, G, T, 5 is the mask, and 6 and above are the IUPAC codes of
ambiguous nucleotides (Cornish-Bowden, 1985, Nucleic Acids Res. 13:3021). U reads as T, and case
does not matter.
"""

import numpy as np

PAD, MASK = 0, 5
BASES = "ACGT"
AMBIGUOUS = {
    "R": "AG",
    "Y": "CT",
    "S": "CG",
    "W": "AT",
    "K": "GT",
    "M": "AC",
    "B": "CGT",
    "D": "AGT",
    "H": "ACT",
    "V": "ACG",
    "N": "ACGT",
}
FIRST_BASE, FIRST_AMBIGUOUS = 1, 6
N_TOKENS = FIRST_AMBIGUOUS + len(AMBIGUOUS)
N_PARTS = len(BASES) + 1

_INVALID = 255


def _code_table() -> np.ndarray:
    table = np.full(256, _INVALID, dtype=np.uint8)
    codes = {base: FIRST_BASE + i for i, base in enumerate(BASES)}
    codes["U"] = codes["T"]
    codes |= {code: FIRST_AMBIGUOUS + i for i, code in enumerate(AMBIGUOUS)}
    for letter, token in codes.items():
        table[ord(letter)] = table[ord(letter.lower())] = token
    return table


_TOKEN_OF_BYTE = _code_table()


def is_sequence(text: str) -> bool:
    """Whether a text consists of nucleotide codes only (and has at least one)."""
    raw = np.frombuffer(text.encode("utf-8"), dtype=np.uint8)
    return raw.size > 0 and not np.any(_TOKEN_OF_BYTE[raw] == _INVALID)


def encode(sequence: str, max_bp: int) -> np.ndarray:
    """Translate one sequence into token ids, cut off after ``max_bp`` nucleotides.

    Parameters
    ----------
    sequence : str
        Unaligned nucleotides: A, C, G, T (or U) and IUPAC codes, in either case.
    max_bp : int
        Nucleotides to keep.

    Returns
    -------
    ndarray of shape (min(len(sequence), max_bp),), dtype uint8

    Raises
    ------
    ValueError
        If the sequence is empty or has another character anywhere.
    """
    raw = np.frombuffer(sequence.encode("utf-8"), dtype=np.uint8)
    if raw.size == 0:
        raise ValueError("the sequence is empty")
    tokens = _TOKEN_OF_BYTE[raw]
    bad = np.flatnonzero(tokens == _INVALID)
    if bad.size:
        prefix = raw[: bad[0]].tobytes().decode("utf-8", errors="replace")
        character = sequence[len(prefix)] if len(prefix) < len(sequence) else "?"
        hint = "; remove gaps from aligned sequences first" if character in "-." else ""
        raise ValueError(
            f"'{character}' at position {len(prefix) + 1} is not a nucleotide: expected A, C, G, "
            f"T or an IUPAC code{hint}"
        )
    return tokens[:max_bp]


def composition() -> np.ndarray:
    """Return what each token is made of, in terms of A, C, G, T and the mask.

    An ambiguous code is an equal mixture of its bases, and padding is nothing, so neither needs
    weights of its own.

    Returns
    -------
    ndarray of shape (N_TOKENS, 5), dtype float32
        Rows sum to one, but that of padding is zero.
    """
    rows = np.zeros((N_TOKENS, N_PARTS), dtype=np.float32)
    for i in range(len(BASES)):
        rows[FIRST_BASE + i, i] = 1
    rows[MASK, N_PARTS - 1] = 1
    for i, bases in enumerate(AMBIGUOUS.values()):
        for base in bases:
            rows[FIRST_AMBIGUOUS + i, BASES.index(base)] = 1 / len(bases)
    return rows


def reverse_complement(tokens: np.ndarray) -> np.ndarray:
    """Read sequences on the other strand.

    Parameters
    ----------
    tokens : ndarray of shape (n, L), uint8
        Encoded sequences, padded with zeros at the end.

    Returns
    -------
    ndarray of shape (n, L), uint8
        Padded in the same way.
    """
    other = np.arange(N_TOKENS, dtype=np.uint8)
    letters = dict(zip("ACGT", "TGCA", strict=True))
    token_of = {bases: FIRST_AMBIGUOUS + i for i, bases in enumerate(AMBIGUOUS.values())}
    for base, complement in letters.items():
        other[_TOKEN_OF_BYTE[ord(base)]] = _TOKEN_OF_BYTE[ord(complement)]
    for bases, token in token_of.items():
        other[token] = token_of["".join(sorted(letters[base] for base in bases))]
    lengths = (tokens != PAD).sum(axis=1, keepdims=True)
    place = lengths - 1 - np.arange(tokens.shape[1])
    turned = np.take_along_axis(other[tokens], np.maximum(place, 0), axis=1)
    return np.where(place >= 0, turned, np.uint8(PAD))


def lengths(tokens: np.ndarray) -> np.ndarray:
    """Count the nucleotides of sequences (U, L) that padding may follow, (U,)."""
    return (tokens != PAD).sum(axis=1)


def padded(tokens: np.ndarray, width: int) -> np.ndarray:
    """Pad sequences (U, L) to a width that is at least L, (U, width)."""
    return np.pad(tokens, ((0, 0), (0, width - tokens.shape[1])), constant_values=PAD)
