"""Predictions of several numeric columns: read, scored and put beside the true values."""

import pandas as pd
import qiime2
from q2_sample_classifier import PredictionsDirectoryFormat

from q2_aam.core.evaluation.result_table import COVARIATES, ERROR, FOREST, PREDICTED, TRUE
from q2_aam.types.predictions import read_numbers
from q2_aam.types.scores import score_table

MADE_BY = {FOREST: "random forest", COVARIATES: "covariates alone"}
"""What else predicts the columns, by how the names of its results begin."""


def score_columns(
    predictions: PredictionsDirectoryFormat,
    metadata: qiime2.Metadata,
    columns: list,
    forest_predictions: PredictionsDirectoryFormat = None,
    random_seed: int = 0,
    covariate_predictions: PredictionsDirectoryFormat = None,
) -> (pd.DataFrame, pd.DataFrame):
    """Score predictions of several numeric columns, and put them beside the true values."""
    from q2_aam.core.evaluation.scores import regression_scores

    rows, tables = [], []
    beside = {FOREST: forest_predictions, COVARIATES: covariate_predictions}
    for name, table in beside_true(predictions, metadata, columns, beside).items():
        scores = {}
        for prefix in ("", *MADE_BY):
            if f"{prefix}{PREDICTED}" in table:
                predicted = table[f"{prefix}{PREDICTED}"]
                found = regression_scores(table[TRUE], predicted, random_seed)
                scores |= {f"{prefix}{score}": value for score, value in found.items()}
        rows.append((name, len(table), scores))
        tables.append(table.add_prefix(f"{name}_"))
    width = len(str(len(rows)))
    ids = [f"column{i + 1:0{width}d}" for i in range(len(rows))]
    return score_table(rows, ids), pd.concat(tables, axis=1).rename_axis("sample-id")


def clashes(columns, prefixes) -> dict[str, str]:
    """Say which columns have results of the name that those of a baseline of another column have.

    Parameters
    ----------
    columns : list of str
    prefixes : iterable of str
        How the names begin of what baselines predict; keys of `MADE_BY`.

    Returns
    -------
    dict of str to str
        By the name of such a column, what is wrong with it.
    """
    own = {f"{name}_{PREDICTED}": name for name in columns}
    others = {
        (f"{name}_{prefix}{PREDICTED}"): (name, prefix) for prefix in prefixes for name in columns
    }
    said = "its predictions are named '{}', as are those of the {} for column '{}'; rename it"
    return {
        own[result]: said.format(result, MADE_BY[prefix], other)
        for result, (other, prefix) in others.items()
        if result in own
    }


def beside_true(predictions, metadata: qiime2.Metadata, columns, beside: dict) -> dict:
    """Return the true and the predicted values of each column.

    Parameters
    ----------
    predictions : list of PredictionsDirectoryFormat
        In the order of the columns.
    metadata : qiime2.Metadata
    columns : list of str
        Numeric columns.
    beside : dict of str to list of PredictionsDirectoryFormat
        Those of baselines, by the keys of `MADE_BY`; None for one that there is not.

    Returns
    -------
    dict of str to DataFrame
        By the name of the column. By sample id, for those that have a true value: 'true_value',
        'prediction', 'error' (prediction minus true value), and of the baselines that there are
        'forest_prediction' and 'covariates_prediction'.

    Raises
    ------
    ValueError
        If there are not as many predictions as columns, a column is unknown or not numeric, no
        predicted sample has a value, or two results would have the same name.
    """
    beside = {prefix: made for prefix, made in beside.items() if made is not None}
    for name, problem in clashes(columns, beside).items():
        raise ValueError(f"Column '{name}': {problem}.")
    made = {"": predictions, **beside}
    for prefix, each in made.items():
        if len(each) != len(columns):
            raise ValueError(
                f"There are {len(each)} {prefix}predictions and {len(columns)} columns; give the "
                "predictions of each column, in the order of the columns."
            )
    # QIIME 2 gives lists of what the annotations say.
    return {
        name: _beside(name, metadata, {prefix: each[i] for prefix, each in made.items()})
        for i, name in enumerate(columns)
    }


def _beside(name: str, metadata: qiime2.Metadata, made: dict) -> pd.DataFrame:
    from q2_aam.core.data.metadata import check_numbers
    from q2_aam.core.evaluation.differences import check_same_samples

    if name not in metadata.columns or metadata.columns[name].type != "numeric":
        raise ValueError(
            f"The metadata has no numeric column '{name}'; give the columns that were predicted."
        )
    found = {prefix: read_numbers(each) for prefix, each in made.items()}
    known = metadata.get_column(name).to_series().dropna()
    ids = found[""].index[found[""].index.isin(known.index)]
    if ids.empty:
        raise ValueError(
            f"None of the {len(found[''])} samples that are predicted for column '{name}' has a "
            "value in it; give the predictions in the order of the columns."
        )
    true = check_numbers(known[ids])
    table = {TRUE: true, PREDICTED: found[""][ids], ERROR: found[""][ids] - true}
    for prefix, other in found.items():
        if prefix:
            check_same_samples(f"{MADE_BY[prefix]} for column '{name}'", ids, other.index)
            table[f"{prefix}{PREDICTED}"] = other[ids]
    return pd.DataFrame(table)
