"""Running a model whose weights stand still: each distinct ASV is encoded once.

Shapes: F features of a table, N samples, D embedding width.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from q2_aam.core.dataset import BatchDataset, plan_batches
from q2_aam.core.model import Output
from q2_aam.core.table import SampleTable

ASVS_AT_A_TIME = 64
SAMPLES_AT_A_TIME = 32


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """Switch dropout and gradients off for a while."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def encode_asvs(model: nn.Module, table: SampleTable) -> Tensor:
    """Encode each feature of a table that occurs in its samples.

    Returns
    -------
    Tensor of shape (F, D), float32
        On the model's device; rows of features that do not occur are zero. It takes
        4 · F · D bytes.
    """
    encoder = model.base_model.asv_encoder
    device = encoder.position.device
    lengths = torch.from_numpy(table.read_lengths)
    seen = torch.zeros(len(lengths), dtype=torch.bool)
    seen[torch.from_numpy(table.counts.indices).long()] = True
    features = torch.nonzero(seen).squeeze(1)
    features = features[lengths[features].argsort(stable=True)]
    tokens = torch.from_numpy(table.tokens)
    encoded = torch.zeros(len(lengths), encoder.position.shape[1], device=device)
    with at_rest(model):
        for chunk in features.split(ASVS_AT_A_TIME):
            longest = int(lengths[chunk].max())
            encoded[chunk.to(device)] = encoder(tokens[chunk, :longest].to(device)).float()
    return encoded


def outputs(
    model: nn.Module, table: SampleTable, data, *, with_embedding: bool
) -> Iterator[tuple[Tensor, Output]]:
    """Run a model over all samples of a table.

    Parameters
    ----------
    model : SequenceEncoder or SequencePredictor
    table : SampleTable
    data : DataConfig
        How samples above the token limit are cut.
    with_embedding : bool
        Also embed the samples.

    Yields
    ------
    rows : Tensor of int64
        Which samples, in the order of the output.
    output : Output
    """
    asvs = encode_asvs(model, table)
    plan = plan_batches(table.richness, SAMPLES_AT_A_TIME)
    with at_rest(model):
        for batch in BatchDataset(table, plan, data):
            batch = batch.to(asvs.device)
            yield batch.rows.cpu(), model(batch, asvs[batch.asvs], with_embedding=with_embedding)


def embed(model: nn.Module, table: SampleTable, data) -> Tensor:
    """Embed the samples of a table: [N, D], on the processor."""
    return _gather(
        (rows, output.embedding)
        for rows, output in outputs(model, table, data, with_embedding=True)
    )


def predict(model: nn.Module, table: SampleTable, data) -> Tensor:
    """Predict the target of the samples of a table: [N, C], on the processor."""
    return _gather(
        (rows, output.target) for rows, output in outputs(model, table, data, with_embedding=False)
    )


def _gather(parts) -> Tensor:
    """Bring results of batches back into the order of the table."""
    rows, values = zip(*parts, strict=True)
    return torch.cat([part.float().cpu() for part in values])[torch.cat(rows).argsort()]
