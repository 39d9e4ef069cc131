"""What the phylogeny is compared with in training: references, batch mates, or nothing.

Each comparison takes the batch and the model's output, and returns predicted and true values of
one shape. Shapes: B samples, R references, D embedding width.
"""

import torch
from torch import Tensor, nn

from q2_aam.core.dataset import Batch
from q2_aam.core.model import Output


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

    The references' embeddings lie in a bank. They are renewed all together at the start of every
    epoch and of every validation, and in turn during an epoch: those that are in a batch are
    compared by the embeddings just computed, which then replace those in the bank.
    """

    def __init__(self, n_references: int, dim: int):
        super().__init__()
        self.register_buffer("bank", torch.zeros(n_references, dim), persistent=False)

    def fill(self, embeddings: Tensor) -> None:
        """Replace the whole bank, (R, D)."""
        self.bank = embeddings.to(self.bank)

    def forward(self, model: nn.Module, batch: Batch, output: Output) -> tuple[Tensor, Tensor]:
        """Return predicted and true distances, (B, R) each."""
        references = self.bank
        if model.training and batch.bank_slots is not None:
            here = torch.nonzero(batch.bank_slots >= 0).squeeze(1)
            slots, live = batch.bank_slots[here], output.embedding[here]
            references = references.index_copy(0, slots, live.to(references))
            self.bank = references.detach()
        return model.base_model.distance(output.embedding, references), batch.unifrac
