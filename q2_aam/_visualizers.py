"""The visualizers: QIIME 2 views in, a page out that needs no network."""

import pandas as pd
import qiime2

from q2_aam._formats import AAMModelDirectoryFormat


def summarize_training(output_dir: str, models: AAMModelDirectoryFormat) -> None:
    """Show how models were trained."""
    raise NotImplementedError


def evaluate_regression(
    output_dir: str,
    predictions: pd.Series,
    metadata: qiime2.NumericMetadataColumn,
    groups: qiime2.CategoricalMetadataColumn = None,
    missing_samples: str = "error",
    random_seed: int = 0,
) -> None:
    """Compare predicted with true values of a numeric column."""
    raise NotImplementedError


def evaluate_classification(
    output_dir: str,
    predictions: pd.Series,
    probabilities: pd.DataFrame,
    metadata: qiime2.CategoricalMetadataColumn,
    missing_samples: str = "error",
    random_seed: int = 0,
) -> None:
    """Compare predicted with true classes."""
    raise NotImplementedError
