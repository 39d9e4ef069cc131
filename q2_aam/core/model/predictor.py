"""The model, from nucleotides to a prediction.

Shapes: B samples, S ASVs of the largest of them, U distinct ASVs in the batch, M masked copies of
some of them, P masked positions in these, L nucleotides, D embedding width, C outputs, Q
quantiles.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from q2_aam.core.data import nucleotides
from q2_aam.core.data.mini_batches import Batch
from q2_aam.core.model.layers import Pooling, Standardise, Transformer
from q2_aam.core.model.specification import ENCODER, ModelSpec
from q2_aam.core.model.stored_samples.comparison import Neighbours
from q2_aam.core.model.stored_samples.ensemble_weights import mix
from q2_aam.core.model.target_head import (
    TargetReader,
    average_logits,
    in_order,
    means_of,
    outwards,
)
from q2_aam.core.model.tensor_shapes import N_MEANS, NEIGHBOURHOOD
from q2_aam.core.options.config import ModelConfig, TrainConfig
from q2_aam.core.options.quantile_levels import MEDIAN


@dataclass(frozen=True)
class Output:
    """What a model says of a batch.

    Parameters
    ----------
    embedding : Tensor of shape (B, D), optional
        One vector a sample; its distances predict UniFrac.
    diversity : Tensor of shape (B,), optional
        Predicted Faith PD, in branch length.
    nucleotides : Tensor of shape (P, 4), optional
        Logits of A, C, G, T at the masked positions, in row-major order.
    abundance : Tensor of shape (B, S), optional
        Logits of the relative abundances within each sample; minus infinity where padded.
    target : Tensor of shape (B, C), optional
        The learnt value (C = 1), which is the median where quantiles are learnt, or the logits of
        the classes.
    quantiles : Tensor of shape (B, Q), optional
        Quantiles of the learnt value, where the model has learnt them.
    opinions : tuple of Tensor of shape (B, C) or (B, Q)
        What each network says that reads the target; `target` and `quantiles` are their average.
    """

    embedding: Tensor | None = None
    diversity: Tensor | None = None
    nucleotides: Tensor | None = None
    abundance: Tensor | None = None
    target: Tensor | None = None
    quantiles: Tensor | None = None
    opinions: tuple[Tensor, ...] = ()


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


class SampleSequenceEncoder(nn.Module):
    """Sample level: lets the ASVs of a sample see each other and how abundant they are."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        dim = config.embedding_dim
        self.abundance = nn.Sequential(nn.Linear(2, dim), nn.GELU(), nn.Linear(dim, dim))
        self.transformer = Transformer(dim, config.attention_heads, config.attention_layers)

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
        self.transformer = Transformer(dim, heads, config.attention_layers)
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
        said = Output()
        if batch.masked_of is not None:
            tokens = batch.tokens[batch.masked_of]
            nucleotides = self.asv_encoder.restore_masked(tokens, batch.masked_at)
            said = replace(said, nucleotides=nucleotides)
        if with_embedding:
            embedding = self.pooling(self.transformer(context, batch.mask), batch.mask)
            relative = nn.functional.softplus(self.diversity(embedding)).squeeze(-1)
            said = replace(said, embedding=embedding, diversity=self.mean_diversity * relative)
        return said

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
        squared = (a[:, None] - b[None]).square().sum(dim=-1)
        radius = (squared + 1e-12).sqrt() - 1e-6
        return 2 * torch.sigmoid(self.log_scale.exp() * radius) - 1


