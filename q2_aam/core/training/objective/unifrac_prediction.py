"""What the phylogeny is compared with in training: references, batch mates, or nothing.

Each comparison takes the batch and the model's output, and returns predicted and true values of
one shape. Shapes: B samples, R references, K of these that are in the batch, D embedding width.
"""

import torch
from torch import Tensor, nn

from q2_aam.core.data.mini_batches import Batch
from q2_aam.core.model.output import Output


class DiversityComparison(nn.Module):
    """Faith PD of each sample."""

    def forward(self, model: nn.Module, batch: Batch, output: Output) -> tuple[Tensor, Tensor]:
        """Return predicted and true diversities, (B,) each."""
        return output.diversity, batch.unifrac


class PairComparison(nn.Module):
    """Distances between the samples of a batch."""

    def forward(self, model: nn.Module, batch: Batch, output: Output) -> tuple[Tensor, Tensor]:
        """Return predicted and true distances of all pairs, (B·(B-1)/2,) each."""
        i, j = torch.triu_indices(len(batch), len(batch), offset=1, device=batch.unifrac.device)
        predicted = model.base_model.distance(output.embedding, output.embedding)
        return predicted[i, j], batch.unifrac[i, j]


class StripeComparison(nn.Module):
    """Distances of the samples of a batch to the references.

    In training, some references join each batch in turn, and its samples are compared with these.
    Both sides of a distance then come from the current weights, and both have a gradient. With
    embeddings from earlier steps, or with embeddings that have no gradient, all samples drift away
    from the references together, or onto them. In validation the model does not change: samples
    are compared with all references, embedded before.
    """

    def __init__(self, n_references: int, dim: int):
        super().__init__()
        self.register_buffer("bank", torch.zeros(n_references, dim), persistent=False)

    def fill(self, embeddings: Tensor) -> None:
        """Take the embeddings of all references, (R, D)."""
        self.bank = embeddings.to(self.bank)

    def forward(self, model: nn.Module, batch: Batch, output: Output) -> tuple[Tensor, Tensor]:
        """Return predicted and true distances, (B, K) each in training, else (B, R)."""
        distance = model.base_model.distance
        if not model.training:
            return distance(output.embedding, self.bank), batch.unifrac
        here = torch.nonzero(batch.reference >= 0).squeeze(1)
        true = batch.unifrac[:, batch.reference[here]]
        return distance(output.embedding, output.embedding[here]), true
