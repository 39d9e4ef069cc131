"""Predictions of several models put together, and their scores."""

import numpy as np
import pandas as pd
import qiime2
from q2_sample_classifier import PredictionsDirectoryFormat, ProbabilitiesDirectoryFormat

from q2_aam.actions.views import classes_and_chances, classes_of, groups_of
from q2_aam.core.data.target import PREDICTION
from q2_aam.types.predictions import read_predictions, read_probabilities, write_predictions
from q2_aam.types.scores import GROUP, N_SAMPLES

ALL = "all samples"
FOREST = "forest_"
"""How the columns begin that have scores of a random forest."""


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
    from q2_aam.core.evaluation.scores import regression_scores

    predicted = pd.to_numeric(read_predictions(predictions), errors="coerce")
    ids = list(predicted.index)
    true = check_numbers(with_values(ids, metadata.to_series(), missing_samples, numeric=True))

    by_maker = {"": predicted}
    if forest_predictions is not None:
        forest = pd.to_numeric(read_predictions(forest_predictions), errors="coerce")
        _check_same("forest", true.index, forest.index)
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
            _check_same("forest", true.index, made.index)
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


def _check_same(name: str, sample_ids: pd.Index, found: pd.Index) -> None:
    """Refuse a baseline that does not predict each sample."""
    missing = sample_ids.difference(found)
    if len(missing):
        raise ValueError(
            f"{len(missing)} of the {len(sample_ids)} predicted samples, such as '{missing[0]}', "
            f"are not in the predictions of the {name}; let both predict the same table."
        )


def _groups_of(sample_ids: pd.Index, groups) -> dict[str, pd.Index]:
    if groups is None:
        return {}
    from q2_aam.core.data.metadata import with_values

    names = with_values(list(sample_ids), groups_of(groups), "ignore")
    return {name: members.index for name, members in names.groupby(names)}


def _table(everyone: pd.Index, groups: dict[str, pd.Index], scores_of) -> pd.DataFrame:
    rows = []
    for name, ids in [*groups.items(), (ALL, everyone)]:
        scores = scores_of(ids)
        row = {GROUP: name, N_SAMPLES: len(ids)}
        row |= {score: found.value for score, found in scores.items()}
        for score, found in scores.items():
            row |= {f"{score}_low": found.low, f"{score}_high": found.high}
        rows.append(row)
    # Names of groups need not be ids that metadata can have.
    width = len(str(len(groups)))
    ids = [*(f"group{i + 1:0{width}d}" for i in range(len(groups))), "all"]
    table = pd.DataFrame(rows, index=pd.Index(ids, name="id"))
    return table.replace([np.inf, -np.inf], np.nan)
