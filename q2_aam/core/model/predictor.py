"""Prediction of a target from the ASVs of a sample, on top of the encoder.

Shapes: B samples, S ASVs of the largest of them, U distinct ASVs of the batch, D embedding width,
C outputs, Q quantiles.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from q2_aam.core.data.mini_batches import Batch
from q2_aam.core.model.layers import Standardise, Transformer
from q2_aam.core.model.output import Output
from q2_aam.core.model.sample_encoder import SequenceEncoder
from q2_aam.core.model.specification import ENCODER, ModelSpec
from q2_aam.core.model.stored_samples.comparison import StoredSamples
from q2_aam.core.model.stored_samples.ensemble_weights import mix
from q2_aam.core.model.target_head import (
    TargetHead,
    average_logits,
    in_order,
    means_of,
    outwards,
)
from q2_aam.core.model.tensor_shapes import N_MEANS
from q2_aam.core.options.config import ModelConfig, TrainConfig
from q2_aam.core.options.quantile_levels import MEDIAN


class SequencePredictor(TargetHead):
    """An encoder with a target: a number, its quantiles, or logits of classes.

    It reads the target itself, and has others beside it do so where answers are to be averaged.

    Parameters
    ----------
    config : ModelConfig
    n_outputs : int
        C: 1 for regression, the number of classes for classification.
    neighbours : StoredSamples, optional
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
        neighbours: StoredSamples | None = None,
        levels: tuple[float, ...] = (),
        ensemble: int = 1,
    ):
        nn.Module.__init__(self)  # the layers that read are made in their turn, below
        dim, heads = config.embedding_dim, config.attention_heads
        layers, width = config.sample_layers, len(levels) or n_outputs
        self.base_model = SequenceEncoder(config)
        self.count_encoder = Transformer(dim, heads, layers, config.dropout)
        self.abundance = nn.Linear(dim, 1)
        self.asv_scale = Standardise(dim)
        self.make_layers(config, width)
        self.mean_scale = Standardise(N_MEANS * dim)
        self.others = nn.ModuleList(TargetHead(config, width) for _ in range(ensemble - 1))
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
        output = self.base_model.summarise(batch, context, with_embedding)
        if with_abundance:
            output = replace(output, abundance=self._abundance(single, batch.mask))
        members = self._members(batch, single, context)
        output = replace(output, members=members)
        if self.categorical:
            return replace(output, target=average_logits(members))
        prediction = torch.stack(members).mean(dim=0)
        if self.median is None:
            return replace(output, target=prediction)
        return replace(output, target=prediction[:, self.median, None], quantiles=prediction)

    def predict(self, batch: Batch, asvs: Tensor | None = None) -> Tensor:
        """Give the final prediction for the samples of a batch, the samples kept included.

        The arguments are those of `forward`.

        Returns
        -------
        Tensor of shape (B, C)
            The learnt value (C = 1), or the probabilities of the classes.
        """
        return self._final(batch, asvs)[0]

    def predict_quantiles(self, batch: Batch, asvs: Tensor | None = None) -> Tensor:
        """Give the calibrated quantiles of the learnt value for the samples of a batch: [B, Q].

        The arguments are those of `forward`. The samples kept move all quantiles of a sample by
        what they move the prediction, which stays the median.
        """
        prediction, output = self._final(batch, asvs)
        moved = output.quantiles + (prediction - output.target) + self.calibration
        return outwards(moved, self.median)

    def _final(self, batch: Batch, asvs: Tensor | None) -> tuple[Tensor, Output]:
        """Return the final prediction, and the output of the network alone."""
        compares = self.neighbours is not None
        output = self(batch, asvs, with_embedding=compares, with_abundance=False)
        prediction = output.target.softmax(dim=1) if self.categorical else output.target
        if not compares:
            return prediction, output
        stored, known = self.neighbours(batch, output.embedding)
        return mix(prediction, stored, self.neighbours.info.blend * known), output

    def adapt(self, batch: Batch, asvs: Tensor) -> None:
        """Set the scale of what the target is read from by what these samples have."""
        with torch.no_grad():
            single, context = self.base_model.read(batch, asvs)
            self.asv_scale.fit((single + context)[batch.counts > 0])
            self.mean_scale.fit(means_of(batch, single, context))

    def _abundance(self, single: Tensor, mask: Tensor | None) -> Tensor:
        logits = self.abundance(self.count_encoder(single, mask)).squeeze(-1)
        return logits if mask is None else logits.masked_fill(~mask, float("-inf"))

    def _members(self, batch: Batch, single: Tensor, context: Tensor) -> tuple[Tensor, ...]:
        asvs = self.asv_scale(single + context)
        means = self.mean_scale(means_of(batch, single, context))
        output = [each.predict_target(asvs, batch.mask, means) for each in (self, *self.others)]
        if self.median is not None:
            output = [in_order(raw, self.median) for raw in output]
        return tuple(output)


def build(spec: ModelSpec) -> nn.Module:
    """Make the model of a specification, with random weights."""
    if spec.kind == ENCODER:
        return SequenceEncoder(spec.model)
    kept = spec.neighbours and StoredSamples(spec.neighbours, spec.model.embedding_dim)
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
