"""What the models of an ensemble say together: the mean of what each says.

An action of a single model becomes one of either by a decorator.
"""

import functools
import logging

import biom
import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from q2_aam.core.data import messages
from q2_aam.core.data.splits.grouped_split import with_groups
from q2_aam.core.data.target import PREDICTION, CategoricalTarget
from q2_aam.core.explain.importance import summarize
from q2_aam.core.explain.questions import class_asked_about
from q2_aam.core.model.trained_model import Ensemble, TrainedModel, target_of

log = logging.getLogger(__name__)


def averaged(combine):
    """Let what a model says of a table be said by an ensemble too.

    Parameters
    ----------
    combine : callable
        Makes one answer of a list of the members' answers.
    """

    def decorate(ask):
        @functools.wraps(ask)
        def ask_either(table, model, **arguments):
            if not isinstance(model, Ensemble):
                return ask(table, model, **arguments)
            return combine(_ask_each(ask, table, model.members, arguments))

        return ask_either

    return decorate


def explained_together(explain):
    """Let the ASVs that drive the predictions of an ensemble be found by those of its members."""

    @functools.wraps(explain)
    def explain_either(table, model, **arguments):
        if not isinstance(model, Ensemble):
            return explain(table, model, **arguments)
        members = _who_know(model, arguments.get("target_class"))
        found = _ask_each(explain, table, members, arguments)
        effects = mean_table([each.sample_effects for each in found])
        groups = arguments.get("groups")
        if groups is not None:
            missing = arguments.get("missing_samples", "error")
            _, groups = with_groups(list(effects.ids()), groups, missing)
        return summarize(effects, groups)

    return explain_either


def mean(answers: list) -> pd.Series | pd.DataFrame:
    """Return the mean of numbers of the same samples, and columns."""
    values = np.mean([each.to_numpy() for each in answers], axis=0)
    if isinstance(answers[0], pd.Series):
        return pd.Series(values, answers[0].index, name=answers[0].name)
    return pd.DataFrame(values, answers[0].index, answers[0].columns)


def mean_classes(
    answers: list[tuple[pd.Series, pd.DataFrame]],
) -> tuple[pd.Series, pd.DataFrame]:
    """Return the most probable classes by the mean of the members' probabilities, and the mean.

    A member says nothing of a class that it has not learnt: of this class, the mean is that of
    the members that have learnt it. Then rows are made to sum to one.
    """
    tables = [probabilities for _, probabilities in answers]
    classes = sorted({name for table in tables for name in table.columns})
    index = tables[0].index
    stacked = np.stack([table.reindex(columns=classes).to_numpy() for table in tables])
    means = np.nanmean(stacked, axis=0)
    if np.isnan(stacked).any():
        means /= means.sum(axis=1, keepdims=True)
    best = [classes[i] for i in means.argmax(axis=1)]
    predictions = pd.Series(best, index, name=PREDICTION)
    return predictions, pd.DataFrame(means, index, classes)


def mean_table(tables: list[biom.Table]) -> biom.Table:
    """Return the mean of tables of the same samples; a feature that one lacks is 0 in it."""
    names = dict.fromkeys(name for table in tables for name in table.ids("observation"))
    row_of = {name: row for row, name in enumerate(names)}
    shape = len(names), tables[0].shape[1]
    total = csr_matrix(shape)
    for table in tables:
        values = table.matrix_data.tocoo()
        rows = np.array([row_of[name] for name in table.ids("observation")], dtype=int)
        total += csr_matrix((values.data, (rows[values.row], values.col)), shape)
    return biom.Table(total / len(tables), list(names), tables[0].ids())


def _ask_each(ask, table, members: tuple[TrainedModel, ...], arguments: dict) -> list:
    answers = []
    with messages.each_kind_once():
        for number, member in enumerate(members, start=1):
            log.info("Model %d of the %d of the ensemble.", number, len(members))
            answers.append(ask(table, member, **arguments))
    return answers


def _who_know(ensemble: Ensemble, target_class: str | None) -> tuple[TrainedModel, ...]:
    """Return the members that can explain a class; all of them explain a number."""
    members, target = ensemble.members, target_of(ensemble)
    if not isinstance(target, CategoricalTarget):
        return members
    if target_class is None:
        raise ValueError(
            "The models of the ensemble may predict different classes for a sample: say which "
            "class is to be explained (target_class, such as "
            f"'{target.classes[0]}'), or give a single model."
        )
    knowing = [m for m in members if target_class in m.spec.target.classes]
    if not knowing:
        class_asked_about(members[0].spec, target_class)  # says which classes there are
    return tuple(knowing)
