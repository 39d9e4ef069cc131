"""The history of a training run as tab-separated text (torch-free)."""

import csv
import io
import math
import re

import numpy as np
import pandas as pd

MAX_BYTES = 4 * 2**20
MAX_COLUMNS = 500
MAX_EPOCH = 2**53

_NAME = re.compile(r'[^\x00-\x1f\x7f"]{1,200}')


def render(history: pd.DataFrame) -> bytes:
    """Write a history so that `parse` restores it exactly.

    One that would have more than `MAX_BYTES`, as of tens of thousands of epochs, is thinned to
    every other row, or every fourth and so on, and the last.

    Parameters
    ----------
    history : pandas.DataFrame
        One row an epoch: column 'epoch' first, increasing integers, and numbers in the others.
        Missing values become empty.

    Raises
    ------
    ValueError
        If the columns are not so.
    """
    lines = [list(history.columns) or ["epoch"]]
    for row in history.itertuples(index=False, name=None):
        lines.append([str(int(row[0])), *map(_cell, row[1:])])
    header, *rows = [("\t".join(line) + "\n").encode() for line in lines]
    while len(header) + sum(map(len, rows)) > MAX_BYTES and len(rows) > 2:
        rows = [*rows[:-1:2], rows[-1]]
    data = b"".join([header, *rows])
    parse(data)
    return data


def _cell(value) -> str:
    """Write a number in the fewest digits that restore it."""
    return "" if value is None or math.isnan(value) else repr(float(value))


def parse(data: bytes) -> pd.DataFrame:
    """Read what `render` wrote.

    Returns
    -------
    pandas.DataFrame
        Column 'epoch' of int64, the others of float64 with NaN where a value is missing.

    Raises
    ------
    ValueError
        If the text is not a table of numbers with increasing epochs.
    """
    names = column_names(data)
    _check_rectangle(data, len(names))
    try:
        table = pd.read_csv(
            io.BytesIO(data),
            sep="\t",
            dtype=np.float64,
            na_values=[""],
            keep_default_na=False,
            quoting=csv.QUOTE_NONE,
            index_col=False,
            skip_blank_lines=False,
            float_precision="round_trip",
            encoding="utf-8",
        )
    except ValueError as error:
        raise ValueError(f"history.tsv has a cell that is not a number ({error})") from error
    epochs = table["epoch"].to_numpy()
    sound = (epochs >= 0) & (epochs < MAX_EPOCH) & (epochs == np.floor(epochs))
    if not sound.all() or (np.diff(epochs) <= 0).any():
        raise ValueError("history.tsv has epochs that are not increasing integers from 0")
    return table.astype({"epoch": np.int64}).reset_index(drop=True)


def column_names(data: bytes) -> list[str]:
    """Read the header line of a history.

    Raises
    ------
    ValueError
        If it is not complete, or not a list of distinct names of which the first is 'epoch'.
    """
    line, newline, _ = data.partition(b"\n")
    try:
        names = line.decode("utf-8").split("\t", MAX_COLUMNS)
    except UnicodeDecodeError as error:
        raise ValueError("history.tsv is not UTF-8 text") from error
    if not newline or names[0] != "epoch" or len(set(names)) < len(names):
        raise ValueError(
            "history.tsv must begin with a line of different column names, the first of them "
            f"'epoch'; found {line[:40]!r}"
        )
    wrong = [name for name in names if not _NAME.fullmatch(name)]
    if wrong or len(names) > MAX_COLUMNS:
        raise ValueError(
            f"history.tsv must have at most {MAX_COLUMNS} columns with printable names of at most "
            f"200 characters; found {len(names)}, {str(wrong[:1])[:40]}"
        )
    return names


def _check_rectangle(data: bytes, n_columns: int) -> None:
    """Refuse lines with more or fewer cells than the header, which pandas would make up for."""
    characters = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(characters == ord("\n"))
    if not data.endswith(b"\n") or (characters == ord("\r")).any():
        raise ValueError("history.tsv must have lines that each end with a line feed alone")
    tabs = np.cumsum(characters == ord("\t"), dtype=np.int64)[ends]
    wrong = np.flatnonzero(np.diff(tabs, prepend=0) != n_columns - 1)
    if len(wrong):
        raise ValueError(f"history.tsv has {n_columns} columns but not in line {wrong[0] + 1}")
