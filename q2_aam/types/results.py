"""Tables of results: type, format, and what they can be viewed as.

A table is a file of QIIME 2's metadata, with the type of each column, so that classes which look
like numbers stay classes.
"""

import logging

import pandas as pd
import qiime2
from q2_types.sample_data import SampleData
from qiime2.metadata import MetadataFileError
from qiime2.plugin import SemanticType, TextFileFormat, ValidationError
from qiime2.plugin import model as qiime2_model

from q2_aam.types.predictions import is_reserved

log = logging.getLogger(__name__)

AAMResults = SemanticType("AAMResults", variant_of=SampleData.field["type"])


class AAMResultsFormat(TextFileFormat):
    """A file of metadata: a line a sample; a line '#q2:types' has the type of each column."""

    def _validate_(self, level):
        try:
            table = qiime2.Metadata.load(str(self))
        except MetadataFileError as error:
            raise ValidationError(f"The results in {self} are not metadata: {error}") from error
        if not table.column_count:
            raise ValidationError(f"The results in {self} have no column beside the sample ids.")


AAMResultsDirectoryFormat = qiime2_model.SingleFileDirectoryFormat(
    "AAMResultsDirectoryFormat", "results.tsv", AAMResultsFormat
)


def write_results(data: pd.DataFrame) -> AAMResultsFormat:
    """Write a table; its columns of numbers and of text keep their types.

    Samples whose ids metadata cannot have are left out, with a warning.
    """
    file = AAMResultsFormat()
    sound = data.index.map(_can_be_id).to_numpy(dtype=bool)
    if not sound.all():
        log.warning(
            "%d samples are not in the table of results, such as %r: QIIME 2 cannot have such ids "
            "in metadata.",
            (~sound).sum(), data.index[~sound][0][:40],
        )  # fmt: skip
    qiime2.Metadata(data[sound]).save(str(file))
    return file


def _can_be_id(name: str) -> bool:
    """Whether metadata can have a sample of this id, and it comes back from a file as it is."""
    printable = all(ord(c) >= 32 and ord(c) != 127 for c in name)
    return printable and name == name.strip() != "" and name[0] != "#" and not is_reserved(name)


def read_results(file: AAMResultsFormat) -> pd.DataFrame:
    """Read a table."""
    return qiime2.Metadata.load(str(file)).to_dataframe()


def results_as_metadata(file: AAMResultsFormat) -> qiime2.Metadata:
    """Show results wherever QIIME 2 takes metadata."""
    return qiime2.Metadata.load(str(file))
