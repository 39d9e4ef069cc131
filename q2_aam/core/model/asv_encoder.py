"""Nucleotide level: from the nucleotides of each ASV to its embedding.

Shapes: U distinct ASVs of a batch, M masked copies of some of them, K masked positions in these,
L nucleotides, P patches of ``patch_size`` nucleotides, D embedding width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from q2_aam.core.data import nucleotides
from q2_aam.core.model.layers import Pooling, Transformer
from q2_aam.core.model.tensor_shapes import SURROUNDINGS, patches_of, window_of
from q2_aam.core.options.config import ModelConfig


class ASVEncoder(nn.Module):
    """Reads a sequence in patches of neighbouring nucleotides, and restores masked nucleotides."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        dim, self.patch_size = config.embedding_dim, config.patch_size
        self.register_buffer(
            "composition", torch.from_numpy(nucleotides.composition()), persistent=False
        )
        # A patch is embedded together with its surroundings: the transformer would have to learn
        # to find them, and takes several times as many steps when it must.
        self.patch = nn.Linear(window_of(config) * nucleotides.N_PARTS, dim)
        nn.init.normal_(self.patch.weight, std=window_of(config) ** -0.5)
        self.position = nn.Parameter(0.1 * torch.randn(patches_of(config), dim))
        self.transformer = Transformer(dim, config.attention_heads, config.attention_layers)
        self.pooling = Pooling(dim, config.attention_heads)
        self.restore = nn.Linear(dim, self.patch_size * len(nucleotides.BASES))
        self.chunk_size: int | None = None

    def forward(self, tokens: Tensor) -> Tensor:
        """Embed each sequence: tokens [U, L] to [U, D]."""
        return self._in_chunks(self._pooled, tokens)

    def restore_masked(self, tokens: Tensor, masked_at: Tensor) -> Tensor:
        """Guess the nucleotides at the masked positions: [M, L] twice to logits [K, 4]."""
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
        logits = self.restore(self._hidden(masked)[0])  # [M, P, 4 · patch_size]
        by_nucleotide = logits.unflatten(2, (self.patch_size, -1)).flatten(1, 2)
        return by_nucleotide[:, : tokens.shape[1]][masked_at]

    def _pooled(self, tokens: Tensor) -> Tensor:
        return self.pooling(*self._hidden(tokens))

    def _hidden(self, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the patches in context [U, P, D], and which of them are there [U, P]."""
        short = -tokens.shape[1] % self.patch_size
        tokens = F.pad(tokens, (0, short), value=nucleotides.PAD)
        occupied = (tokens != nucleotides.PAD).unflatten(1, (-1, self.patch_size)).any(dim=2)
        mask = None if bool(occupied.all()) else occupied
        parts = F.embedding(tokens.int(), self.composition)  # [U, L, 5]
        parts = F.pad(parts, (0, 0, SURROUNDINGS, SURROUNDINGS))
        windows = parts.unfold(1, self.patch_size + 2 * SURROUNDINGS, self.patch_size)
        x = self.patch(windows.flatten(2))  # [U, P, D]
        return self.transformer(x + self.position[: x.shape[1]], mask), mask
