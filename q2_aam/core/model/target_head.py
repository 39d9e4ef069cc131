"""How the target is read from the ASVs of a sample, and what is made of several answers.

Shapes: B samples, S ASVs of the largest of them, D embedding width, C outputs, Q quantiles.
"""

import math

import torch
from torch import Tensor, nn

from q2_aam.core.data.mini_batches import Batch
from q2_aam.core.model.layers import Pooling, Transformer
from q2_aam.core.model.tensor_shapes import N_MEANS
from q2_aam.core.options.config import ModelConfig


class TargetHead(nn.Module):
    """Reads the target twice: by a transformer over the ASVs of the sample, and by a linear layer.

    The linear layer sees three means of the ASVs, and learns from few samples.
    """

    def __init__(self, config: ModelConfig, n_outputs: int):
        super().__init__()
        self.make_layers(config, n_outputs)

    def make_layers(self, config: ModelConfig, n_outputs: int) -> None:
        """Add the layers that read, the last of which start from zero."""
        dim, heads = config.embedding_dim, config.attention_heads
        self.target_encoder = Transformer(dim, heads, config.sample_layers, config.dropout)
        self.pooling = Pooling(dim, heads)
        self.head = nn.Linear(dim, n_outputs)
        self.mean_head = nn.Linear(N_MEANS * dim, n_outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.mean_head.weight)

    def predict_target(self, asvs: Tensor, mask: Tensor | None, means: Tensor) -> Tensor:
        """Read ASVs [B, S, D] and their means [B, 3 D] into [B, C]."""
        tokens = self.target_encoder(asvs, mask)
        return self.head(self.pooling(tokens, mask)) + self.mean_head(means)


def average_logits(logits: tuple[Tensor, ...]) -> Tensor:
    """Return logits [B, C] whose probabilities are the means of those of several logits."""
    if len(logits) == 1:
        return logits[0]
    log_likely = torch.stack(logits).float().log_softmax(dim=-1)
    return log_likely.logsumexp(dim=0) - math.log(len(logits))


def in_order(raw: Tensor, median: int) -> Tensor:
    """Make quantiles of any numbers [B, Q]: the median, and positive steps up and down from it.

    So they cannot cross, whatever the weights are.
    """
    raw = raw.float()
    middle, steps = raw[:, median, None], nn.functional.softplus(raw)
    below = middle - steps[:, :median].flip(1).cumsum(dim=1).flip(1)
    above = middle + steps[:, median + 1 :].cumsum(dim=1)
    return torch.cat([below, middle, above], dim=1)


def outwards(quantiles: Tensor, median: int) -> Tensor:
    """Bring quantiles [B, Q] that were moved one by one back into order, by widening alone."""
    below = quantiles[:, : median + 1].flip(1).cummin(dim=1).values.flip(1)
    above = quantiles[:, median:].cummax(dim=1).values
    return torch.cat([below, above[:, 1:]], dim=1)


def means_of(batch: Batch, single: Tensor, context: Tensor) -> Tensor:
    """Average the ASVs of each sample in three ways [B, 3 D].

    Those in context by presence and by abundance, those by themselves by the square root of it.
    """
    share = batch.counts / batch.counts.sum(dim=1, keepdim=True)
    ways = ((share > 0).to(share), context), (share, context), (share.sqrt(), single)
    return torch.cat(
        [torch.einsum("bs,bsd->bd", w / w.sum(dim=1, keepdim=True), x) for w, x in ways], dim=1
    )
