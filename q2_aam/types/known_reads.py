"""Shares of known reads as an artifact: type, format, and what they can be viewed as."""

import pandas as pd
import qiime2
from q2_types.sample_data import SampleData
from qiime2.plugin import SemanticType, ValidationError
from qiime2.plugin import model as qiime2_model

from q2_aam.types.sample_lines import SampleLinesFormat

AAMKnownReads = SemanticType("AAMKnownReads", variant_of=SampleData.field["type"])

HEADER = ["sample-id", "known_reads"]


class AAMKnownReadsFormat(SampleLinesFormat):
    """Tab-separated: sample ids, then the share of their reads that is known, from 0 to 1."""

    nothing = "there is no sample"

    def check_header(self, header):
        """See the base class."""
        if header != HEADER:
            raise ValidationError(f"The first line must be {HEADER}; found {header[:5]}.")

    def check_line(self, cells, number, width):
        """See the base class."""
        if len(cells) != width or not _is_share(cells[1]):
            raise ValidationError(
                f"Line {number} is {cells[:5]}, where an id and a number from 0 to 1 are expected."
            )


def _is_share(cell: str) -> bool:
    try:
        return 0 <= float(cell) <= 1
    except ValueError:
        return False


AAMKnownReadsDirectoryFormat = qiime2_model.SingleFileDirectoryFormat(
    "AAMKnownReadsDirectoryFormat", "known-reads.tsv", AAMKnownReadsFormat
)


def write_known_reads(data: pd.Series) -> AAMKnownReadsFormat:
    """Write shares in full precision."""
    file = AAMKnownReadsFormat()
    with file.open() as handle:
        data.to_frame(HEADER[1]).to_csv(handle, sep="\t", index_label=HEADER[0])
    return file


def read_known_reads(file: AAMKnownReadsFormat) -> pd.Series:
    """Read shares; ids stay text even where they look like numbers."""
    with file.open() as handle:
        data = pd.read_csv(handle, sep="\t", dtype=str, keep_default_na=False)
    return data.set_index(HEADER[0])[HEADER[1]].astype(float)


def known_reads_as_metadata(file: AAMKnownReadsFormat) -> qiime2.Metadata:
    """Show shares wherever QIIME 2 takes metadata."""
    return qiime2.Metadata(read_known_reads(file).to_frame())
