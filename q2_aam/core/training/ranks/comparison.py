"""What the phylogeny is compared with where the samples of a batch are divided over ranks.

Ranks send each other embeddings without a gradient. A distance between samples of two ranks is
computed by both. Each lets the gradient go to its own sample, twice, because each counts half.
So one exchange a step is enough, and the gradient is that of one rank with the whole batch.

Shapes: W samples of the whole batch, N of these here, R references, K of these in the batch, D
embedding width, P pairs.
"""

import torch
from torch import Tensor, nn

from q2_aam.core.model.output import Output
from q2_aam.core.training.objective.unifrac_prediction import (
    DiversityComparison,
    PairComparison,
    StripeComparison,
)
from q2_aam.core.training.ranks.division import PartOfBatch
from q2_aam.core.training.ranks.exchange import all_rows, n_ranks, this_rank


def _twice(x: Tensor) -> Tensor:
    """Return a tensor as it is, with twice its gradient."""
    return 2 * x - x.detach()


def _whole(mine: Tensor, batch: PartOfBatch) -> Tensor:
    """Gather rows of all samples of the batch, in the order of the batch: (n, C) to (W, C)."""
    gathered = all_rows(mine, torch.bincount(batch.owner, minlength=n_ranks()).tolist())
    order = torch.argsort(batch.owner, stable=True).to(mine.device)
    return torch.empty_like(gathered).index_copy(0, order, gathered)


class DividedDiversity(DiversityComparison):
    """Faith PD of each sample."""

    def entries(self, batch: PartOfBatch) -> int:
        """Return how many values all ranks compare."""
        return len(batch.whole_rows)

    def forward(self, model: nn.Module, batch: PartOfBatch, output: Output):
        """Return predicted and true diversities, (N,) each."""
        predicted, true = super().forward(model, batch, output)
        return predicted[: batch.n_mine], true[: batch.n_mine]


class DividedPairs(PairComparison):
    """Distances between the samples of a batch."""

    def entries(self, batch: PartOfBatch) -> int:
        """Return how many distances all ranks compare: each one twice."""
        n = len(batch.whole_rows)
        return n * (n - 1)

    def forward(self, model: nn.Module, batch: PartOfBatch, output: Output):
        """Return predicted and true distances of own samples to all others, (N·(W-1),) each."""
        own = output.embedding[: batch.n_mine]
        others = _whole(own, batch)
        mine = _places(batch)
        distances = model.base_model.distance(_twice(own), others)
        apart = torch.ones(len(own), len(others), dtype=torch.bool)
        apart[torch.arange(len(mine)), mine] = False
        apart = apart.to(own.device)
        return distances[apart], batch.unifrac[: len(own)][apart]


class DividedStripes(StripeComparison):
    """Distances of the samples of a batch to the references in it."""

    def entries(self, batch: PartOfBatch) -> int:
        """Return how many distances all ranks compare: in training, each one twice."""
        if not self.training:
            return len(batch.whole_rows) * len(self.bank)
        return 2 * len(batch.whole_rows) * int((batch.whole_reference >= 0).sum())

    def forward(self, model: nn.Module, batch: PartOfBatch, output: Output):
        """Return predicted and true distances, (P,) each in training, else (N, R)."""
        n = batch.n_mine
        if not model.training:
            predicted, true = super().forward(model, batch, output)
            return predicted[:n], true[:n]
        own, device = output.embedding[:n], output.embedding.device
        here = torch.nonzero(batch.whole_reference >= 0).squeeze(1)  # [K] places in the batch
        true = batch.unifrac[:n, batch.whole_reference[here].to(device)]
        gathered = _whole(torch.cat([own.float(), true], dim=1), batch)
        all_samples, all_true = gathered.split([own.shape[1], len(here)], dim=1)
        all_samples = all_samples.to(own.dtype)
        mine = batch.owner[here] == this_rank()
        local = torch.searchsorted(_places(batch), here[mine]).to(device)
        here, mine = here.to(device), torch.nonzero(mine).squeeze(1).to(device)
        distance = model.base_model.distance
        to_references = distance(_twice(own), all_samples[here])
        to_mine = distance(all_samples, _twice(own[local]))
        predicted = torch.cat([to_references.flatten(), to_mine.flatten()])
        return predicted, torch.cat([true.flatten(), all_true[:, mine].flatten()])


def _places(batch: PartOfBatch) -> Tensor:
    """Return where the samples of this rank are in the whole batch, (N,)."""
    return torch.nonzero(batch.owner == this_rank()).squeeze(1)


def divided(metric: str, n_references: int | None, dim: int) -> nn.Module:
    """Return how a model is compared with a phylogeny.

    Parameters
    ----------
    metric : {'unweighted', 'weighted_normalized', 'faith_pd'}
    n_references : int, optional
        Number of reference samples, in stripe mode.
    dim : int
        D.
    """
    if metric == "faith_pd":
        return DividedDiversity()
    return DividedPairs() if n_references is None else DividedStripes(n_references, dim)
