"""What is known of each sample of a study after a run, in one table: true value, prediction, role.

Shapes: N samples, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from q2_aam.core.data.metadata import check_numbers
from q2_aam.core.data.missing_words import are_missing
from q2_aam.core.data.splits.roles import (
    LEFT_OUT,
    NO_METADATA,
    NO_READS,
    NO_VALUE,
    REASON,
    ROLE,
    ROLES,
    TRAINING,
    VALIDATION,
)

TRUE, PREDICTED, ERROR, CORRECT = "true_value", "prediction", "error", "correct"
FOREST, COVARIATES = "forest_", "covariates_"
"""How names begin of what a random forest, or covariates alone, predict, and of their scores."""
PROBABILITY, GROUP, TEST = "probability", "group", "test"
NOT_USED = "not used"


@dataclass(frozen=True, eq=False)
class Study:
    """The samples that a run was about, beside those that were predicted.

    Parameters
    ----------
    column : pandas.Series
        The metadata column to predict, by sample id.
    roles : sequence of pandas.DataFrame, optional
        Of each model of the run, what it used its samples for (`data.splits.roles.roles_table`);
        None for a model that does not say it.
    reads : pandas.Series, optional
        Reads of all samples of the study, by sample id.
    groups : pandas.Series, optional
        A name of each sample, such as that of its fold, by sample id.
    forest : pandas.Series, optional
        What a random forest predicts, by sample id.
    """

    column: pd.Series
    roles: Sequence[pd.DataFrame | None] = ()
    reads: pd.Series | None = None
    groups: pd.Series | None = None
    forest: pd.Series | None = None


def roles_together(members: Sequence[pd.DataFrame | None]) -> pd.DataFrame | None:
    """Say what an ensemble used its samples for: it has seen all that a member has seen.

    Parameters
    ----------
    members : sequence of pandas.DataFrame, optional
        As the roles of a `Study`; a single model is its only member.

    Returns
    -------
    pandas.DataFrame, optional
        None if a member does not say it.
    """
    if any(table is None for table in members):
        return None
    every = pd.concat(members)
    # The strongest role of a sample first, and each sample once.
    every = every.iloc[np.argsort(every[ROLE].map(ROLES.index).to_numpy(), kind="stable")]
    return every[~every.index.duplicated()]


def regression_table(predictions: pd.Series, study: Study, prefix: str) -> pd.DataFrame:
    """Put true and predicted numbers beside each other.

    Parameters
    ----------
    predictions : pandas.Series of float
        By sample id.
    study : Study
    prefix : str
        What the names of the columns begin with.

    Returns
    -------
    pandas.DataFrame
        A row a sample: those predicted first, then those of the models, then all others. Columns
        'true_value', 'prediction', 'error' (prediction minus true value), then what a forest
        predicts, groups, 'role' and 'reason' where these are given. What is not known is missing.

    Raises
    ------
    ValueError
        If a sample is predicted twice, none has a true value, or a true value is not a number.
    """
    ids = _sample_ids(predictions, study)
    values = _known(study.column, numeric=True)
    values = check_numbers(values[values.index.isin(ids)])
    true = _true(values, predictions, study, ids)
    predicted = predictions.replace([np.inf, -np.inf], np.nan).reindex(ids).astype(float)
    columns = {TRUE: true, PREDICTED: predicted, ERROR: predicted - true}
    return _named(columns, study, predictions.index, prefix)


def classification_table(
    predictions: pd.Series, probabilities: pd.DataFrame | None, study: Study, prefix: str
) -> pd.DataFrame:
    """Put true and predicted classes beside each other.

    Parameters
    ----------
    predictions : pandas.Series of str
        By sample id.
    probabilities : DataFrame of shape (N, C), optional
        By sample id and class.
    study, prefix
        See `regression_table`.

    Returns
    -------
    pandas.DataFrame
        As that of `regression_table`. For 'error' it has 'correct' ('yes' or 'no'), and after it,
        with probabilities, the 'probability' of the predicted class.

    Raises
    ------
    ValueError
        If a sample is predicted twice, none has a true value, or a predicted class has no
        probability.
    """
    ids = _sample_ids(predictions, study)
    true = _true(_known(study.column, numeric=False).astype(str), predictions, study, ids)
    predicted = predictions.where(predictions != "", None).reindex(ids)
    correct = pd.Series(np.where(true == predicted, "yes", "no"), ids, dtype=object)
    columns = {TRUE: true, PREDICTED: predicted}
    columns[CORRECT] = correct.where(true.notna() & predicted.notna(), None)
    if probabilities is not None:
        columns[PROBABILITY] = _of_predicted(predictions, probabilities).reindex(ids)
    return _named(columns, study, predictions.index, prefix)


def _of_predicted(predictions: pd.Series, probabilities: pd.DataFrame) -> pd.Series:
    """Return the probability of the class that is predicted, by sample id."""
    rows = probabilities.index.get_indexer(predictions.index)
    columns = probabilities.columns.get_indexer(predictions)
    absent = np.flatnonzero((rows < 0) | (columns < 0))
    if len(absent):
        raise ValueError(
            f"{len(absent)} of the {len(predictions)} predicted samples, such as "
            f"'{predictions.index[absent[0]]}', have no probability of the predicted class; give "
            "both outputs of one predict-classification."
        )
    return pd.Series(probabilities.to_numpy()[rows, columns], predictions.index)


def _sample_ids(predictions: pd.Series, study: Study) -> pd.Index:
    """List all samples, each once."""
    if not predictions.index.is_unique:
        twice = predictions.index[predictions.index.duplicated()][0]
        raise ValueError(
            f"The predictions have sample '{twice}' more than once; give one prediction a sample."
        )
    ids = dict.fromkeys(predictions.index)
    for role in ROLES:
        for table in study.roles:
            if table is not None:
                ids |= dict.fromkeys(table.index[table[ROLE] == role])
    ids |= dict.fromkeys(() if study.reads is None else study.reads.index)
    return pd.Index(list(ids), name="sample-id", dtype=object)


def _known(column: pd.Series, *, numeric: bool) -> pd.Series:
    """Return the values that are there, and no words for missing ones."""
    values = column.dropna()
    return values[~are_missing(values, numeric=numeric)]


def _true(values: pd.Series, predictions: pd.Series, study: Study, ids: pd.Index) -> pd.Series:
    if not predictions.index.isin(values.index).any():
        raise ValueError(
            f"None of the {len(predictions)} predicted samples, such as '{predictions.index[0]}', "
            f"has a value in metadata column '{study.column.name}'; give the column that was "
            "predicted, of these samples."
        )
    return values.reindex(ids)


def _named(columns: dict, study: Study, predicted: pd.Index, prefix: str) -> pd.DataFrame:
    """Add the groups and the roles, and give the columns their names."""
    ids = columns[TRUE].index
    if study.forest is not None:
        columns[f"{FOREST}{PREDICTED}"] = study.forest.reindex(ids)
    if study.groups is not None:
        taken = {*columns, ROLE, REASON}
        name = str(study.groups.name)
        columns[GROUP if name in taken else name] = study.groups.reindex(ids)
    if study.roles:
        columns |= _roles(study, columns[TRUE], predicted)
    return pd.DataFrame({f"{prefix}{name}": values for name, values in columns.items()}, ids)


def _roles(study: Study, true: pd.Series, predicted: pd.Index) -> dict[str, pd.Series]:
    """Say what each sample was used for, of all models together.

    A predicted sample is a test sample if a model has not seen it: that one predicts it in
    cross-validation. Where a model does not say which samples it has seen, nobody knows.
    """
    ids, known = true.index, [table for table in study.roles if table is not None]
    seen_by = pd.Series(0, ids)
    role = pd.Series(None, ids, dtype=object)
    reason = pd.Series(None, ids, dtype=object)
    for table in known:
        out = table.index[table[ROLE] == LEFT_OUT]
        role[out], reason[out] = LEFT_OUT, table.loc[out, REASON]
    for name in (VALIDATION, TRAINING):  # the stronger one last
        for table in known:
            seen = table.index[table[ROLE] == name]
            role[seen], reason[seen] = name, None
            seen_by[seen] += 1
    unseen = predicted[(seen_by[predicted] < len(study.roles)).to_numpy()]
    all_say = len(known) == len(study.roles)
    role[unseen], reason[unseen] = TEST if all_say else None, None
    others = ids[role.isna().to_numpy()].difference(predicted, sort=False)
    if all_say and len(others):
        role[others], reason[others] = LEFT_OUT, _why_not(study, true[others])
    return {ROLE: role, REASON: reason}


def _why_not(study: Study, true: pd.Series) -> list[str]:
    """Say why samples are in no part of a run."""
    reads, sample_ids = study.reads[true.index], true.index
    return np.select(
        [reads == 0, ~sample_ids.isin(study.column.index), true.isna()],
        [NO_READS, NO_METADATA, NO_VALUE],
        NOT_USED,
    ).tolist()
