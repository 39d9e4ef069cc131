"""Tables of results: true values, predictions and roles of samples beside each other."""

import biom
import numpy as np
import pandas as pd
import qiime2
from q2_sample_classifier import PredictionsDirectoryFormat, ProbabilitiesDirectoryFormat

from q2_aam.actions.reports import reporting
from q2_aam.actions.views import classes_of, groups_of
from q2_aam.types.models import AAMModelDirectoryFormat
from q2_aam.types.predictions import read_predictions, read_probabilities


def tabulate_regression(
    predictions: PredictionsDirectoryFormat,
    metadata: qiime2.MetadataColumn,
    models: AAMModelDirectoryFormat = None,
    table: biom.Table = None,
    groups: qiime2.MetadataColumn = None,
    prefix: str = None,  # noqa: RUF013 - QIIME 2 takes no union here
) -> pd.DataFrame:
    """Put predictions of a numeric column beside the true values."""
    from q2_aam.core.evaluation.result_table import regression_table

    with reporting():
        predicted = pd.to_numeric(read_predictions(predictions), errors="coerce")
        study = _study(metadata.to_series(), models, table, groups)
        return regression_table(predicted, study, _prefix(prefix, metadata))


def tabulate_classification(
    predictions: PredictionsDirectoryFormat,
    metadata: qiime2.MetadataColumn,
    probabilities: ProbabilitiesDirectoryFormat = None,
    models: AAMModelDirectoryFormat = None,
    table: biom.Table = None,
    groups: qiime2.MetadataColumn = None,
    prefix: str = None,  # noqa: RUF013 - QIIME 2 takes no union here
) -> pd.DataFrame:
    """Put predictions of a categorical column beside the true classes."""
    from q2_aam.core.evaluation.result_table import classification_table

    with reporting():
        chances = None if probabilities is None else read_probabilities(probabilities)
        study = _study(classes_of(metadata), models, table, groups)
        predicted = read_predictions(predictions)
        return classification_table(predicted, chances, study, _prefix(prefix, metadata))


def _study(column: pd.Series, models, table, groups):
    from q2_aam.core.artifact import model_directory
    from q2_aam.core.evaluation.result_table import Study

    # QIIME 2 gives a list of what the annotation says.
    roles = [model_directory.read_samples(str(model)) for model in models or ()]
    reads = None if table is None else pd.Series(np.asarray(table.sum("sample")), table.ids())
    return Study(column, roles, reads, groups_of(groups))


def _prefix(prefix: str | None, metadata: qiime2.MetadataColumn) -> str:
    return f"{metadata.name}_" if prefix is None else prefix
