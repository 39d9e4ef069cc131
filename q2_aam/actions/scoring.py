"""Predictions of several models put together, and their scores."""

import pandas as pd
import qiime2
from q2_sample_classifier import PredictionsDirectoryFormat, ProbabilitiesDirectoryFormat

from q2_aam.actions.views import classes_and_chances, classes_of, groups_of
from q2_aam.core.data.target import PREDICTION
from q2_aam.core.evaluation.result_table import FOREST
from q2_aam.types.predictions import (
    read_numbers,
    read_predictions,
    read_probabilities,
    write_predictions,
)
from q2_aam.types.scores import score_table

ALL = "all samples"


def merge_predictions(predictions: PredictionsDirectoryFormat) -> PredictionsDirectoryFormat:
    """Put the predictions of several models together."""
    # QIIME 2 gives a list of what the annotation says.
    tables = [read_predictions(each) for each in predictions]
    merged = pd.concat(tables).rename(PREDICTION).rename_axis(tables[0].index.name)
    _check_once(merged.index)
    return write_predictions(merged)


def merge_probabilities(probabilities: ProbabilitiesDirectoryFormat) -> pd.DataFrame:
    """Put the probabilities of several models together."""
    tables = [read_probabilities(each) for each in probabilities]
    classes = sorted({name for table in tables for name in table.columns})
    merged = pd.concat(tables).reindex(columns=classes).fillna(0.0)
    _check_once(merged.index)
    return merged


def _check_once(sample_ids: pd.Index) -> None:
    if not sample_ids.is_unique:
        twice = sample_ids[sample_ids.duplicated()]
        raise ValueError(
            f"{len(set(twice))} samples, such as '{twice[0]}', are predicted more than once; "
            "merge predictions of different samples."
        )


def score_regression(
    predictions: PredictionsDirectoryFormat,
    metadata: qiime2.MetadataColumn,
    groups: qiime2.MetadataColumn = None,
    missing_samples: str = "error",
    random_seed: int = 0,
    forest_predictions: PredictionsDirectoryFormat = None,
) -> pd.DataFrame:
    """Score predictions of a numeric column."""
    from q2_aam.core.data.metadata import check_numbers, with_values
    from q2_aam.core.evaluation.differences import check_same_samples
    from q2_aam.core.evaluation.scores import regression_scores

    predicted = read_numbers(predictions)
    ids = list(predicted.index)
    true = check_numbers(with_values(ids, metadata.to_series(), missing_samples, numeric=True))

    by_maker = {"": predicted}
    if forest_predictions is not None:
        forest = read_numbers(forest_predictions)
        check_same_samples("random forest", true.index, forest.index)
        by_maker[FOREST] = forest

    def scores_of(ids):
        return {
            f"{prefix}{name}": score
            for prefix, made in by_maker.items()
            for name, score in regression_scores(true[ids], made[ids], random_seed).items()
        }

    return _table(true.index, _groups_of(true.index, groups), scores_of)


def score_classification(
    predictions: PredictionsDirectoryFormat,
    probabilities: ProbabilitiesDirectoryFormat,
    metadata: qiime2.MetadataColumn,
    groups: qiime2.MetadataColumn = None,
    missing_samples: str = "error",
    random_seed: int = 0,
    forest_predictions: PredictionsDirectoryFormat = None,
    forest_probabilities: ProbabilitiesDirectoryFormat = None,
) -> pd.DataFrame:
    """Score predictions of a categorical column."""
    from q2_aam.core.data.metadata import with_values
    from q2_aam.core.evaluation.classes import check_classes
    from q2_aam.core.evaluation.differences import check_same_samples
    from q2_aam.core.evaluation.scores import classification_scores

    predicted, chances = read_predictions(predictions), read_probabilities(probabilities)
    true = with_values(list(predicted.index), classes_of(metadata), missing_samples).astype(str)
    absent = true.index.difference(chances.index)
    if len(absent):
        raise ValueError(
            f"{len(absent)} of the {len(true)} predicted samples, such as '{absent[0]}', have no "
            "probabilities; give both outputs of one predict-classification."
        )
    check_classes(true, chances.columns)
    by_maker = {"": (predicted, chances)}
    forest = classes_and_chances("forest", forest_predictions, forest_probabilities)
    if forest is not None:
        for made in forest:
            check_same_samples("random forest", true.index, made.index)
        by_maker[FOREST] = forest

    def scores_of(ids):
        scores = {}
        for prefix, (made, sure) in by_maker.items():
            report = classification_scores(
                true[ids].tolist(), made[ids].tolist(), sure.loc[ids], random_seed
            )
            scores |= {f"{prefix}{name}": score for name, score in report.overall.items()}
        return scores

    return _table(true.index, _groups_of(true.index, groups), scores_of)


def _groups_of(sample_ids: pd.Index, groups) -> dict[str, pd.Index]:
    if groups is None:
        return {}
    from q2_aam.core.data.metadata import with_values

    names = with_values(list(sample_ids), groups_of(groups), "ignore")
    return {name: members.index for name, members in names.groupby(names)}


def _table(everyone: pd.Index, groups: dict[str, pd.Index], scores_of) -> pd.DataFrame:
    rows = [(name, len(ids), scores_of(ids)) for name, ids in [*groups.items(), (ALL, everyone)]]
    width = len(str(len(groups)))
    return score_table(rows, [*(f"group{i + 1:0{width}d}" for i in range(len(groups))), "all"])
