"""What each sample of a training run was used for, as tab-separated text (torch-free)."""

import pandas as pd

from q2_aam.core.data.splits.roles import (
    ID,
    LEFT_OUT,
    MAX_ID_BYTES,
    MAX_SAMPLES,
    REASON,
    REASONS,
    ROLE,
    ROLES,
)

MAX_BYTES = 2**26
HEADER = "\t".join((ID, ROLE, REASON)).encode()

_CONTROL = bytes({*range(32), 127} - {*b"\t\n"})
_USED = [(role, "") for role in ROLES if role != LEFT_OUT]
_SAID = {"\t".join(pair).encode(): pair for pair in [*_USED, *((LEFT_OUT, r) for r in REASONS)]}
"""What can be after the id in a line."""


def render(samples: pd.DataFrame) -> bytes:
    """Write what samples were used for so that `parse` restores it exactly.

    Parameters
    ----------
    samples : pandas.DataFrame
        As `data.splits.roles.roles_table` makes it.

    Raises
    ------
    ValueError
        If it is not of that form.
    """
    rows = samples[[ROLE, REASON]].itertuples(name=None)
    data = b"".join([HEADER + b"\n", *(("\t".join(row) + "\n").encode() for row in rows)])
    parse(data)
    return data


def check_header(data: bytes) -> None:
    """Check the first line, the size and the number of lines.

    Raises
    ------
    ValueError
        If the line is another one, or there is too much.
    """
    line, newline, _ = data.partition(b"\n")
    if line != HEADER or not newline:
        raise ValueError(f"samples.tsv must begin with the line {HEADER!r}; found {line[:40]!r}")
    if len(data) > MAX_BYTES or data.count(b"\n") - 1 > MAX_SAMPLES:
        raise ValueError(
            f"samples.tsv has more than the {MAX_SAMPLES} lines or the {MAX_BYTES} bytes allowed"
        )
    if not data.endswith(b"\n"):
        raise ValueError("samples.tsv must end with a line feed")


def parse(data: bytes) -> pd.DataFrame:
    """Read what `render` wrote.

    Returns
    -------
    pandas.DataFrame
        By sample id, as `data.splits.roles.roles_table` makes it.

    Raises
    ------
    ValueError
        If it is not a line for each sample, with a role, and a reason where it is left out.
    """
    check_header(data)
    if len(data.translate(None, _CONTROL)) != len(data):
        raise ValueError("samples.tsv has a control character other than tabs and line feeds")
    names, said = [], []
    for number, line in enumerate(data.split(b"\n")[1:-1], start=2):
        name, _, rest = line.partition(b"\t")
        if rest not in _SAID or not 0 < len(name) <= MAX_ID_BYTES:
            raise ValueError(
                f"samples.tsv must have an id of at most {MAX_ID_BYTES} bytes, a role and, for a "
                f"sample that is left out, a reason in each line; found {line[:60]!r} in line "
                f"{number}"
            )
        names.append(name)
        said.append(_SAID[rest])
    try:
        ids = b"\n".join(names).decode("utf-8").split("\n") if names else []
    except UnicodeDecodeError as error:
        raise ValueError("samples.tsv is not UTF-8 text") from error
    index = pd.Index(ids, name=ID, dtype=object)
    if not index.is_unique:
        twice = index[index.duplicated()][0]
        raise ValueError(f"samples.tsv has the id {twice[:40]!r} twice")
    return pd.DataFrame(said, index, [ROLE, REASON], dtype=object)
