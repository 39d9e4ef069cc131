"""One run: a model, its data and what it is to learn become a model that can be kept.

Shapes: N samples, C outputs, Q quantiles.
"""

import logging
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from q2_aam.core.artifact.storage import SavedModel
from q2_aam.core.data.mini_batches import BatchDataset
from q2_aam.core.data.sample_table import SampleTable, stack
from q2_aam.core.model import inference
from q2_aam.core.model.predictor import SequencePredictor, build, save_memory
from q2_aam.core.model.specification import CLASSIFIER, ENCODER, REGRESSOR, ModelSpec
from q2_aam.core.model.stored_samples.comparison import Known, Neighbours, remember
from q2_aam.core.model.stored_samples.ensemble_weights import even_share, mix, trusted_share
from q2_aam.core.options import quantile_levels
from q2_aam.core.options.config import DataConfig, Settings
from q2_aam.core.training.devices import compiled, device_of_run
from q2_aam.core.training.loop.fit import fit
from q2_aam.core.training.loop.lightning_module import Pass, RunData, TrainingModule
from q2_aam.core.training.loop.run_directory import fingerprint, run_directory
from q2_aam.core.training.objective.losses import Objective, class_factors
from q2_aam.core.training.objective.unifrac_prediction import DiversityComparison
from q2_aam.core.training.objective.validation_metrics import (
    ClassificationMetrics,
    RegressionMetrics,
)

log = logging.getLogger(__name__)

METRICS = {REGRESSOR: RegressionMetrics, CLASSIFIER: ClassificationMetrics}
ACTIONS = {ENCODER: "pretrain", REGRESSOR: "train-regressor", CLASSIFIER: "train-classifier"}
BAR_NAMES = {ENCODER: None, REGRESSOR: "RL", CLASSIFIER: "CL"}
ADAPTED_TO = 128
"""Training samples whose scale the layers of the target take over."""

UNTRIED_BLEND = 0.75
"""Share of the comparison with stored samples where no validation samples can tell."""


@dataclass(frozen=True)
class Monitor:
    """How a run can be watched and taken up again.

    Parameters
    ----------
    run_dir : path, optional
        Directory of this run alone: TensorBoard's files and checkpoints appear there live, and
        the same call with the same arguments resumes from the last checkpoint.
    progress : bool
        Show progress bars on the standard error stream.
    """

    run_dir: str | Path | None = None
    progress: bool = False


@dataclass(frozen=True)
class Start:
    """What a run begins with.

    Parameters
    ----------
    encoder : SavedModel, optional
        Whose encoder is continued.
    inputs : list
        What makes this run different from another with the same options; see `identity`.
    """

    encoder: SavedModel | None = None
    inputs: list = field(default_factory=list)


def train_model(
    settings: Settings,
    spec: ModelSpec,
    objective: Objective,
    run: RunData,
    phylogenetic,
    start: Start,
    monitor: Monitor,
) -> SavedModel:
    """Make the model that a specification describes, and train it.

    Parameters
    ----------
    settings, spec, objective, run
        What to make, and what of.
    phylogenetic : Phylogenetic, optional
        The phylogenetic side of the run.
    start : Start
    monitor : Monitor
    """
    digest = fingerprint(asdict(spec), *start.inputs)
    with (
        device_of_run(settings.training),
        torch.random.fork_rng(),
        run_directory(monitor.run_dir, ACTIONS[spec.kind], digest) as directory,
    ):
        torch.manual_seed(settings.training.random_seed)
        model = build(spec)
        _start_from(model, start.encoder, phylogenetic, run.training(0).table)
        if spec.target is not None:
            _adapt(model, run.training(0).table, settings)
        save_memory(model, settings.training)
        module = TrainingModule(
            model,
            objective,
            settings.training,
            run,
            comparison=phylogenetic and phylogenetic.comparison,
            metrics=METRICS[spec.kind](spec.target) if spec.target else None,
            freeze_base=spec.target is not None and settings.fine_tuning.freeze_base,
        )
        name = BAR_NAMES[spec.kind]
        with compiled(model, settings.training):
            result = fit(module, settings, directory, bar_name=name, progress=monitor.progress)
            if spec.target is not None:
                spec = _complete(model, settings, spec, run)
    return SavedModel(spec, model.state_dict(), result.history, result.event_files)


def _adapt(model: SequencePredictor, table: SampleTable, settings: Settings) -> None:
    rng = np.random.default_rng([settings.training.random_seed, 0xADA7])
    some = table.take(np.sort(rng.permutation(table.n_samples)[:ADAPTED_TO]))
    asvs = inference.encode_asvs(model, some)
    plan = [np.arange(some.n_samples)]
    batch = BatchDataset(some, plan, settings.data)[0]
    model.adapt(batch, asvs[batch.asvs])


def _complete(
    model: SequencePredictor, settings: Settings, spec: ModelSpec, run: RunData
) -> ModelSpec:
    """Add to a trained model what is not learnt by gradients; return its new specification."""
    before = None
    if spec.quantiles and run.validation is not None:
        before = inference.predict_quantiles(model, run.validation.table, settings.data)
    moved = 0.0
    if settings.fine_tuning.stored_samples > 0:
        model.neighbours, moved = _neighbours(model, settings, spec, run)
        spec = replace(spec, neighbours=model.neighbours.info)
    if spec.quantiles:
        _calibrate(model, spec.quantiles, before, moved, run)
    return spec


