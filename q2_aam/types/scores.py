"""Scores of predictions: type, format, and what they can be viewed as.

A table: one row for all samples and one for each group of them.
"""

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
