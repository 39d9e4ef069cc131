"""Nucleotide level: from the nucleotides of each ASV to its embedding.

Shapes: U distinct ASVs of a batch, M masked copies of some of them, P masked positions in these,
L nucleotides, D embedding width.
"""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from q2_aam.core.data import nucleotides
from q2_aam.core.model.layers import Pooling, Transformer
from q2_aam.core.model.tensor_shapes import NEIGHBOURHOOD
from q2_aam.core.options.config import ModelConfig


class ASVEncoder(nn.Module):
    """Nucleotide level: reads a sequence, and restores masked nucleotides."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        dim = config.embedding_dim
        self.register_buffer(
            "composition", torch.from_numpy(nucleotides.composition()), persistent=False
        )
        # A nucleotide is embedded together with its neighbours: the transformer would have to
        # learn to find them, and takes several times as many steps when it must.
        self.nucleotide = nn.Linear(NEIGHBOURHOOD * nucleotides.N_PARTS, dim)
        nn.init.normal_(self.nucleotide.weight, std=NEIGHBOURHOOD**-0.5)
        self.position = nn.Parameter(0.1 * torch.randn(config.max_bp, dim))
        self.transformer = Transformer(dim, config.attention_heads, config.attention_layers)
        self.pooling = Pooling(dim, config.attention_heads)
        self.restore = nn.Linear(dim, len(nucleotides.BASES))
        self.chunk_size: int | None = None

    def forward(self, tokens: Tensor) -> Tensor:
        """Embed each sequence: tokens [U, L] to [U, D]."""
        return self._in_chunks(self._pooled, tokens)

    def restore_masked(self, tokens: Tensor, masked_at: Tensor) -> Tensor:
        """Guess the nucleotides at the masked positions: [M, L] twice to logits [P, 4]."""
        return self._in_chunks(self._restored, tokens, masked_at)

    def _in_chunks(self, function, *inputs: Tensor) -> Tensor:
        """Apply a function to some ASVs at a time, and once more for the gradient."""
        if self.chunk_size is None or len(inputs[0]) <= self.chunk_size:
            return function(*inputs)
        chunks = zip(*(x.split(self.chunk_size) for x in inputs), strict=True)
        if torch.is_grad_enabled():
            return torch.cat([checkpoint(function, *c, use_reentrant=False) for c in chunks])
        return torch.cat([function(*c) for c in chunks])

    def _restored(self, tokens: Tensor, masked_at: Tensor) -> Tensor:
        masked = tokens.masked_fill(masked_at, nucleotides.MASK)
        return self.restore(self._hidden(masked)[masked_at])

    def _pooled(self, tokens: Tensor) -> Tensor:
        return self.pooling(self._hidden(tokens), _occupied(tokens))

    def _hidden(self, tokens: Tensor) -> Tensor:
        parts = nn.functional.embedding(tokens.int(), self.composition)  # [U, L, 5]
        side = NEIGHBOURHOOD // 2
        windows = nn.functional.pad(parts, (0, 0, side, side)).unfold(1, NEIGHBOURHOOD, 1)
        x = self.nucleotide(windows.flatten(2)) + self.position[: tokens.shape[1]]
        return self.transformer(x, _occupied(tokens))  # [U, L, D]


def _occupied(tokens: Tensor) -> Tensor | None:
    """Tell nucleotides from padding [U, L]; None if all sequences are equally long."""
    present = tokens != nucleotides.PAD
    return None if bool(present.all()) else present
