"""The training loop: what Lightning is told about a model and its data.

Shapes: B samples, R references, F features, D embedding width.
"""

from dataclasses import dataclass

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn

from q2_aam.core.data.batch_loader import loader
from q2_aam.core.data.mini_batches import Batch, BatchDataset, plan_batches
from q2_aam.core.data.sample_table import SampleTable
from q2_aam.core.model.inference import embed, encode_asvs
from q2_aam.core.model.output import Output
from q2_aam.core.options.config import TrainConfig
from q2_aam.core.training.loop.batch_parts import FittingModel
from q2_aam.core.training.loop.optimizer import make_optimizer, make_scheduler
from q2_aam.core.training.memory import FULL, MIXED, memory_for_a_step
from q2_aam.core.training.objective.candidates import TrainingSamples
from q2_aam.core.training.objective.losses import Objective, masked_bases
from q2_aam.core.training.objective.unifrac_prediction import StripeComparison
from q2_aam.core.training.preparation.run_data import RunData
from q2_aam.core.training.processors import loader_processes


class DataModule(L.LightningDataModule):
    """Makes the batches of each epoch, the same for the same seed and epoch."""

    def __init__(self, run: RunData, config: TrainConfig):
        super().__init__()
        self.run, self.config = run, config

    def train_dataloader(self):
        """Return the batches of the current epoch, shuffled."""
        return self._loader(self.batches(self.trainer.current_epoch))

    def val_dataloader(self):
        """Return the batches of the validation samples, every sample in one."""
        held = self.run.validation
        if held is None:
            return []
        plan = plan_batches(held.table.richness, self.config.batch_size)
        return self._loader(
            BatchDataset(
                held.table, plan, self.run.data, seed=(self.config.random_seed,),
                masked=self.run.masked, targets=held.targets, weights=held.weights,
                unifrac=held.unifrac,
            )
        )  # fmt: skip

    def batches(self, epoch: int) -> BatchDataset:
        """Return the training batches of an epoch."""
        part, seed = self.run.training(epoch), (self.config.random_seed, epoch)
        rng = np.random.default_rng([*seed, 0xBA7C4])
        plan = plan_batches(part.table.richness, self.config.batch_size, rng)
        return BatchDataset(
            part.table, plan, self.run.data, seed=seed, masked=self.run.masked,
            targets=part.targets, weights=part.weights, unifrac=part.unifrac,
            references=self.run.references, join=True,
        )  # fmt: skip

    def _loader(self, batches):
        on_gpu = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return loader(batches, loader_processes(self.config.num_workers), pin_memory=on_gpu)


@dataclass
class _Cache:
    """ASV embeddings of a table with the current weights, [F, D]."""

    asvs: Tensor | None = None

    def of(self, batch: Batch) -> Tensor | None:
        return None if self.asvs is None else self.asvs[batch.asvs]


