"""A batch that goes through the model in parts, so that no more is kept than there is memory for.

Shapes: B samples, U distinct ASVs of the batch, D embedding width.
"""

import logging
from dataclasses import fields, replace

import torch
from torch import Tensor, nn

from q2_aam.core.data.mini_batches import Batch, part_of
from q2_aam.core.model.layers import recomputed
from q2_aam.core.model.output import Output
from q2_aam.core.model.predictor import SequencePredictor, save_memory
from q2_aam.core.options.config import TrainConfig
from q2_aam.core.training.memory import Cut, Layers, Size, fitting_cut, step_memory

log = logging.getLogger(__name__)


class FittingModel:
    """Applies a model to batches, and cuts those that would take more memory than is free.

    How a batch is cut depends on its size and on the free memory alone. Losses are of the whole
    batch, so samples, masks and weights are the same with any cut.

    Parameters
    ----------
    model : SequenceEncoder or SequencePredictor
    config : TrainConfig
    free : float
        GiB that a step may take.
    number : float
        Bytes of a number.
    """

    def __init__(self, model: nn.Module, config: TrainConfig, free: float, number: float):
        self.model, self.config, self.free, self.number = model, config, free, number
        self.layers = Layers.of_model(model)
        self.cut = Cut(config.asv_chunk_size)
        self._said = {self.cut}

    def __call__(self, batch: Batch, asvs: Tensor | None = None, **wanted) -> Output:
        """Return what the model says of a batch; the arguments are those of its `forward`."""
        if wanted.get("encoded") is not None:  # then there is little to keep
            return self.model(batch, asvs, **wanted)
        self._prepare(Size.of(batch))
        if self.cut.parts == 1:
            return self.model(batch, asvs, **wanted)
        return in_parts(self.model, batch, asvs, self.cut.parts, **wanted)

    def _prepare(self, size: Size) -> None:
        cut = fitting_cut(self.layers, size, self.config, self.free, self.number)
        if cut.chunk != self.cut.chunk:
            save_memory(self.model, replace(self.config, asv_chunk_size=cut.chunk))
        self.cut = cut
        if cut not in self._said:
            self._said.add(cut)
            self._say(size, cut)

    def _say(self, size: Size, cut: Cut) -> None:
        whole, parts = (
            step_memory(
                self.layers, size, how,
                recomputes=self.config.gradient_checkpointing, number=self.number,
            )
            for how in (Cut(self.config.asv_chunk_size), cut)
        )  # fmt: skip
        log.info(
            "A mini-batch of %d samples and %d ASVs would take about %.1f GiB of memory, and %.1f "
            "GiB are free. So it is computed in parts: %s. It then takes about %.1f GiB%s.",
            size.samples, size.distinct, whole, self.free, _named(size, cut), parts,
            ", and the result is the same" if parts <= self.free else ", which is still too much",
        )  # fmt: skip


def _named(size: Size, cut: Cut) -> str:
    named = []
    if cut.chunk is not None and cut.chunk < size.distinct:
        named.append(f"{cut.chunk} ASVs at a time")
    if cut.parts > 1:
        named.append(f"{-(-size.samples // cut.parts)} samples at a time")
    return ", ".join(named)


def in_parts(model: nn.Module, batch: Batch, asvs: Tensor | None, parts: int, **wanted) -> Output:
    """Apply a model to a batch, some samples at a time, and once more for the gradient.

    The networks that predict a target see the whole batch: they keep little.

    Parameters
    ----------
    model : SequenceEncoder or SequencePredictor
    batch : Batch
    asvs : Tensor of shape (U, D), optional
        Embeddings of its distinct ASVs, if they are at hand.
    parts : int
        If there are more than samples, each is one.
    **wanted
        What `forward` is asked for beside.

    Returns
    -------
    Output
        As of the whole batch.
    """
    reader = model.base_model.asv_encoder
    if asvs is None:
        asvs = reader(batch.tokens)
    nucleotides = None
    if batch.masked_of is not None:
        nucleotides = reader.restore_masked(batch.tokens[batch.masked_of], batch.masked_at)
    predicts = isinstance(model, SequencePredictor)
    encoder, options = model, wanted
    if predicts:
        encoder = model.encode
        options = {"with_abundance": wanted.get("with_abundance", True)}
    whole, said = batch, []
    batch = replace(batch, unifrac=None, reference=None, target=None)
    places = torch.arange(len(batch), device=batch.rows.device)
    for samples in places.tensor_split(min(parts, len(batch))):
        part = part_of(batch, samples)
        if torch.is_grad_enabled():
            said.append(recomputed(_apply, asvs, encoder, part, options))
        else:
            said.append(encoder(part, asvs, **options))
    encoded = replace(_joined(said), nucleotides=nucleotides)
    return model(whole, asvs, **(wanted | {"encoded": encoded})) if predicts else encoded


def _apply(asvs, encoder, part, options) -> Output:
    return encoder(part, asvs, **options)


def _joined(parts: list[Output]) -> Output:
    """Put together what was said of samples, in their order."""
    joined = {}
    for field in fields(Output):
        values = [getattr(part, field.name) for part in parts]
        if isinstance(values[0], Tensor):
            joined[field.name] = torch.cat(values)
        elif values[0]:
            joined[field.name] = tuple(torch.cat(each) for each in zip(*values, strict=True))
    return Output(**joined)
