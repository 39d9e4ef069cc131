"""Sample level: from the ASVs of a sample and their abundances to the embedding of the sample.

Shapes: B samples, S ASVs of the largest of them, U distinct ASVs of the batch, D embedding width.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from q2_aam.core.data.mini_batches import Batch
from q2_aam.core.model.asv_encoder import ASVEncoder
from q2_aam.core.model.layers import Pooling, Transformer
from q2_aam.core.model.output import Output
from q2_aam.core.options.config import ModelConfig


class SampleSequenceEncoder(nn.Module):
    """Sample level: lets the ASVs of a sample see each other and how abundant they are."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        dim = config.embedding_dim
        self.abundance = nn.Sequential(nn.Linear(2, dim), nn.GELU(), nn.Linear(dim, dim))
        self.transformer = Transformer(dim, config.attention_heads, config.sample_layers)

    def forward(self, asvs: Tensor, counts: Tensor, mask: Tensor | None) -> Tensor:
        """Put ASVs [B, S, D] with counts [B, S] into the context of their sample [B, S, D]."""
        relative = counts / counts.sum(dim=1, keepdim=True)
        features = torch.stack([counts.log1p(), relative], dim=-1)  # [B, S, 2]
        return self.transformer(asvs + self.abundance(features), mask)


class SequenceEncoder(nn.Module):
    """The encoder that pre-training makes: from sequences to an embedding of the sample."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        dim, heads = config.embedding_dim, config.attention_heads
        self.asv_encoder = ASVEncoder(config)
        self.sample_encoder = SampleSequenceEncoder(config)
        self.transformer = Transformer(dim, heads, config.sample_layers)
        self.pooling = Pooling(dim, heads)
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.diversity = nn.Linear(dim, 1)
        self.register_buffer("mean_diversity", torch.ones(()))

    def forward(
        self,
        batch: Batch,
        asvs: Tensor | None = None,
        *,
        with_embedding: bool = True,
        with_abundance: bool = False,
    ) -> Output:
        """Embed the samples of a batch; the arguments are those of `SequencePredictor.forward`."""
        _, context = self.read(batch, asvs)
        return self.summarise(batch, context, with_embedding)

    @property
    def base_model(self) -> "SequenceEncoder":
        """The encoder, under the name that every model has it."""
        return self

    def read(self, batch: Batch, asvs: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the ASVs of each sample by themselves and in context, both [B, S, D]."""
        if asvs is None:
            asvs = self.asv_encoder(batch.tokens)
        single = nn.functional.embedding(batch.asv_index, asvs)
        return single, self.sample_encoder(single, batch.counts, batch.mask)

    def summarise(self, batch: Batch, context: Tensor, with_embedding: bool) -> Output:
        """Summarise the ASVs in context [B, S, D] into what the encoder says of a batch."""
        output = Output()
        if batch.masked_of is not None:
            tokens = batch.tokens[batch.masked_of]
            nucleotides = self.asv_encoder.restore_masked(tokens, batch.masked_at)
            output = replace(output, nucleotides=nucleotides)
        if with_embedding:
            embedding = self.pooling(self.transformer(context, batch.mask), batch.mask)
            relative = nn.functional.softplus(self.diversity(embedding)).squeeze(-1)
            output = replace(output, embedding=embedding, diversity=self.mean_diversity * relative)
        return output

    def set_typical_distance(self, embeddings: Tensor, distance: float) -> None:
        """Scale distances so that the mean among embeddings [N, D] becomes the given one.

        The course from random weights is then about which samples are near, not about how large
        distances are.
        """
        radius = float(nn.functional.pdist(embeddings).mean())
        if radius > 0 and 0 < distance < 1:
            with torch.no_grad():
                self.log_scale.fill_(math.log(2 * math.atanh(distance) / radius))

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Predict UniFrac between embeddings a [A, D] and b [B, D] as [A, B].

        With r the Euclidean distance and s a learnt scale, 2 σ(s r) - 1: zero at zero, increasing,
        and below one.
        """
        # In float32: 1e-12 is zero in fp16, and the gradient of a root at zero is infinite.
        squared = (a.float()[:, None] - b.float()[None]).square().sum(dim=-1)
        radius = (squared + 1e-12).sqrt() - 1e-6
        return 2 * torch.sigmoid(self.log_scale.exp() * radius) - 1
