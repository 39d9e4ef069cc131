"""Predicted quantiles as an artifact: type, format, and what they can be viewed as."""

import math

import pandas as pd
import qiime2
from q2_types.sample_data import SampleData
from qiime2.plugin import SemanticType, ValidationError
from qiime2.plugin import model as qiime2_model

from q2_aam.core.options import quantile_levels
from q2_aam.types.sample_lines import SampleLinesFormat

AAMIntervals = SemanticType("AAMIntervals", variant_of=SampleData.field["type"])

EXAMPLE = "'quantile-0.05', 'quantile-0.5', 'quantile-0.95'"


class AAMIntervalsFormat(SampleLinesFormat):
    """Tab-separated: sample ids, then a column a quantile; numbers increase along a line."""

    nothing = "nothing is predicted"

    def check_header(self, header):
        """See the base class."""
        try:
            quantile_levels.levels_of(header[1:])
        except ValueError as error:
            raise ValidationError(
                "The first line must name the sample ids and then increasing quantiles with the "
                f"median among them, such as {EXAMPLE}; found {header[:5]}."
            ) from error

    def check_line(self, cells, number, width):
        """See the base class."""
        if len(cells) != width:
            raise ValidationError(
                f"Line {number} has {len(cells)} tab-separated fields, expected {width}: an id, "
                "then one number for each quantile."
            )
        try:
            values = [float(cell) for cell in cells[1:]]
            sound = all(map(math.isfinite, values)) and values == sorted(values)
        except ValueError:
            sound = False
        if not sound:
            raise ValidationError(
                f"Line {number} ('{cells[0]}') has {', '.join(cells[1:6])} where finite numbers "
                "that do not decrease are expected."
            )


AAMIntervalsDirectoryFormat = qiime2_model.SingleFileDirectoryFormat(
    "AAMIntervalsDirectoryFormat", "intervals.tsv", AAMIntervalsFormat
)


def write_intervals(data: pd.DataFrame) -> AAMIntervalsFormat:
    """Write quantiles in full precision."""
    file = AAMIntervalsFormat()
    with file.open() as handle:
        data.to_csv(handle, sep="\t", index_label="sample-id")
    return file


def read_intervals(file: AAMIntervalsFormat) -> pd.DataFrame:
    """Read quantiles; ids stay text even where they look like numbers."""
    with file.open() as handle:
        data = pd.read_csv(handle, sep="\t", dtype=str, keep_default_na=False)
    return data.set_index(data.columns[0]).astype(float)


def intervals_as_metadata(file: AAMIntervalsFormat) -> qiime2.Metadata:
    """Show quantiles wherever QIIME 2 takes metadata: a column a quantile."""
    return qiime2.Metadata(read_intervals(file).rename_axis("sample-id"))
