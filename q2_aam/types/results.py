"""Tables of results: a file of metadata, with true and predicted values of samples."""

import pandas as pd
import qiime2
from q2_types.sample_data import SampleData
from qiime2.metadata import MetadataFileError
from qiime2.plugin import SemanticType, TextFileFormat, ValidationError
from qiime2.plugin import model as qiime2_model

AAMResults = SemanticType("AAMResults", variant_of=SampleData.field["type"])


class AAMResultsFormat(TextFileFormat):
    """Metadata of QIIME 2: a line for each sample, and the types of the columns."""

    def _validate_(self, level):
        try:
            qiime2.Metadata.load(str(self))
        except MetadataFileError as error:
            raise ValidationError(f"The results in {self} are no metadata: {error}") from error


AAMResultsDirectoryFormat = qiime2_model.SingleFileDirectoryFormat(
    "AAMResultsDirectoryFormat", "results.tsv", AAMResultsFormat
)


def write_results(table: pd.DataFrame) -> AAMResultsFormat:
    """Write a table of numbers or text by sample id."""
    written = AAMResultsFormat()
    qiime2.Metadata(table).save(str(written))
    return written


def read_results(results: AAMResultsFormat) -> pd.DataFrame:
    """Read the table."""
    return qiime2.Metadata.load(str(results)).to_dataframe()


def results_as_metadata(results: AAMResultsFormat) -> qiime2.Metadata:
    """Show the table wherever QIIME 2 takes metadata."""
    return qiime2.Metadata.load(str(results))
