"""The visualizers: QIIME 2 views in, a page out that needs no network."""

import pandas as pd
import qiime2
from q2_sample_classifier import PredictionsDirectoryFormat, ProbabilitiesDirectoryFormat

from q2_aam.actions.columns import beside_true
from q2_aam.actions.views import classes_and_chances, classes_of, groups_of
from q2_aam.core.evaluation.result_table import COVARIATES, FOREST
from q2_aam.types.models import AAMModelDirectoryFormat
from q2_aam.types.predictions import read_numbers, read_predictions, read_probabilities


def summarize_training(output_dir: str, models: AAMModelDirectoryFormat) -> None:
    """Show how models were trained."""
    from q2_aam.pages import frame, training

    # QIIME 2 gives a list of what the annotation says.
    frame.write(training.page(training.read([str(model) for model in models])), output_dir)


def evaluate_regression(
    output_dir: str,
    predictions: PredictionsDirectoryFormat,
    metadata: qiime2.MetadataColumn,
    groups: qiime2.MetadataColumn = None,
    missing_samples: str = "error",
    random_seed: int = 0,
    intervals: pd.DataFrame = None,
    forest_predictions: PredictionsDirectoryFormat = None,
    covariate_predictions: PredictionsDirectoryFormat = None,
) -> None:
    """Compare predicted with true values of a numeric column."""
    from q2_aam.pages import baselines, frame, regression

    beside = {
        baselines.FOREST: forest_predictions,
        baselines.COVARIATES: covariate_predictions,
    }
    page = regression.page(
        read_numbers(predictions),
        metadata.to_series(),
        groups_of(groups),
        missing_samples,
        random_seed,
        intervals,
        {name: read_numbers(said) for name, said in beside.items() if said is not None},
    )
    frame.write(page, output_dir)


def evaluate_columns(
    output_dir: str,
    predictions: PredictionsDirectoryFormat,
    metadata: qiime2.Metadata,
    columns: list,
    forest_predictions: PredictionsDirectoryFormat = None,
    random_seed: int = 0,
    covariate_predictions: PredictionsDirectoryFormat = None,
) -> None:
    """Compare predicted with true values of several numeric columns."""
    from q2_aam.pages import columns as of_columns
    from q2_aam.pages import frame

    beside = {FOREST: forest_predictions, COVARIATES: covariate_predictions}
    tables = beside_true(predictions, metadata, columns, beside)
    frame.write(of_columns.page(tables, random_seed), output_dir)


def evaluate_classification(
    output_dir: str,
    predictions: PredictionsDirectoryFormat,
    probabilities: ProbabilitiesDirectoryFormat,
    metadata: qiime2.MetadataColumn,
    missing_samples: str = "error",
    random_seed: int = 0,
    forest_predictions: PredictionsDirectoryFormat = None,
    forest_probabilities: ProbabilitiesDirectoryFormat = None,
    covariate_predictions: PredictionsDirectoryFormat = None,
    covariate_probabilities: ProbabilitiesDirectoryFormat = None,
) -> None:
    """Compare predicted with true classes."""
    from q2_aam.pages import baselines, classification, frame

    forest = classes_and_chances("forest", forest_predictions, forest_probabilities)
    alone = classes_and_chances("covariate", covariate_predictions, covariate_probabilities)
    beside = {baselines.FOREST: forest, baselines.COVARIATES: alone}
    page = classification.page(
        read_predictions(predictions),
        read_probabilities(probabilities),
        classes_of(metadata),
        missing_samples,
        random_seed,
        {name: said for name, said in beside.items() if said is not None},
    )
    frame.write(page, output_dir)
