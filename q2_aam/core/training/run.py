"""One run: what it is made from becomes a model that can be kept."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from q2_aam.core.data import progress
from q2_aam.core.data.mini_batches import BatchDataset
from q2_aam.core.data.sample_table import SampleTable
from q2_aam.core.model import inference
from q2_aam.core.model.predictor import SequencePredictor, build, save_memory
from q2_aam.core.model.specification import CLASSIFIER, ENCODER, REGRESSOR
from q2_aam.core.model.stored_samples.similarity import Vocabulary
from q2_aam.core.model.trained_model import TrainedModel, encoder_of
from q2_aam.core.options.config import DataConfig
from q2_aam.core.training.devices import compiled, device_of_run
from q2_aam.core.training.loop.fit import FitResult, fit
from q2_aam.core.training.loop.lightning_module import TrainingModule
from q2_aam.core.training.loop.run_directory import run_directory
from q2_aam.core.training.objective.unifrac_prediction import DiversityComparison
from q2_aam.core.training.objective.validation_metrics import (
    ClassificationMetrics,
    RegressionMetrics,
)
from q2_aam.core.training.preparation.prepared_run import PreparedRun, prepare
from q2_aam.core.training.preparation.run_input import RunInput
from q2_aam.core.training.preparation.sample_roles import check_kept_ids, roles_of
from q2_aam.core.training.ranks.launch import Ranks, fit_in_ranks, ranks_of_run
from q2_aam.core.training.ranks.layout import ONE_HOST, Layout
from q2_aam.core.training.stored_samples import complete

METRICS = {REGRESSOR: RegressionMetrics, CLASSIFIER: ClassificationMetrics}
ACTIONS = {ENCODER: "pretrain", REGRESSOR: "train-regressor", CLASSIFIER: "train-classifier"}
BAR_NAMES = {ENCODER: None, REGRESSOR: "RL", CLASSIFIER: "CL"}
ADAPTED_TO = 128
"""Training samples whose scale the layers of the target take over."""


@dataclass(frozen=True)
class Monitor:
    """How a run can be watched and resumed.

    Parameters
    ----------
    run_dir : path, optional
        Under it, each run has a directory of its own: TensorBoard's files and checkpoints appear
        there live, and the same call with the same arguments resumes from the last checkpoint.
    progress : bool
        Show on the standard error stream how far the run is: bars on a terminal, and a line for
        each epoch.
    layout : Layout
        How many devices train together, and on how many hosts.
    """

    run_dir: str | Path | None = None
    progress: bool = False
    layout: Layout = ONE_HOST

    def __post_init__(self):
        if self.layout.hosts > 1 and self.run_dir is None:
            raise ValueError(
                f"Q2_AAM_HOSTS is {self.layout.hosts}, but Q2_AAM_RUN_DIR is not set; set it to a "
                "directory on storage that all hosts share."
            )


def train(inputs: RunInput, monitor: Monitor) -> TrainedModel:
    """Train the model that the input of a run asks for.

    Raises
    ------
    ValueError
        If the run cannot begin or go on; the message says what to do.
    """
    with progress.shown(monitor.progress):
        return _train(inputs, monitor)


def _train(inputs: RunInput, monitor: Monitor) -> TrainedModel:
    check_kept_ids(inputs)
    run, settings, kind = prepare(inputs), inputs.settings, inputs.kind
    spec, samples = run.spec, roles_of(inputs, run.data)
    with (
        device_of_run(settings.training),
        torch.random.fork_rng(),
        run_directory(monitor.run_dir, ACTIONS[kind], inputs.fingerprint(spec)) as directory,
    ):
        torch.manual_seed(inputs.seed)
        model = build(spec)
        _initialise(model, run)
        save_memory(model, settings.training)
        ranks = ranks_of_run(monitor.layout, settings.training)
        with compiled(model, settings.training):
            fit_here = _fit_in_this_process if ranks.n == 1 else fit_in_ranks
            result = fit_here(
                model, run, ranks, directory, bar_name=BAR_NAMES[kind], progress=monitor.progress
            )
            if spec.target is not None:
                spec = complete(model, settings, spec, run.data)
    weights, events = model.state_dict(), result.event_files
    return TrainedModel(spec, weights, result.history, events, samples=samples)


def _fit_in_this_process(model, run: PreparedRun, ranks: Ranks, directory, **shown) -> FitResult:
    spec, settings = run.spec, run.inputs.settings
    module = TrainingModule(
        model,
        run.objective,
        settings.training,
        run.data,
        comparison=run.phylogenetic and run.phylogenetic.comparison,
        metrics=METRICS[spec.kind](spec.target) if spec.target else None,
        freeze_base=spec.target is not None and settings.fine_tuning.freeze_base,
    )
    return fit(module, settings, directory, **shown)


def _initialise(model, run: PreparedRun) -> None:
    """Set what training begins with, beside random weights."""
    inputs, phylogenetic, table = run.inputs, run.phylogenetic, run.data.training(0).table
    base = model.base_model
    if inputs.encoder is not None:
        base.load_state_dict(encoder_of(inputs.encoder).weights)
    elif isinstance(phylogenetic and phylogenetic.comparison, DiversityComparison):
        base.mean_diversity.fill_(phylogenetic.mean)
    elif phylogenetic is not None:
        few = table.take(range(min(table.n_samples, 32)))
        base.set_typical_distance(inference.embed(model, few, DataConfig()), phylogenetic.mean)
    if run.spec.target is not None:
        _adapt(model, run, table)


def _adapt(model: SequencePredictor, run: PreparedRun, table: SampleTable) -> None:
    """Set the scale of what the target is predicted from, by some training samples."""
    settings = run.inputs.settings
    if run.data.with_vectors is not None:
        model.vocabulary = Vocabulary(run.data.with_vectors)
    rng = np.random.default_rng([settings.training.random_seed, 0xADA7])
    some = table.take(np.sort(rng.permutation(table.n_samples)[:ADAPTED_TO]))
    asvs = inference.encode_asvs(model, some)
    plan = [np.arange(some.n_samples)]
    batch = BatchDataset(some, plan, settings.data)[0]
    with inference.evaluation_mode(model):
        model.adapt(batch, asvs[batch.asvs])
