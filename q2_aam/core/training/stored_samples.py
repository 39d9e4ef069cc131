"""After the training loop: which samples a model stores, and how much they count in a prediction.

Shapes: N samples, C outputs, Q quantiles.
"""

import logging
from dataclasses import replace

import numpy as np
import torch

from q2_aam.core.model import inference
from q2_aam.core.model.predictor import Others, SequencePredictor
from q2_aam.core.model.specification import CLASSIFIER, PARTS, ModelSpec, Part
from q2_aam.core.model.stored_samples.comparison import (
    LabelledSamples,
    StoredSamples,
    fit_stored_samples,
)
from q2_aam.core.model.stored_samples.covariates_alone import Known, predict_from_covariates
from q2_aam.core.model.stored_samples.ensemble_weights import ensemble_weights, mix
from q2_aam.core.options.config import DataConfig, Settings
from q2_aam.core.training import conformal
from q2_aam.core.training.objective.losses import class_factors
from q2_aam.core.training.preparation.run_data import Pass, RunData

log = logging.getLogger(__name__)

FITTING = "Fitting kernel ridge regression and trees to %d samples."

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
    quantiles = prediction = stored = None
    model.others = None  # those of the last validation: of other weights, on another device
    if spec.quantiles and validation is not None:
        quantiles = inference.predict_quantiles(model, validation.table, settings.data).double()
        prediction = quantiles[:, model.median, None].numpy()
    if spec.covariates is not None and validation is not None:
        score = _score_of_covariates(settings, spec, run.training(0), validation)
        spec = replace(spec, covariates=replace(spec.covariates, score=score))
    if most > 0:
        whole, factors = run.training(0), None
        if spec.kind == CLASSIFIER:  # of all training samples: those stored may lack a class
            factors = class_factors(settings.fine_tuning, whole.targets, spec.target.classes)
        training = _at_most(whole, most, seed)
        stored, prediction = _stored_samples(
            model, settings, factors, training, validation, run.with_vectors
        )
        model.stored = stored
        spec = replace(spec, stored=stored.info)
    if spec.quantiles:
        if quantiles is not None:
            quantiles = quantiles.numpy() + (prediction - quantiles[:, model.median, None].numpy())
        _calibrate(model, spec.quantiles, quantiles, validation)
    return spec


def _score_of_covariates(settings, spec: ModelSpec, training: Pass, held: Pass) -> float | None:
    """Score what the covariates alone say of the validation samples."""
    factors = None
    if spec.kind == CLASSIFIER:
        factors = class_factors(settings.fine_tuning, training.targets, spec.target.classes)
    known = Known(training.table.covariates, training.targets, training.groups, training.weights)
    said = predict_from_covariates(known, held.table.covariates, factors)
    score = _score(said, held.targets, factors)
    log.info(
        "The covariates alone have %s %s on the validation samples.",
        "R squared" if factors is None else "an accuracy of",
        "that is not defined" if score is None else f"{score:.3f}",
    )
    return score


def _calibrate(model: SequencePredictor, levels, quantiles, validation: Pass | None) -> None:
    """Make quantiles hold for samples that were not trained on.

    Parameters
    ----------
    levels : tuple of float
    quantiles : ndarray of shape (N, Q), optional
        What is predicted of the validation samples, not calibrated.
    """
    if quantiles is None:
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
    by = conformal.corrections(quantiles, true.astype(float), levels)
    model.calibration.copy_(torch.from_numpy(by))


def _stored_samples(
    model: SequencePredictor,
    settings: Settings,
    factors: np.ndarray | None,
    training: Pass,
    validation: Pass | None,
    with_vectors: np.ndarray,
) -> tuple[StoredSamples, np.ndarray | None]:
    """Store samples to compare others with, and find out how much each part is worth.

    Its worth is measured on the validation samples, before these are stored themselves.

    Returns
    -------
    StoredSamples
    ndarray of shape (N, C), optional
        What the parts together predict of the validation samples.
    """
    training = _labelled(model, training, settings.data)
    seed, most = settings.training.random_seed, settings.fine_tuning.stored_samples
    options = {"first": with_vectors, "seed": seed}
    if validation is None:
        log.info(FITTING, training.table.n_samples)
        return fit_stored_samples(training, factors, **options), None
    held = _labelled(model, validation, settings.data)
    places, others = (_side_by_side(model, part.places) for part in (held, training))
    with inference.evaluation_mode(model):
        known_there = Others(others, torch.from_numpy(training.target))
        by_network = model.answer_at(places, known_there).double().numpy()
    log.info(FITTING, training.table.n_samples)
    by_ridge, by_trees, known = fit_stored_samples(
        training, factors, trees_of_each=TRIAL_TREES, **options
    ).predict_separately(held)
    opinions = by_network, by_ridge, by_trees
    weights = ensemble_weights(opinions, known, held.target, factors, held.weights)
    together = mix(*opinions, known, weights)
    parts = {
        name: Part(weight, _score(said, held.target, factors))
        for name, said, weight in zip(PARTS, opinions, weights, strict=True)
    }
    score = _score(together, held.target, factors)
    _say(parts, score, factors)
    stored = training.and_also(held)
    stored = stored.take(_rows(stored.table.n_samples, most, seed))
    log.info(FITTING, stored.table.n_samples)
    return fit_stored_samples(stored, factors, parts=parts, score=score, **options), together


def _side_by_side(model: SequencePredictor, places: np.ndarray) -> torch.Tensor:
    """Divide places (N, M · Z) by network, (M, N, Z)."""
    by_network = torch.from_numpy(places).unflatten(1, (model.comparison.members, -1))
    return by_network.transpose(0, 1)


def _score(said: np.ndarray, true: np.ndarray, factors) -> float | None:
    """Return R squared, or the accuracy of classes; None where all values are the same."""
    if factors is not None:
        return float((said.argmax(axis=1) == true).mean())
    spread = np.square(true - true.mean()).sum()
    return float(1 - np.square(said[:, 0] - true).sum() / spread) if spread > 0 else None


def _say(parts: dict[str, Part], score: float | None, factors) -> None:
    """Say what a prediction is made of, and how good each part is by itself."""
    said = ", ".join(
        f"{100 * part.weight:.0f}% {name}{_in_brackets(part.score)}"
        for name, part in parts.items()
    )
    measure = "R squared" if factors is None else "accuracy"
    log.info(
        "A prediction is a weighted mean: %s; together%s. In brackets: %s on the validation "
        "samples.",
        said, _in_brackets(score), measure,
    )  # fmt: skip


def _in_brackets(score: float | None) -> str:
    return " (not defined)" if score is None else f" ({score:.3f})"


def _labelled(model, part: Pass, data: DataConfig) -> LabelledSamples:
    embeddings, places = inference.place(model, part.table, data)
    return LabelledSamples(
        part.table, embeddings.numpy(), part.targets, places.numpy(), part.groups, part.weights
    )


def _at_most(part: Pass, most: int, seed: int) -> Pass:
    """Take at most so many samples at random."""
    return part.take(_rows(part.table.n_samples, most, seed))


def _rows(n: int, most: int, seed: int) -> np.ndarray:
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng([seed, 0x57E0]).permutation(n)[:most])
