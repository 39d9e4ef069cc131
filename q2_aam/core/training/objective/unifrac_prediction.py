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

    In training these are the references in the batch, which take turns to join it. Both sides of
    each distance are then embeddings of the moment, and both have a gradient: compared with
    embeddings kept from earlier steps, or with new ones that have no gradient, all samples drift
    away from the references or on top of them together. In validation, where the model stands
    still, they are all references, embedded beforehand.
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
