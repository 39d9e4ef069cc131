"""How much memory a training step takes, and how its batch is cut so that it takes less.

The formula is that of docs/memory.md. Sizes are in GiB.
"""

import os
from dataclasses import dataclass

import torch
from torch import nn

from q2_aam.core.data.mini_batches import Batch
from q2_aam.core.model.layers import Block
from q2_aam.core.options.config import ModelConfig, TrainConfig

MEMORY_VARIABLE = "Q2_AAM_MEMORY"

LAYER = 12
"""Numbers that a layer keeps of a token for its gradient, in embedding widths."""

AROUND = 3
"""The same for what is before and after the layers: embedding, closing norm, pooling."""

WORKING = 6
"""What the gradient of a recomputed layer needs beside, of each token, in embedding widths."""

OF_A_SAMPLE = 40
"""What an ASV of a sample takes outside of the layers, in embedding widths, gradients included."""

SPARE = 0.12
"""GiB for what libraries set up at the first step, and for the optimizer of a small model."""

OF_A_PARAMETER = 12
"""Bytes for the gradient of a parameter, and for what the optimizer keeps of it."""

FULL, MIXED = 4.0, 2.5
"""Bytes of a number. In mixed precision most take 2, but what runs on from layer to layer 4."""

LEAST_CHUNK = 64
"""ASVs below which a chunk is not made smaller: it would take no less and keep no GPU busy."""

LEFT_FREE = 1.0, 0.1
"""GiB, or share if that is more, of a GPU's free memory to leave to what the formula does not
know; but never more than half."""


@dataclass(frozen=True)
class Layers:
    """What the memory of a step depends on in a model.

    Parameters
    ----------
    dim : int
        Embedding width.
    patch_size : int
        Nucleotides of a token.
    nucleotide, sample : int
        Layers of each level that learn; a level that does not keeps nothing for the gradient.
    parameters : int
        Numbers that training changes.
    """

    dim: int
    patch_size: int
    nucleotide: int
    sample: int
    parameters: int = 0

    @classmethod
    def of_config(cls, config: ModelConfig) -> "Layers":
        """Return those of an encoder in pre-training; its parameters are part of `SPARE`."""
        above = 2 * config.sample_layers
        return cls(config.embedding_dim, config.patch_size, config.attention_layers, above)

    @classmethod
    def of_model(cls, model: nn.Module) -> "Layers":
        """Count those of a model as it is about to be trained."""
        reader = model.base_model.asv_encoder
        below = _learning(reader)
        parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        dim = reader.position.shape[1]
        return cls(dim, reader.patch_size, below, _learning(model) - below, parameters)


def _learning(module: nn.Module) -> int:
    blocks = (block for block in module.modules() if isinstance(block, Block))
    return sum(next(block.parameters()).requires_grad for block in blocks)


@dataclass(frozen=True)
class Size:
    """The size of a batch.

    Parameters
    ----------
    samples : int
        Those that joined included.
    richness : int
        ASVs of the largest sample.
    distinct : int
        Distinct ASVs.
    length : int
        Nucleotides of the longest.
    """

    samples: int
    richness: int
    distinct: int
    length: int

    @classmethod
    def of(cls, batch: Batch) -> "Size":
        """Measure a batch."""
        return cls(*batch.asv_index.shape, *batch.tokens.shape)


@dataclass(frozen=True)
class Cut:
    """How a batch is cut.

    Parameters
    ----------
    chunk : int, optional
        ASVs that are encoded at a time; all of them without it.
    parts : int
        Parts of the samples that go through the layers above one after another.
    """

    chunk: int | None = None
    parts: int = 1


def step_memory(
    layers: Layers, size: Size, cut: Cut | None = None, *,
    recomputes: bool = False, number: float = FULL,
) -> float:  # fmt: skip
    """Return the most memory that a training step takes, in GiB.

    Parameters
    ----------
    layers : Layers
    size : Size
    cut : Cut, optional
    recomputes : bool
        Whether layers are computed again for the gradient (``gradient_checkpointing``).
    number : float
        Bytes of a number, `FULL` or `MIXED`.
    """
    cut = cut or Cut()
    patches = -(-size.length // layers.patch_size)
    in_samples = -(-size.samples // cut.parts) * size.richness
    kept = 0 if cut.parts == 1 else 4 * size.distinct  # embeddings of ASVs and their gradient
    largest = in_samples
    if layers.nucleotide and cut.chunk is not None and cut.chunk < size.distinct:
        # One chunk after another, each forgotten.
        kept += _kept(cut.chunk * patches, layers.nucleotide, recomputes=False)
    elif layers.nucleotide:
        with_copies = size.distinct + size.distinct // 4
        kept += _kept(with_copies * patches, layers.nucleotide, recomputes)
        largest = max(largest, size.distinct * patches)
    kept += _kept(in_samples, layers.sample, recomputes) + OF_A_SAMPLE * in_samples
    kept += (LAYER + WORKING) * largest if recomputes else 0
    return SPARE + (number * layers.dim * kept + OF_A_PARAMETER * layers.parameters) / 2**30


def _kept(tokens: int, n_layers: int, recomputes: bool) -> int:
    return tokens * (n_layers * (1 if recomputes else LAYER) + AROUND)


def fitting_cut(
    layers: Layers, size: Size, config: TrainConfig, free: float, number: float = FULL
) -> Cut:
    """Return the coarsest cut with which a step fits.

    The nucleotide level takes most, so its ASVs are divided first: into chunks of a power of two.
    If that is not enough, the samples are divided into two, four, eight parts and so on.

    Parameters
    ----------
    layers : Layers
    size : Size
    config : TrainConfig
        Its ``asv_chunk_size`` is the largest chunk, its ``gradient_checkpointing`` counts.
    free : float
        GiB that the step may take.
    number : float
        Bytes of a number.

    Returns
    -------
    Cut
        The finest if none fits.
    """
    cuts = [Cut(config.asv_chunk_size)]
    if layers.nucleotide:
        chunk = min(size.distinct, config.asv_chunk_size or size.distinct)
        while chunk > LEAST_CHUNK:
            chunk = 2 ** ((chunk - 1).bit_length() - 1)  # the next smaller power of two
            cuts.append(Cut(chunk))
    while cuts[-1].parts < size.samples:
        cuts.append(Cut(cuts[-1].chunk, min(2 * cuts[-1].parts, size.samples)))
    recomputes = config.gradient_checkpointing
    fits = (c for c in cuts if step_memory(layers, size, c, recomputes=recomputes, number=number)
            <= free)  # fmt: skip
    return next(fits, cuts[-1])


def memory_for_a_step(device: torch.device) -> float | None:
    """Return the memory that a training step may take on a device, in GiB.

    It is that of the environment variable Q2_AAM_MEMORY; without it, what is free of a GPU that
    says so, less some to spare.

    Returns
    -------
    float or None
        None where it is not known: then batches are not cut.

    Raises
    ------
    ValueError
        If Q2_AAM_MEMORY is not a number above 0.
    """
    given = os.environ.get(MEMORY_VARIABLE, "").strip()
    if given:
        return _gib(given)
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    gib = (free + held) / 2**30
    left, share = LEFT_FREE
    return max(gib - max(left, share * gib), gib / 2)


def _gib(given: str) -> float:
    try:
        gib = float(given)
    except ValueError:
        gib = 0.0
    if not 0 < gib < float("inf"):
        raise ValueError(
            f"Q2_AAM_MEMORY is '{given}', which is not a number above 0: set it to the GiB "
            "that a training step may take, 6 for example, or remove it."
        )
    return gib
