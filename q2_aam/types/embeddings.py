"""Embeddings and effects as artifacts: types, format, and what they can be viewed as."""

import math

import pandas as pd
import qiime2
from q2_types.feature_data import FeatureData
from q2_types.feature_table import FeatureTable
from q2_types.sample_data import SampleData
from qiime2.plugin import SemanticType, TextFileFormat, ValidationError
from qiime2.plugin import model as qiime2_model

AAMEmbedding = SemanticType(
    "AAMEmbedding", variant_of=[SampleData.field["type"], FeatureData.field["type"]]
)
AAMEffect = SemanticType("AAMEffect", variant_of=FeatureTable.field["content"])

LINES_AT_LEVEL_MIN = 6


class AAMEmbeddingFormat(TextFileFormat):
    """A table of numbers, tab-separated: ids in the first column, then one column a dimension."""

    def _validate_(self, level):
        names, width = set(), None
        with self.open() as handle:
            for number, line in enumerate(handle, start=1):
                if level == "min" and number > LINES_AT_LEVEL_MIN:
                    return
                cells = line.rstrip("\r\n").split("\t")
                width = width or len(cells)
                if len(cells) != width or width < 2:
                    raise ValidationError(
                        f"Line {number} has {len(cells)} tab-separated fields, expected "
                        f"{max(width, 2)}: an id, then one number for each column of the header."
                    )
                if number > 1:
                    _check_numbers(cells, number)
                if cells[0] in names:
                    raise ValidationError(f"The id '{cells[0]}' of line {number} occurs twice.")
                names.add(cells[0])
        if len(names) < 2:
            raise ValidationError("There is no line below the header, so nothing is embedded.")


def _check_numbers(cells, number):
    for cell in cells[1:]:
        try:
            sound = math.isfinite(float(cell))
        except ValueError:
            sound = False
        if not sound:
            raise ValidationError(
                f"Line {number} ('{cells[0]}') has {cell!r} where a finite number is expected."
            )


AAMEmbeddingDirectoryFormat = qiime2_model.SingleFileDirectoryFormat(
    "AAMEmbeddingDirectoryFormat", "embeddings.tsv", AAMEmbeddingFormat
)


def write_embeddings(data: pd.DataFrame) -> AAMEmbeddingFormat:
    """Write embeddings with the nine digits that single precision has at most."""
    file = AAMEmbeddingFormat()
    with file.open() as handle:
        data.to_csv(handle, sep="\t", float_format="%.9g")
    return file


def read_embeddings(file: AAMEmbeddingFormat) -> pd.DataFrame:
    """Read embeddings; ids stay text even where they look like numbers."""
    with file.open() as handle:
        data = pd.read_csv(handle, sep="\t", dtype=str, keep_default_na=False)
    return data.set_index(data.columns[0]).astype(float)


def embeddings_as_metadata(file: AAMEmbeddingFormat) -> qiime2.Metadata:
    """Show embeddings wherever QIIME 2 takes metadata: a column a dimension."""
    return qiime2.Metadata(read_embeddings(file).rename_axis("id"))
