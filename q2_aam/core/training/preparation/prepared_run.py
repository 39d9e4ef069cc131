"""From the input of a run to what the training loop takes."""

import logging
from dataclasses import dataclass

import numpy as np

from q2_aam.core.data import messages
from q2_aam.core.data.metadata import warn_if_few
from q2_aam.core.data.sample_table import most_prevalent
from q2_aam.core.data.target import CategoricalTarget, NumericTarget
from q2_aam.core.model.covariates import Covariates
from q2_aam.core.model.specification import CLASSIFIER, ENCODER, ModelSpec
from q2_aam.core.training.objective.losses import (
    Objective,
    fine_tuning_objective,
    pretraining_objective,
)
from q2_aam.core.training.preparation.phylogenetic_targets import (
    PhylogeneticTargets,
    prepare_phylogeny,
)
from q2_aam.core.training.preparation.run_data import Pass, RunData, TrainingPasses
from q2_aam.core.training.preparation.run_input import RunInput
from q2_aam.core.training.preparation.samples import Samples, prepare_samples

log = logging.getLogger(__name__)

Target = NumericTarget | CategoricalTarget

MOST_VECTORS = 5000
"""ASVs with a vector of their own in the networks, at most: the most prevalent ones."""


@dataclass(frozen=True, eq=False)
class PreparedRun:
    """All that is known of a run before its model is made.

    Parameters
    ----------
    inputs : RunInput
    spec : ModelSpec
        What the run makes.
    objective : Objective
        What it learns.
    data : RunData
        What it learns from.
    phylogenetic : PhylogeneticTargets, optional
    """

    inputs: RunInput
    spec: ModelSpec
    objective: Objective
    data: RunData
    phylogenetic: PhylogeneticTargets | None


def prepare(inputs: RunInput) -> PreparedRun:
    """Rarefy, hold validation samples out, choose the scale of the target, read the phylogeny.

    Raises
    ------
    ValueError
        If there is too little to learn from, or the phylogeny does not fit; the message says what
        to do.
    """
    samples = prepare_samples(inputs)
    values = None if inputs.values is None else inputs.values[list(samples.fixed.sample_ids)]
    used = samples.sample_ids
    warn_if_few(len(used), inputs.values[used] if inputs.kind == CLASSIFIER else None)
    target = target_of(inputs, values)
    phylogenetic = None
    if _learns_phylogeny(inputs):
        phylogenetic = prepare_phylogeny(inputs, samples)
    if target is None:
        objective = pretraining_objective(inputs.settings, phylogenetic.variance)
    else:
        variance = phylogenetic and phylogenetic.variance
        objective = fine_tuning_objective(inputs.settings, target, values, variance)
    covariates = None
    if inputs.covariates is not None:
        covariates = Covariates.fit(inputs.covariates.loc[list(samples.fixed.sample_ids)])
        samples = samples.with_covariates(covariates, inputs.covariates)
    data = prepare_data(inputs, samples, target, phylogenetic, masked=objective.nuc_penalty > 0)
    n_vectors = 0 if data.with_vectors is None else len(data.with_vectors)
    learnt = {"n_vectors": n_vectors, "covariates": covariates}
    spec = ModelSpec.of(inputs.kind, inputs.settings, samples.reads, target, **learnt)
    return PreparedRun(inputs, spec, objective, data, phylogenetic)


def target_of(inputs: RunInput, values) -> Target | None:
    """Choose the scale of what is learnt, or list its classes."""
    if inputs.kind == ENCODER:
        return None
    name, tuning = inputs.values.name, inputs.settings.fine_tuning
    if inputs.kind == CLASSIFIER:
        return CategoricalTarget.fit(name, values)
    limits = tuning.target_minimum, tuning.target_maximum
    return NumericTarget.fit(name, values, tuning.target_transform, *limits)


def _learns_phylogeny(inputs: RunInput) -> bool:
    if inputs.phylogeny is None or inputs.kind == ENCODER:
        return inputs.phylogeny is not None
    if inputs.settings.fine_tuning.freeze_base:
        # A pipeline takes the phylogeny for pre-training, so there all is well.
        level = logging.WARNING if messages.whole() is None else logging.INFO
        said = "freeze_base keeps the encoder as it is, so it learns nothing of the phylogeny."
        log.log(level, said)
        return False
    return inputs.settings.training.penalty > 0


def prepare_data(
    inputs: RunInput,
    samples: Samples,
    target: Target | None = None,
    phylogenetic: PhylogeneticTargets | None = None,
    *,
    masked: bool,
) -> RunData:
    """Put together what the training loop takes.

    Parameters
    ----------
    inputs : RunInput
    samples : Samples
    target : NumericTarget or CategoricalTarget, optional
    phylogenetic : PhylogeneticTargets, optional
    masked : bool
        Whether there is a nucleotide loss.
    """
    data, fixed, held = inputs.settings.data, samples.fixed, samples.held
    weights, others = None, None
    if target is not None:
        weights, others = inputs.weighting.of(fixed.sample_ids, held and held.sample_ids)
    first = _pass(inputs, target, fixed, weights, phylogenetic and phylogenetic.training)
    references = phylogenetic and phylogenetic.references
    training = TrainingPasses(first, samples.raw, data, inputs.seed, references)
    validation = None
    if held is not None:
        unifrac = phylogenetic and phylogenetic.validation
        validation = _pass(inputs, target, held, others, unifrac)
    vectors = None
    if target is not None and inputs.settings.fine_tuning.stored_samples > 0:
        vectors = most_prevalent(fixed.tokens, fixed.counts, MOST_VECTORS)
    return RunData(training, validation, data, references, masked, vectors)


def _pass(inputs: RunInput, target: Target | None, table, weights, unifrac) -> Pass:
    groups = inputs.group_numbers(table.sample_ids)
    return Pass(table, _learnt(inputs, target, table), unifrac, groups, weights)


def _learnt(inputs: RunInput, target: Target | None, table) -> np.ndarray | None:
    """Return the learnt value (float32) or the class index (int64) of each sample."""
    if target is None:
        return None
    learnt = target.to_learnt(inputs.values[list(table.sample_ids)])
    return learnt.astype(np.float32) if learnt.dtype.kind == "f" else learnt
