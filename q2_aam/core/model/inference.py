"""Running a model whose weights stand still: each distinct ASV is encoded once.

Shapes: F features of a table, N samples, D embedding width.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from q2_aam.core.data import progress
from q2_aam.core.data.mini_batches import Batch, BatchDataset, plan_batches
from q2_aam.core.data.sample_table import SampleTable
from q2_aam.core.model.learnt_comparison import Occurrences
from q2_aam.core.options.config import DataConfig

ASVS_AT_A_TIME = 64
SAMPLES_AT_A_TIME = 32
PREDICTING, EMBEDDING = "Predicting samples", "Embedding samples"


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Switch dropout and gradients off for a while."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def encode_asvs(model: nn.Module, table: SampleTable, *, unseen: bool = False) -> Tensor:
    """Encode each feature of a table that occurs in its samples.

    Parameters
    ----------
    model : SequenceEncoder or SequencePredictor
    table : SampleTable
    unseen : bool
        Encode the features that no sample has, too.

    Returns
    -------
    Tensor of shape (F, D), float32
        On the model's device; rows of features that do not occur are zero. It takes
        4 · F · D bytes.
    """
    encoder = model.base_model.asv_encoder
    device = encoder.position.device
    lengths = torch.from_numpy(table.read_lengths)
    seen = torch.full((len(lengths),), unseen)
    seen[torch.from_numpy(table.counts.indices).long()] = True
    features = torch.nonzero(seen).squeeze(1)
    features = features[lengths[features].argsort(stable=True)]
    tokens = torch.from_numpy(table.tokens)
    encoded = torch.zeros(len(lengths), encoder.position.shape[1], device=device)
    with evaluation_mode(model), progress.part("Encoding ASVs", len(features)) as done:
        for chunk in features.split(ASVS_AT_A_TIME):
            longest = int(lengths[chunk].max())
            encoded[chunk.to(device)] = encoder(tokens[chunk, :longest].to(device)).float()
            done(len(chunk))
    return encoded


def batches(
    model: nn.Module,
    table: SampleTable,
    data: DataConfig,
    what: str,
    asvs: Tensor | None = None,
) -> Iterator[tuple[Batch, Tensor]]:
    """Go through all samples of a table, with the embeddings of their ASVs.

    Parameters
    ----------
    model : SequenceEncoder or SequencePredictor
    table : SampleTable
    data : DataConfig
        How samples above the token limit are cut.
    what : str
        What is done with the samples, to show how far it is.
    asvs : Tensor of shape (F, D), optional
        What `encode_asvs` returns, if it is at hand.

    Yields
    ------
    batch : Batch
        On the model's device.
    asvs : Tensor of shape (U, D)
        What the model takes beside it.
    """
    if asvs is None:
        asvs = encode_asvs(model, table)
    plan = plan_batches(table.richness, SAMPLES_AT_A_TIME)
    with progress.part(what, table.n_samples) as done:
        for batch in BatchDataset(table, plan, data):
            batch = batch.to(asvs.device)
            yield batch, asvs[batch.asvs]
            done(len(batch))


def place(model: nn.Module, table: SampleTable, data: DataConfig) -> tuple[Tensor, Tensor]:
    """Embed the samples of a table, and bring them to their places in the networks' spaces.

    Returns
    -------
    embeddings : Tensor of shape (N, D)
    places : Tensor of shape (N, M · Z)
        The places in the spaces of all networks, side by side. Both are on the processor.
    """
    rows, embeddings, places = [], [], []
    with evaluation_mode(model):
        for batch, asvs in batches(model, table, data, EMBEDDING):
            embedding = model.base_model(batch, asvs).embedding
            samples = Occurrences.of(batch, model.numbers_of(batch))
            place = model.places_of(samples, asvs, embedding)
            rows.append(batch.rows)
            embeddings.append(embedding)
            places.append(place.transpose(0, 1).flatten(1))
    return tuple(_gather(zip(rows, parts, strict=True)) for parts in (embeddings, places))


def embed(
    model: nn.Module, table: SampleTable, data: DataConfig, asvs: Tensor | None = None
) -> Tensor:
    """Embed the samples of a table: [N, D], on the processor; ASVs as for `batches`."""
    with evaluation_mode(model):
        return _gather(
            (batch.rows, model.base_model(batch, own).embedding)
            for batch, own in batches(model, table, data, EMBEDDING, asvs)
        )


def predict(model: nn.Module, table: SampleTable, data: DataConfig) -> Tensor:
    """Predict the target of the samples of a table: [N, C], on the processor.

    C is 1 for a learnt value, otherwise there is a probability for each class.
    """
    with evaluation_mode(model):
        return _gather(
            (batch.rows, model.predict(batch, asvs))
            for batch, asvs in batches(model, table, data, PREDICTING)
        )


def predict_quantiles(model: nn.Module, table: SampleTable, data: DataConfig) -> Tensor:
    """Predict the quantiles of the learnt value for the samples of a table: [N, Q].

    On the processor; the model is a `SequencePredictor` that has learnt quantiles.
    """
    with evaluation_mode(model):
        return _gather(
            (batch.rows, model.predict_quantiles(batch, asvs))
            for batch, asvs in batches(model, table, data, PREDICTING)
        )


def _gather(parts) -> Tensor:
    """Bring results of batches back into the order of the table."""
    rows, values = zip(*parts, strict=True)
    order = torch.cat([part.cpu() for part in rows]).argsort()
    return torch.cat([part.float().cpu() for part in values])[order]
