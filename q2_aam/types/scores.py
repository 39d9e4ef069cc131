"""Scores of predictions: type, format, and what they can be viewed as.

A table: one row for all samples and one for each group of them.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
import qiime2
from qiime2.plugin import SemanticType, TextFileFormat, ValidationError
from qiime2.plugin import model as qiime2_model

AAMScores = SemanticType("AAMScores")

GROUP, N_SAMPLES = "group", "n_samples"


class AAMScoresFormat(TextFileFormat):
    """Tab-separated: 'id', 'group' and 'n_samples', then a column a score."""

    def _validate_(self, level):
        try:
            table = _read_scores(self)
        except (ValueError, UnicodeDecodeError) as error:
            raise ValidationError(f"The scores in {self} are not a text table: {error}") from error
        expected = [GROUP, N_SAMPLES]
        if table.empty or list(table.columns[:2]) != expected or not table.index.is_unique:
            raise ValidationError(
                f"The scores in {self} must have an id a row and the columns "
                f"{', '.join(expected)}, then scores; found {len(table)} rows with the columns "
                f"{', '.join(map(str, table.columns[:5]))}."
            )
        for name in table.columns[1:]:
            if not pd.api.types.is_numeric_dtype(table[name]):
                raise ValidationError(f"Column '{name}' of the scores in {self} has text in it.")


AAMScoresDirectoryFormat = qiime2_model.SingleFileDirectoryFormat(
    "AAMScoresDirectoryFormat", "scores.tsv", AAMScoresFormat
)


def _read_scores(scores: AAMScoresFormat) -> pd.DataFrame:
    # Groups are names, even where they look like numbers or like missing values.
    table = pd.read_csv(
        str(scores),
        sep="\t",
        dtype={"id": str, GROUP: str},
        keep_default_na=False,
        na_values=[""],
        float_precision="round_trip",
    )
    if "id" not in table:
        raise ValueError("there is no column 'id'")
    return table.set_index("id")


def score_table(rows: Iterable[tuple[str, int, Mapping]], ids: list[str]) -> pd.DataFrame:
    """Put scores into the table that `write_scores` takes.

    Parameters
    ----------
    rows : iterable of (str, int, dict of str to Score)
        Of each group its name, its number of samples, and its scores.
    ids : list of str
        Ids of the rows, which metadata can have; names of groups need not be such ids.

    Returns
    -------
    pandas.DataFrame
        First all scores, then of each the ends of its interval ('_low', '_high'). What is not
        finite is missing.
    """
    cells = []
    for name, n_samples, scores in rows:
        row = {GROUP: name, N_SAMPLES: n_samples}
        row |= {score: found.value for score, found in scores.items()}
        for score, found in scores.items():
            row |= {f"{score}_low": found.low, f"{score}_high": found.high}
        cells.append(row)
    table = pd.DataFrame(cells, index=pd.Index(ids, name="id"))
    return table.replace([np.inf, -np.inf], np.nan)


def write_scores(table: pd.DataFrame) -> AAMScoresFormat:
    """Write scores to a file."""
    written = AAMScoresFormat()
    table.to_csv(str(written), sep="\t", index_label="id")
    return written


def read_scores(scores: AAMScoresFormat) -> pd.DataFrame:
    """Read scores from a file."""
    return _read_scores(scores)


def show_scores(scores: AAMScoresFormat) -> qiime2.Metadata:
    """Show scores wherever QIIME 2 takes metadata."""
    table = _read_scores(scores)
    return qiime2.Metadata(table.astype(dict.fromkeys(table.columns[1:], float)))
