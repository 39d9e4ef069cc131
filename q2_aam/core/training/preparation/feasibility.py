"""What training on parts of the samples would refuse, found before any part is trained on."""

import logging
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from q2_aam.core.data import messages
from q2_aam.core.data.rarefaction import check_depth, rarefy
from q2_aam.core.data.sample_table import SampleTable
from q2_aam.core.data.target import CategoricalTarget, NumericTarget
from q2_aam.core.model.covariates import Covariates
from q2_aam.core.phylogeny.branches import BranchTable
from q2_aam.core.training.preparation.phylogenetic_targets import drop_missing_features
from q2_aam.core.training.preparation.prepared_run import target_of
from q2_aam.core.training.preparation.run_input import RunInput
from q2_aam.core.training.preparation.samples import prepare_samples


@dataclass(frozen=True)
class Feasibility:
    """Of each part that is held out, by its name: what is learnt without it, or why it cannot be.

    Parameters
    ----------
    targets : dict of str to NumericTarget or CategoricalTarget
    problems : dict of str to str
        Too few samples are left, or one class, or a feature is not in the phylogeny.
    """

    targets: dict[str, NumericTarget | CategoricalTarget] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def check_parts(inputs: RunInput, parts: pd.Series, held_out: Iterable[str]) -> Feasibility:
    """Find out whether a model can be trained on the samples outside of each part.

    Parameters
    ----------
    inputs : RunInput
        With the samples of all parts. The phylogeny is checked if there is one.
    parts : pandas.Series of str
        Name of the part by sample id.
    held_out : iterable of str
        Names of the parts that are held out, one after the other.

    Returns
    -------
    Feasibility
    """
    found = Feasibility()
    with _silence():
        settings, tree = inputs.settings, inputs.phylogeny
        table = drop_missing_features(inputs.table, tree, settings)
        inputs = replace(inputs, table=table)
        depth = settings.data.rarefy_depth
        usable = table.take(np.flatnonzero(table.depths >= max(depth, 1)))
        if tree is not None and _has_all(tree, table.feature_ids):
            tree = None  # so it has those of each part, and need not be read again
        if tree is not None and usable.n_samples:
            usable = rarefy(table, depth, inputs.seed)  # may lose what the tree lacks
        for name in held_out:
            training = set(parts.index[parts != name])
            try:
                found.targets[name] = _check(inputs, usable, training, tree)
            except ValueError as error:
                found.problems[name] = str(error)
    return found


def _check(inputs: RunInput, usable: SampleTable, training: set[str], tree: str | None):
    kept = [name for name in usable.sample_ids if name in training]
    ids = [name for name in inputs.table.sample_ids if name in training]
    if inputs.settings.data.shallow_samples == "error":
        depths = inputs.table.select(ids).depths
        check_depth(ids, depths, inputs.settings.data.rarefy_depth)
    if len(kept) <= 2:
        # Let the sentence count all samples, and not only those that are deep enough.
        prepare_samples(replace(inputs, table=inputs.table.select(ids).observed()))
    # Drawing reads takes time, and says no more of what is enough.
    settings = inputs.settings
    as_they_are = replace(settings, data=replace(settings.data, rarefy_depth=0))
    part = usable.select(kept).observed()
    samples = prepare_samples(replace(inputs, settings=as_they_are, table=part))
    if tree is not None:
        BranchTable.from_newick(tree, samples.fixed.feature_ids)
    learnt = list(samples.fixed.sample_ids)
    if inputs.covariates is not None:
        Covariates.fit(inputs.covariates.loc[learnt])
    return target_of(inputs, inputs.values[learnt])  # noqa: PD011 - no data frame


def _has_all(tree: str, feature_ids) -> bool:
    try:
        BranchTable.from_newick(tree, feature_ids)
    except ValueError:
        return False
    return True


@contextmanager
def _silence():
    """Keep back what training will say again."""
    logger = logging.getLogger(messages.CORE)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
