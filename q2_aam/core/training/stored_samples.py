"""After the training loop: which samples a model stores, and how much they count in a prediction.

Shapes: N samples, C outputs, Q quantiles.
"""

import logging
from dataclasses import replace

import numpy as np
import torch

from q2_aam.core.model import inference
from q2_aam.core.model.predictor import SequencePredictor
from q2_aam.core.model.specification import CLASSIFIER, ModelSpec
from q2_aam.core.model.stored_samples.comparison import (
    LabelledSamples,
    StoredSamples,
    fit_stored_samples,
)
from q2_aam.core.model.stored_samples.ensemble_weights import (
    cautious_ensemble_weight,
    ensemble_weight,
    mix,
)
from q2_aam.core.options.config import DataConfig, Settings
from q2_aam.core.training import conformal
from q2_aam.core.training.objective.losses import class_factors
from q2_aam.core.training.preparation.run_data import Pass, RunData

log = logging.getLogger(__name__)

FITTING = "Fitting kernel ridge regression and trees to %d samples."

UNTRIED_WEIGHT = 0.75
"""Weight of the stored samples in a prediction where no validation samples can tell."""

MOST_VALIDATION = 2000
"""Validation samples that decide on weights and calibrate quantiles, at most."""

TRIAL_TREES = 20
"""Trees of each kind whose predictions of the validation samples decide on the weight of trees.
That many tell nearly as much as all of them, which are grown once, on all samples."""


def complete(
    model: SequencePredictor, settings: Settings, spec: ModelSpec, run: RunData
) -> ModelSpec:
    """Add to a trained model what is not learnt by gradients; return its new specification."""
    seed, most = settings.training.random_seed, settings.fine_tuning.stored_samples
    validation = run.validation and _at_most(run.validation, MOST_VALIDATION, seed)
    before = None
    if spec.quantiles and validation is not None:
        before = inference.predict_quantiles(model, validation.table, settings.data)
    moved = 0.0
    if most > 0:
        whole, factors = run.training(0), None
        if spec.kind == CLASSIFIER:  # of all training samples: those stored may lack a class
            factors = class_factors(settings.fine_tuning, whole.targets, spec.n_outputs)
        training = _at_most(whole, most, seed)
        model.neighbours, moved = _stored_samples(model, settings, factors, training, validation)
        spec = replace(spec, neighbours=model.neighbours.info)
    if spec.quantiles:
        _calibrate(model, spec.quantiles, before, moved, validation)
    return spec


def _calibrate(model: SequencePredictor, levels, before, moved, validation: Pass | None) -> None:
    """Make quantiles hold for samples that were not trained on.

    Parameters
    ----------
    levels : tuple of float
    before : Tensor of shape (N, Q), optional
        What the network alone predicts of the validation samples.
    moved : ndarray of shape (N, 1), or 0
        By how much the stored samples move these predictions.
    """
    if before is None:
        log.warning(
            "Without validation samples (test_size 0) the quantiles are not calibrated: fewer "
            "values than promised may lie between them."
        )
        return
    true, fewest = validation.targets, conformal.fewest_samples(levels)
    if len(true) < fewest:
        log.warning(
            "The quantiles %g and %g take %d validation samples to calibrate, and there are %d: "
            "raise test_size, give more samples, or choose quantiles nearer to 0.5.",
            levels[0],
            levels[-1],
            fewest,
            len(true),
        )
    by = conformal.corrections(before.double().numpy() + moved, true.astype(float), levels)
    model.calibration.copy_(torch.from_numpy(by))


def _stored_samples(
    model: SequencePredictor,
    settings: Settings,
    factors: np.ndarray | None,
    training: Pass,
    validation: Pass | None,
) -> tuple[StoredSamples, np.ndarray | float]:
    """Store samples to compare others with, and find out how much the comparison is worth.

    Its worth is measured on the validation samples, before these are stored themselves.

    Returns
    -------
    StoredSamples
    ndarray of shape (N, C), or 0
        By how much the stored samples move predictions of the validation samples.
    """
    training = _labelled(model, training, settings.data)
    seed, most = settings.training.random_seed, settings.fine_tuning.stored_samples
    if validation is None:
        log.info(FITTING, training.table.n_samples)
        return fit_stored_samples(training, factors, blend=UNTRIED_WEIGHT, seed=seed), 0.0
    held = _labelled(model, validation, settings.data)
    by_network = inference.predict(model, held.table, settings.data).numpy()
    log.info(FITTING, training.table.n_samples)
    by_ridge, by_trees, known = fit_stored_samples(
        training, factors, trees_of_each=TRIAL_TREES, seed=seed
    ).predict_separately(held)
    tree_share = ensemble_weight(by_ridge, by_trees, held.target, factors)
    by_stored = mix(by_ridge, by_trees, np.full(len(known), tree_share))
    blend = cautious_ensemble_weight(by_network, by_stored, known, held.target, factors)
    log.info(
        "A prediction is a weighted mean: %.0f%% network, %.0f%% kernel ridge regression, "
        "%.0f%% trees.",
        100 * (1 - blend), 100 * blend * (1 - tree_share), 100 * blend * tree_share,
    )  # fmt: skip
    together = training.and_also(held)
    moved = mix(by_network, by_stored, blend * known) - by_network
    together = together.take(_rows(together.table.n_samples, most, seed))
    log.info(FITTING, together.table.n_samples)
    kept = fit_stored_samples(together, factors, tree_share=tree_share, blend=blend, seed=seed)
    return kept, moved


def _labelled(model, part: Pass, data: DataConfig) -> LabelledSamples:
    embeddings = inference.embed(model, part.table, data).numpy()
    return LabelledSamples(part.table, embeddings, part.targets, part.groups)


def _at_most(part: Pass, most: int, seed: int) -> Pass:
    """Take at most so many samples at random."""
    rows = _rows(part.table.n_samples, most, seed)
    groups = None if part.groups is None else part.groups[rows]
    return replace(part, table=part.table.take(rows), targets=part.targets[rows], groups=groups)


def _rows(n: int, most: int, seed: int) -> np.ndarray:
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng([seed, 0x57E0]).permutation(n)[:most])