class SequencePredictor(TargetReader):
    """An encoder with a target: a number, its quantiles, or logits of classes.

    It reads the target itself, and has others beside it do so where answers are to be averaged.

    Parameters
    ----------
    config : ModelConfig
    n_outputs : int
        C: 1 for regression, the number of classes for classification.
    neighbours : Neighbours, optional
        Training samples kept to compare others with.
    levels : tuple of float
        Quantiles to predict of a number, the median among them; empty for the number alone.
    ensemble : int
        How many read the target.
    """

    def __init__(
        self,
        config: ModelConfig,
        n_outputs: int,
        neighbours: Neighbours | None = None,
        levels: tuple[float, ...] = (),
        ensemble: int = 1,
    ):
        nn.Module.__init__(self)  # the layers that read are made in their turn, below
        dim, heads = config.embedding_dim, config.attention_heads
        layers, width = config.attention_layers, len(levels) or n_outputs
        self.base_model = SequenceEncoder(config)
        self.count_encoder = Transformer(dim, heads, layers, config.dropout)
        self.abundance = nn.Linear(dim, 1)
        self.asv_scale = Standardise(dim)
        self.make_layers(config, width)
        self.mean_scale = Standardise(N_MEANS * dim)
        self.others = nn.ModuleList(TargetReader(config, width) for _ in range(ensemble - 1))
        self.categorical = n_outputs > 1
        self.median = levels.index(MEDIAN) if levels else None
        if levels:  # what samples not trained on tell to add to each quantile
            self.register_buffer("calibration", torch.zeros(width))
        self.neighbours = neighbours

    def forward(
        self,
        batch: Batch,
        asvs: Tensor | None = None,
        *,
        with_embedding: bool = True,
        with_abundance: bool = True,
    ) -> Output:
        """Predict for the samples of a batch.

        Parameters
        ----------
        batch : Batch
        asvs : Tensor of shape (U, D), optional
            Embeddings of the batch's distinct ASVs, if they are at hand.
        with_embedding, with_abundance : bool
            Also embed the samples, also predict abundances; False saves time where nobody asks.
        """
        single, context = self.base_model.read(batch, asvs)
        said = self.base_model.summarise(batch, context, with_embedding)
        if with_abundance:
            said = replace(said, abundance=self._abundance(single, batch.mask))
        opinions = self._opinions(batch, single, context)
        said = replace(said, opinions=opinions)
        if self.categorical:
            return replace(said, target=average_logits(opinions))
        answer = torch.stack(opinions).mean(dim=0)
        if self.median is None:
            return replace(said, target=answer)
        return replace(said, target=answer[:, self.median, None], quantiles=answer)

    def predict(self, batch: Batch, asvs: Tensor | None = None) -> Tensor:
        """Give the final answer for the samples of a batch, the samples kept included.

        The arguments are those of `forward`.

        Returns
        -------
        Tensor of shape (B, C)
            The learnt value (C = 1), or the probabilities of the classes.
        """
        return self._answer(batch, asvs)[0]

    def predict_quantiles(self, batch: Batch, asvs: Tensor | None = None) -> Tensor:
        """Give the calibrated quantiles of the learnt value for the samples of a batch: [B, Q].

        The arguments are those of `forward`. The samples kept move all quantiles of a sample by
        what they move the prediction, which stays the median.
        """
        answer, said = self._answer(batch, asvs)
        moved = said.quantiles + (answer - said.target) + self.calibration
        return outwards(moved, self.median)

    def _answer(self, batch: Batch, asvs: Tensor | None) -> tuple[Tensor, Output]:
        """Return the final answer, and what the transformer alone said."""
        compares = self.neighbours is not None
        said = self(batch, asvs, with_embedding=compares, with_abundance=False)
        answer = said.target.softmax(dim=1) if self.categorical else said.target
        if not compares:
            return answer, said
        alike, known = self.neighbours(batch, said.embedding)
        return mix(answer, alike, self.neighbours.info.blend * known), said

    def adapt(self, batch: Batch, asvs: Tensor) -> None:
        """Set the scale of what the target is read from by what these samples have."""
        with torch.no_grad():
            single, context = self.base_model.read(batch, asvs)
            self.asv_scale.fit((single + context)[batch.counts > 0])
            self.mean_scale.fit(means_of(batch, single, context))

    def _abundance(self, single: Tensor, mask: Tensor | None) -> Tensor:
        logits = self.abundance(self.count_encoder(single, mask)).squeeze(-1)
        return logits if mask is None else logits.masked_fill(~mask, float("-inf"))

    def _opinions(self, batch: Batch, single: Tensor, context: Tensor) -> tuple[Tensor, ...]:
        asvs = self.asv_scale(single + context)
        means = self.mean_scale(means_of(batch, single, context))
        said = [each.opinion(asvs, batch.mask, means) for each in (self, *self.others)]
        if self.median is not None:
            said = [in_order(raw, self.median) for raw in said]
        return tuple(said)


def build(spec: ModelSpec) -> nn.Module:
    """Make the model of a specification, with random weights."""
    if spec.kind == ENCODER:
        return SequenceEncoder(spec.model)
    kept = spec.neighbours and Neighbours(spec.neighbours, spec.model.embedding_dim)
    return SequencePredictor(spec.model, spec.n_outputs, kept, spec.quantiles, spec.ensemble)


def save_memory(model: nn.Module, config: TrainConfig) -> None:
    """Set how much of the activations a model keeps in training; its results stay the same."""
    for module in model.modules():
        if isinstance(module, Transformer):
            module.recompute = config.gradient_checkpointing
    reader = model.base_model.asv_encoder
    reader.chunk_size = config.asv_chunk_size
    # A chunk is recomputed as a whole; to recompute its layers within that would keep more.
    reader.transformer.recompute &= config.asv_chunk_size is None