def _calibrate(model: SequencePredictor, levels, before, moved, run: RunData) -> None:
    """Make quantiles hold for samples that were not trained on.

    Parameters
    ----------
    levels : tuple of float
    before : Tensor of shape (N, Q), optional
        What the transformer alone says of the validation samples.
    moved : ndarray of shape (N, 1), or 0
        By how much the comparison with training samples moves its predictions.
    """
    if before is None:
        log.warning(
            "Without validation samples (test_size 0) the quantiles are not calibrated: fewer "
            "values than promised may lie between them."
        )
        return
    true, fewest = run.validation.targets, quantile_levels.fewest_samples(levels)
    if len(true) < fewest:
        log.warning(
            "The quantiles %g and %g take %d validation samples to calibrate, and there are %d: "
            "raise test_size, give more samples, or choose quantiles nearer to 0.5.",
            levels[0],
            levels[-1],
            fewest,
            len(true),
        )
    by = quantile_levels.corrections(before.double().numpy() + moved, true.astype(float), levels)
    model.calibration.copy_(torch.from_numpy(by))


def _neighbours(
    model: SequencePredictor, settings: Settings, spec: ModelSpec, run: RunData
) -> tuple[Neighbours, np.ndarray | float]:
    """Keep samples to compare others with, and find out how much the comparison is worth.

    Its worth is measured on the validation samples before they are kept themselves.

    Returns
    -------
    Neighbours
    ndarray of shape (N, C), or 0
        By how much the comparison with training samples moves predictions of the validation
        samples.
    """
    training = _known(model, run.training(0), settings.data)
    factors = None
    if spec.kind == CLASSIFIER:
        factors = class_factors(settings.fine_tuning, training.target, spec.n_outputs)
    training, seed = _sampled(training, settings), settings.training.random_seed
    if run.validation is None:
        return remember(training, factors, blend=UNTRIED_BLEND, seed=seed), 0.0
    held = _known(model, run.validation, settings.data)
    by_model = inference.predict(model, held.table, settings.data).numpy()
    log.info("Comparing with %d samples, and growing trees on them.", training.table.n_samples)
    alike, by_trees, found = remember(training, factors, seed=seed).opinions(held)
    tree_share = even_share(alike, by_trees, held.target, factors)
    by_neighbours = mix(alike, by_trees, np.full(len(found), tree_share))
    blend = trusted_share(by_model, by_neighbours, found, held.target, factors)
    log.info(
        "Predictions rest on the stored samples with a share of %.2f, of which trees have %.2f.",
        blend,
        tree_share,
    )
    together = Known(
        stack(training.table, held.table),
        np.concatenate([training.embeddings, held.embeddings]),
        np.concatenate([training.target, held.target]),
    )
    moved = mix(by_model, by_neighbours, blend * found) - by_model
    kept = remember(
        _sampled(together, settings), factors, tree_share=tree_share, blend=blend, seed=seed
    )
    return kept, moved


def _known(model, part: Pass, data: DataConfig) -> Known:
    return Known(part.table, inference.embed(model, part.table, data).numpy(), part.targets)


def _sampled(known: Known, settings: Settings) -> Known:
    """Take at most as many samples at random as may be stored."""
    n, most = known.table.n_samples, settings.fine_tuning.stored_samples
    if n > most:
        rng = np.random.default_rng([settings.training.random_seed, 0x57E0])
        known = known.take(np.sort(rng.permutation(n)[:most]))
    return known


def identity(
    table: SampleTable, phylogeny, encoder: SavedModel | None, reference_ids, values=None
) -> list:
    """List what makes this run different from another with the same options."""
    counts = table.counts
    return [
        table.sample_ids,
        table.feature_ids,
        table.tokens,
        counts.data,
        counts.indices.astype(np.int64),
        counts.indptr.astype(np.int64),
        None if phylogeny is None else Path(phylogeny),
        None if reference_ids is None else sorted(reference_ids),
        None if values is None else [[name, str(value)] for name, value in values.items()],
        *([] if encoder is None else [v.numpy() for _, v in sorted(encoder.weights.items())]),
    ]


def _start_from(model, encoder: SavedModel | None, phylogenetic, table) -> None:
    """Take an encoder's weights, or let untrained answers be right on average."""
    base = model.base_model
    if encoder is not None:
        prefix = "" if encoder.spec.kind == ENCODER else "base_model."
        base.load_state_dict(
            {
                name.removeprefix(prefix): value
                for name, value in encoder.weights.items()
                if name.startswith(prefix)
            }
        )
    elif isinstance(phylogenetic and phylogenetic.comparison, DiversityComparison):
        base.mean_diversity.fill_(phylogenetic.mean)
    elif phylogenetic is not None:
        few = table.take(range(min(table.n_samples, 32)))
        base.set_typical_distance(inference.embed(model, few, DataConfig()), phylogenetic.mean)
