"""Tables of results: true values, predictions and roles of samples beside each other."""

import biom
import numpy as np
import pandas as pd
import qiime2
from q2_sample_classifier import PredictionsDirectoryFormat, ProbabilitiesDirectoryFormat

from q2_aam.actions.reports import reporting
from q2_aam.actions.views import classes_of, groups_of
from q2_aam.types.models import AAMModelDirectoryFormat
from q2_aam.types.predictions import read_numbers, read_predictions, read_probabilities


def tabulate_regression(
    predictions: PredictionsDirectoryFormat,
    metadata: qiime2.MetadataColumn,
    forest_predictions: PredictionsDirectoryFormat = None,
    models: AAMModelDirectoryFormat = None,
    table: biom.Table = None,
    groups: qiime2.MetadataColumn = None,
    prefix: str = None,  # noqa: RUF013 - QIIME 2 takes no union here
) -> pd.DataFrame:
    """Put predictions of a numeric column beside the true values."""
    from q2_aam.core.evaluation.result_table import regression_table

    with reporting():
        forest = None if forest_predictions is None else read_numbers(forest_predictions)
        study = _study(metadata.to_series(), models, table, groups, forest)
        return regression_table(read_numbers(predictions), study, _prefix(prefix, metadata))


def tabulate_classification(
    predictions: PredictionsDirectoryFormat,
    metadata: qiime2.MetadataColumn,
    probabilities: ProbabilitiesDirectoryFormat = None,
    forest_predictions: PredictionsDirectoryFormat = None,
    models: AAMModelDirectoryFormat = None,
    table: biom.Table = None,
    groups: qiime2.MetadataColumn = None,
    prefix: str = None,  # noqa: RUF013 - QIIME 2 takes no union here
) -> pd.DataFrame:
    """Put predictions of a categorical column beside the true classes."""
    from q2_aam.core.evaluation.result_table import classification_table

    with reporting():
        chances = None if probabilities is None else read_probabilities(probabilities)
        forest = None if forest_predictions is None else read_predictions(forest_predictions)
        study = _study(classes_of(metadata), models, table, groups, forest)
        predicted = read_predictions(predictions)
        return classification_table(predicted, chances, study, _prefix(prefix, metadata))


def _study(column: pd.Series, models, table, groups, forest):
    from q2_aam.core.artifact.ensemble_directory import member_directories
    from q2_aam.core.artifact.model_directory import read_samples
    from q2_aam.core.evaluation.result_table import Study, roles_together

    # QIIME 2 gives a list of what the annotation says.
    roles = [
        roles_together([read_samples(member) for member in member_directories(str(model))])
        for model in models or ()
    ]
    reads = None if table is None else pd.Series(np.asarray(table.sum("sample")), table.ids())
    return Study(column, roles, reads, groups_of(groups), forest)


def _prefix(prefix: str | None, metadata: qiime2.MetadataColumn) -> str:
    return f"{metadata.name}_" if prefix is None else prefix