class TrainingModule(L.LightningModule):
    """One model in training.

    Parameters
    ----------
    model : SequenceEncoder or SequencePredictor
    objective : Objective
    config : TrainConfig
    run : RunData
    comparison : nn.Module, optional
        How the phylogenetic loss compares; see `objective.unifrac_prediction`.
    metrics : nn.Module, optional
        Validation metrics of the target.
    freeze_base : bool
        Keep the encoder as it is.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        config: TrainConfig,
        run: RunData,
        *,
        comparison: nn.Module | None = None,
        metrics: nn.Module | None = None,
        freeze_base: bool = False,
    ):
        super().__init__()
        self.model, self.objective, self.config, self.run = model, objective, config, run
        self.comparison, self.metrics, self.freeze_base = comparison, metrics, freeze_base
        self.latest: dict[str, Tensor] = {}
        self.passed_over: list[dict[str, Tensor]] = []
        self._frozen, self._resting = _Cache(), _Cache()
        self._samples: TrainingSamples | None = None
        self._embedded_at: int | None = None
        self._fitting: FittingModel | None = None
        if freeze_base:
            model.base_model.requires_grad_(False)

    def configure_optimizers(self):
        """Return the optimizer and the course of its learning rate."""
        optimizer = make_optimizer(self.model, self.config)
        steps = int(self.trainer.estimated_stepping_batches)
        if (
            self.config.scheduler == "plateau"
        ):  # a callback's task: `q2_aam.core.training.loop.optimizer.Plateau`
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": make_scheduler(optimizer, self.config, steps),
        }

    def on_train_start(self):
        """See how much memory a step may take, if that is known."""
        free = memory_for_a_step(self.device)
        if free is not None:
            number = FULL if self.trainer.precision == "32-true" else MIXED
            self._fitting = FittingModel(self.model, self.config, free, number)

    def on_train_epoch_start(self):
        """Seed the epoch, so that a resumed run draws what an unbroken one does."""
        epoch = self.trainer.current_epoch
        torch.manual_seed(self.config.random_seed * 1_000_003 + epoch)
        if self.freeze_base:
            self.model.base_model.eval()
        if self.run.with_vectors is not None:
            self._prepare_candidates(epoch)
        elif self.freeze_base and self._frozen.asvs is None:
            # Of features that only later draws have, too.
            table = self.run.training(epoch).table
            self._frozen.asvs = self._encode_all(table)

    def _prepare_candidates(self, epoch: int) -> None:
        """See the training samples with the weights that the epoch begins with."""
        part = self.run.training(epoch)
        if self._samples is None or self._samples.table is not part.table:
            self._samples = TrainingSamples(part, self.run.data, self.model.vocabulary)
        elif self.freeze_base:
            return
        self._samples.encode(self.model, self._frozen.asvs)
        if self.freeze_base:  # the features stay, whichever reads are drawn
            self._frozen.asvs = self._samples.asvs

    def training_step(self, batch: Batch, index: int) -> Tensor | None:
        """Return the loss of a batch; of one that an earlier process has seen, nothing."""
        self.log("learning_rate", self.optimizers().param_groups[0]["lr"], on_step=True)
        if index < len(self.passed_over):
            self.latest = self.passed_over[index]
            self._log(self.latest, batch)
            return self._nothing()
        candidates = encoded = None
        if self._samples is not None:
            step = index // self.config.gradient_accumulation_steps
            seed = self.config.random_seed, self.trainer.current_epoch, step
            candidates = self._samples.draw(batch.rows.cpu().numpy(), seed)
            if self.freeze_base:
                encoded = Output(embedding=self._samples.embeddings_of(batch.rows))
        losses = self._losses(
            batch, self._frozen.of(batch), "train", candidates=candidates, encoded=encoded
        )
        self._check_finite(losses.total, batch)
        return losses.total * self._share_of_step(index)

    def _nothing(self) -> Tensor | None:
        """Return what stands for the loss of a step that is passed over."""
        return None

    def _share_of_step(self, index: int) -> float:
        """Weigh a batch by its samples, so that the batches of a step are as one large batch.

        Lightning divides by their number, even where the last step of an epoch has fewer.
        """
        n = self.config.gradient_accumulation_steps
        if n == 1:
            return 1.0
        sizes = [len(rows) for rows in self.trainer.train_dataloader.dataset.plan]
        first = index - index % n
        return n * sizes[index] / sum(sizes[first : first + n])

    def on_validation_epoch_start(self):
        """Encode each validation ASV once, and embed the references."""
        if self._resting.asvs is None:
            self._resting.asvs = encode_asvs(self.model, self._validation_samples())
        self._embed_references()
        if self._samples is not None:
            self.model.others = self._samples.others(self.model)

    def _validation_samples(self) -> SampleTable:
        """Return the samples that this process validates with."""
        return self.run.validation.table

    def validation_step(self, batch: Batch, index: int) -> None:
        """Add a batch to the validation losses and metrics."""
        self._losses(batch, self._resting.of(batch), "val")

    def on_validation_epoch_end(self):
        """Log the metrics of all validation samples; forget encodings that training changes."""
        if not self.freeze_base:
            self._resting.asvs = None
        if self.metrics is not None:
            self.log_dict({f"val/{n}": v for n, v in self.metrics.compute().items()})

    def _losses(self, batch, asvs, stage, *, candidates=None, encoded=None):
        compares_samples = self.comparison is not None
        options = {} if candidates is None else {"candidates": candidates, "encoded": encoded}
        output = (self._fitting or self.model)(
            batch, asvs, with_embedding=compares_samples,
            with_abundance=self.objective.count_penalty > 0, **options,
        )  # fmt: skip
        unifrac = self.comparison(self.model, batch, output) if compares_samples else None
        asked = None if candidates is None else candidates.asked
        losses = self.objective(batch, output, unifrac, asked)
        logged = {f"{stage}/{name}": value.detach() for name, value in losses.terms().items()}
        if output.nucleotides is not None:
            hits = output.nucleotides.argmax(dim=-1) == masked_bases(batch)
            logged[f"{stage}/nuc_accuracy"] = hits.float().mean()
        if stage == "val" and self.metrics is not None:
            self.metrics.update(output.target, batch.target)
        logged = self._of_whole(logged, batch)
        self.latest = logged if stage == "train" else self.latest
        self._log(logged, batch)
        return losses

    def _of_whole(self, logged: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return the values of a whole batch, where this process has a part of it only."""
        return logged

    def _log(self, values: dict[str, Tensor], batch: Batch) -> None:
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=len(batch))

    def _check_finite(self, total: Tensor, batch: Batch) -> None:
        if torch.isfinite(total.detach()):
            return
        ids = self.run.training(self.current_epoch).table.sample_ids
        names = [ids[row] for row in batch.rows.tolist()]
        rate = self.optimizers().param_groups[0]["lr"]
        half = " Or set mixed_precision to fp32." if self.trainer.precision == "16-mixed" else ""
        raise ValueError(
            f"The loss became {float(total.detach())} at step {self.global_step} (epoch "
            f"{self.current_epoch + 1}, learning rate {rate:.2g}) on the samples "
            f"{', '.join(names)}; choose a lower lr or max_grad_norm." + half
        )

    def _embed_references(self):
        """Embed the reference samples of validation with the current weights."""
        if isinstance(self.comparison, StripeComparison) and self.global_step != self._embedded_at:
            self.comparison.fill(self._reference_embeddings())
            self._embedded_at = self.global_step

    def _encode_all(self, table: SampleTable) -> Tensor:
        return encode_asvs(self.model, table, unseen=True)

    def _reference_embeddings(self) -> Tensor:
        return embed(self.model, self.run.references.table, self.run.data)
