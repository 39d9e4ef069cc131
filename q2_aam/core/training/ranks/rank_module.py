"""What a rank does in the training loop otherwise than a run of one process.

Each rank computes its part of a batch. What is logged are the values of the whole batch: ranks add
their parts up in each step. So all of them know the same, and decide the same.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import Metric

from q2_aam.core.data.batch_loader import loader
from q2_aam.core.data.mini_batches import Labels
from q2_aam.core.data.sample_table import SampleTable
from q2_aam.core.model.inference import embed, encode_asvs
from q2_aam.core.model.output import Output
from q2_aam.core.training.loop.lightning_module import DataModule, TrainingModule
from q2_aam.core.training.objective.losses import Losses, Objective
from q2_aam.core.training.ranks import exchange
from q2_aam.core.training.ranks.division import PartOfBatch, PartsOfBatches, owners

SHARE_OF = {
    "total_loss": "ranks",
    "target_loss": "ranks",  # its terms are weighed already, as not all are of the batch
    "unifrac_loss": "unifrac",
    "nuc_loss": "nucleotides",
    "nuc_accuracy": "nucleotides",
    "count_loss": "samples",
}
"""What each value is a mean over."""


class PartData(DataModule):
    """Makes the parts of the batches that are for this rank."""

    def _loader(self, batches):
        parts = PartsOfBatches(batches, exchange.this_rank(), exchange.n_ranks())
        on_gpu = self.trainer.strategy.root_device.type == "cuda"
        return loader(parts, self.config.num_workers, pin_memory=on_gpu)


@dataclass(frozen=True)
class DividedObjective(Objective):
    """The losses of a part, weighed so that their mean over ranks is the loss of the whole batch.

    Parameters
    ----------
    entries : callable, optional
        How many phylogenetic values all ranks compare, from a part.
    shares : dict
        The share of the whole batch that the latest part was, by what means are over.
    """

    entries: Callable[[PartOfBatch], int] | None = None
    shares: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, objective: Objective, entries) -> "DividedObjective":
        """Divide an objective."""
        whole = {f.name: getattr(objective, f.name) for f in fields(Objective)}
        return cls(**whole, entries=entries)

    def __call__(
        self,
        batch: PartOfBatch,
        output: Output,
        unifrac: tuple[Tensor, Tensor] | None = None,
        asked: Labels | None = None,
    ) -> Losses:
        """Compute the losses of a part; the arguments are those of `Objective`."""
        n, whole = exchange.n_ranks(), 0 if unifrac is None else self.entries(batch)
        # A batch of one sample has no pairs: their loss is zero, and is logged as such.
        compared = unifrac[0].numel() / whole if whole else 1 / n
        self.shares.update(batch.shares, unifrac=compared, ranks=1 / n)
        weights = {f.name: getattr(self, f.name) for f in fields(Objective)}
        weights["own_weight"] *= n * self.shares["targets"]
        weights["penalty"] *= n * self.shares["unifrac"]
        weights["nuc_penalty"] *= n * self.shares["nucleotides"]
        weights["count_penalty"] *= n * self.shares["samples"]
        losses = Objective(**weights)(batch, output, unifrac, asked)
        if torch.is_grad_enabled() and not losses.total.requires_grad:
            # Of a guest alone; PyTorch goes back from nothing that has no gradient at all.
            some = output.embedding if output.target is None else output.target
            losses = replace(losses, total=losses.total + 0.0 * some.sum())
        return losses


class GatheredMetrics(nn.Module):
    """Metrics of all validation samples, whichever rank predicts them.

    Parameters
    ----------
    metrics : nn.Module
        Those of one process.
    """

    def __init__(self, metrics: nn.Module):
        super().__init__()
        self.metrics = metrics
        self._kept: list[tuple[Tensor, Tensor]] = []
        for part in metrics.modules():
            if isinstance(part, Metric):
                part.sync_on_compute = False  # it is given the samples of all ranks

    def update(self, output: Tensor, true: Tensor) -> None:
        """Add a part of a batch; a guest has no true value."""
        self._kept.append((output[: len(true)].detach().float(), true))

    def compute(self) -> dict:
        """Return the metrics of all samples and start anew."""
        output, true = (torch.cat(values) for values in zip(*self._kept, strict=True))
        self._kept.clear()
        output = exchange.rows_of_any_number(output)
        self.metrics.update(output, exchange.rows_of_any_number(true[:, None]).squeeze(1))
        return self.metrics.compute()


class RankModule(TrainingModule):
    """One model in training by several ranks.

    The parameters are those of `TrainingModule`; the comparison is one of `ranks.comparison`. A
    signal sets `asked_to_stop`; `stops` is set in all ranks in the same step then.
    """

    def __init__(self, model, objective, config, run, *, comparison, metrics, freeze_base):
        super().__init__(
            model,
            DividedObjective.of(objective, comparison and comparison.entries),
            config,
            run,
            comparison=comparison,
            metrics=metrics and GatheredMetrics(metrics),
            freeze_base=freeze_base,
        )
        self.asked_to_stop = self.stops = False

    def training_step(self, batch: PartOfBatch, index: int) -> Tensor:
        """Return the loss of a part; dropout depends on seed, epoch, batch and rank alone."""
        seed = [self.config.random_seed, self.current_epoch, index, exchange.this_rank()]
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
        return super().training_step(batch, index)

    def _nothing(self) -> Tensor:
        """Return a loss that changes nothing: with ranks, Lightning needs one in each step."""
        return sum(0.0 * p.sum() for p in self.parameters() if p.requires_grad)

    def _of_whole(self, logged: dict[str, Tensor], batch: PartOfBatch) -> dict[str, Tensor]:
        """Add up what ranks have of each value, and learn whether one was asked to stop."""
        stage = next(iter(logged)).partition("/")[0]
        parts = []
        for name, of in SHARE_OF.items():
            value, share = logged.pop(f"{stage}/{name}", None), self.objective.shares[of]
            there = value is not None and share > 0
            parts += [value.float() * share if there else 0.0, float(there)]
        if logged:
            raise KeyError(f"No share of the whole batch is known for {', '.join(logged)}.")
        parts.append(float(self.asked_to_stop))
        sums = exchange.total(torch.stack([torch.as_tensor(p, device=self.device) for p in parts]))
        *there, stops = sums[1::2].tolist() + sums[-1:].tolist()
        self.stops = self.stops or stops > 0
        named = zip(SHARE_OF, sums[:-1:2], there, strict=True)
        return {f"{stage}/{name}": value for name, value, n in named if n}

    def _log(self, values: dict[str, Tensor], batch: PartOfBatch) -> None:
        """Log values of the whole batch; they are the same in all ranks."""
        whole = len(batch.whole_rows)
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=whole)

    def _check_finite(self, total: Tensor, batch: PartOfBatch) -> None:
        """End all ranks with one message where the loss of the whole batch is not finite."""
        whole = replace(batch, rows=batch.whole_rows)
        super()._check_finite(self.latest["train/total_loss"], whole)

    def _validation_samples(self) -> SampleTable:
        """Return the samples of this rank's parts of the validation batches."""
        rank, n = exchange.this_rank(), exchange.n_ranks()
        plan = self.trainer.val_dataloaders.dataset.plan
        mine = [rows[owners(len(rows), n) == rank] for rows in plan]
        guests = [rows[:1] for rows in plan if len(rows) <= rank]
        return self.run.validation.table.take(np.concatenate([*mine, *guests]))

    def _encode_all(self, table: SampleTable) -> Tensor:
        """Encode all features of a table together, each rank some of them."""
        rank, n = exchange.this_rank(), exchange.n_ranks()
        owner = owners(len(table.feature_ids), n)
        mine = np.flatnonzero(owner == rank)
        ids = tuple(table.feature_ids[i] for i in mine)
        part = replace(
            table, counts=table.counts[:, mine], feature_ids=ids, tokens=table.tokens[mine]
        )
        encoded = encode_asvs(self.model, part, unseen=True)
        return _in_order(
            exchange.all_rows(encoded, np.bincount(owner, minlength=n).tolist()), owner
        )

    def _reference_embeddings(self) -> Tensor:
        """Embed the references together, each rank some of them."""
        table, rank, n = self.run.references.table, exchange.this_rank(), exchange.n_ranks()
        owner = owners(table.n_samples, n)
        mine = np.flatnonzero(owner == rank)
        embeddings = torch.zeros(0, self.comparison.bank.shape[1])
        if len(mine):
            embeddings = embed(self.model, table.take(mine), self.run.data)
        sizes = np.bincount(owner, minlength=n).tolist()
        return _in_order(exchange.all_rows(embeddings.to(self.device), sizes), owner)


def _in_order(gathered: Tensor, owner: np.ndarray) -> Tensor:
    """Put rows that come rank by rank into the order in which they were dealt out."""
    order = torch.from_numpy(np.argsort(owner, kind="stable")).to(gathered.device)
    return torch.empty_like(gathered).index_copy(0, order, gathered)
