"""The training of the encoder that ships, through the training loop of every other model."""

import logging
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch

from q2_aam.core.data.batch_loader import loader
from q2_aam.core.data.mini_batches import BatchDataset
from q2_aam.core.model import inference
from q2_aam.core.model.predictor import build
from q2_aam.core.model.specification import ENCODER, ModelSpec, Reads
from q2_aam.core.model.trained_model import TrainedModel
from q2_aam.core.options.config import DataConfig, ModelConfig, Settings, TrainConfig
from q2_aam.core.phylogeny.unifrac import UniFracTargets
from q2_aam.core.training.loop.fit import Placement, fit
from q2_aam.core.training.loop.lightning_module import DataModule, TrainingModule
from q2_aam.core.training.loop.run_directory import run_directory
from q2_aam.core.training.objective.losses import pretraining_objective
from q2_aam.core.training.objective.unifrac_prediction import PairComparison
from q2_aam.core.training.preparation.fingerprint import fingerprint
from q2_aam.core.training.preparation.phylogenetic_targets import LazyTargets
from q2_aam.core.training.preparation.run_data import Pass, RunData
from recipes.encoder.corpus import Corpus
from recipes.encoder.draws import Augmentation, CorpusBatches, drawn_once

log = logging.getLogger(__name__)

VALIDATION_BATCHES, VALIDATION_DEPTH = 40, 1000


@dataclass(frozen=True)
class Plan:
    """All options of the recipe.

    Parameters
    ----------
    epochs : int
        Each of `steps` mini-batches of `batch_size` samples.
    max_bp : int
        Nucleotides of a read, from the 515F primer on.
    validation : float
        Share of each study's samples that choose the best epoch.
    """

    epochs: int = 36
    steps: int = 150
    batch_size: int = 24
    max_bp: int = 100
    lr: float = 1e-3
    validation: float = 0.05
    seed: int = 0
    device: str = "auto"
    augmentation: Augmentation = field(default_factory=Augmentation)

    @property
    def settings(self) -> Settings:
        """The same in the terms of every training."""
        training = TrainConfig(
            epochs=self.epochs,
            batch_size=self.batch_size,
            lr=self.lr,
            patience=self.epochs,
            random_seed=self.seed,
            device=self.device,
        )
        data = DataConfig(rarefy_depth=VALIDATION_DEPTH, test_size=self.validation)
        return Settings(ModelConfig(max_bp=self.max_bp), data, training=training)


class CorpusDataModule(DataModule):
    """Draws the mini-batches of each epoch from the corpus."""

    def __init__(self, run, config, *, corpus: Corpus, plan: Plan, validating: list[np.ndarray]):
        super().__init__(run, config)
        self.corpus, self.plan, self.validating = corpus, plan, validating
        self.part = corpus.part(validating=False)

    def batches(self, epoch: int) -> CorpusBatches:
        """Return the training batches of an epoch."""
        return CorpusBatches(
            self.corpus, self.part, self.run.data, seed=(self.plan.seed, epoch),
            n_batches=self.plan.steps, batch_size=self.plan.batch_size,
            augmentation=self.plan.augmentation,
        )  # fmt: skip

    def val_dataloader(self):
        """Return batches of one study each, as those who use the encoder have them."""
        held = self.run.validation
        batches = BatchDataset(
            held.table, self.validating, self.run.data, seed=(self.plan.seed,), masked=True,
            unifrac=held.unifrac,
        )  # fmt: skip
        return loader(batches, 0)


def train(corpus: Corpus, plan: Plan, run_dir: str | Path, progress: bool = True) -> TrainedModel:
    """Train an encoder on a corpus; the same call goes on where an earlier one was stopped.

    Parameters
    ----------
    corpus : Corpus
    plan : Plan
    run_dir : path
        Where checkpoints and TensorBoard's files are.
    progress : bool
        Show how far the run is.

    Raises
    ------
    ValueError
        If the run cannot begin or go on.
    """
    settings, data = plan.settings, plan.settings.data
    held, validating = drawn_once(
        corpus, corpus.part(validating=True), VALIDATION_BATCHES, plan.batch_size,
        VALIDATION_DEPTH, plan.seed,
    )  # fmt: skip
    unifrac = LazyTargets(UniFracTargets(corpus.branches))
    run = RunData(lambda epoch: Pass(corpus.table), Pass(held, unifrac=unifrac), data)
    sizes = {"samples": int((~corpus.validating).sum()), "asvs": len(corpus.table.feature_ids)}
    spec = ModelSpec.of(
        ENCODER, settings, Reads(*sizes.values(), plan.augmentation.shortest, plan.max_bp)
    )
    log.info("Training on %(samples)d samples with %(asvs)d ASVs.", sizes)
    table = corpus.table
    known = fingerprint(
        asdict(plan), table.sample_ids, table.feature_ids, table.counts.data, corpus.validating
    )
    with run_directory(run_dir, "encoder", known) as directory, torch.random.fork_rng():
        torch.manual_seed(plan.seed)
        model = build(spec)
        mean, variance = _moments(corpus, plan)
        few = held.take(validating[0])
        model.set_typical_distance(inference.embed(model, few, data), mean)
        objective = pretraining_objective(settings, variance)
        module = TrainingModule(
            model, objective, settings.training, run, comparison=PairComparison()
        )
        make = partial(CorpusDataModule, corpus=corpus, plan=plan, validating=validating)
        result = fit(
            module, settings, directory, progress=progress, placement=Placement(data=make)
        )
    return TrainedModel(spec, model.state_dict(), result.history, {})


def _moments(corpus: Corpus, plan: Plan) -> tuple[float, float]:
    """Return the mean and variance of the distances in some batches."""
    some = CorpusBatches(
        corpus, corpus.part(validating=False), plan.settings.data, seed=(plan.seed, 0xA0A0),
        n_batches=20, batch_size=plan.batch_size, augmentation=plan.augmentation,
    )  # fmt: skip
    pairs = np.triu_indices(plan.batch_size, 1)
    values = np.concatenate([some[i].unifrac.numpy()[pairs] for i in range(len(some))])
    return float(values.mean()), float(values.var())
