"""Embeddings of samples and of ASVs, and the distances among samples.

Shapes: N samples, F features, D embedding width.
"""

import logging

import numpy as np
import pandas as pd
import skbio
import torch
from torch import nn

from q2_aam.core.data.sample_table import SampleTable
from q2_aam.core.model import inference
from q2_aam.core.options.config import DataConfig

log = logging.getLogger(__name__)

BLOCK_NUMBERS = 2**24
"""Numbers of the largest array that distances are computed through, 64 MiB."""


def embed_samples(
    model: nn.Module, samples: SampleTable, data: DataConfig
) -> tuple[pd.DataFrame, skbio.DistanceMatrix]:
    """Embed samples, and predict the UniFrac distances among them.

    Parameters
    ----------
    model : SequenceEncoder or SequencePredictor
    samples : SampleTable
    data : DataConfig
        How samples above the token limit are cut.

    Returns
    -------
    embeddings : DataFrame of shape (N, D)
    distances : skbio.DistanceMatrix
        Predicted UniFrac; Euclidean distances if the model has not learnt it, with a warning. It
        takes 8 · N² bytes.
    """
    embeddings = inference.embed(model, samples, data)
    distances = _distances(model.base_model.cpu(), embeddings)
    return (
        _vectors(embeddings, samples.sample_ids, "sample-id"),
        skbio.DistanceMatrix(distances, list(samples.sample_ids)),
    )


def embed_asvs(model: nn.Module, features: SampleTable) -> pd.DataFrame:
    """Embed the features of a table by themselves, outside of any sample: (F, D)."""
    vectors = inference.encode_asvs(model, features).cpu()
    return _vectors(vectors, features.feature_ids, "feature-id")


def _distances(base, embeddings) -> np.ndarray:
    """Return distances (N, N) among embeddings (N, D), the diagonal being exactly zero."""
    n, dim = embeddings.shape
    side = max(1, int((BLOCK_NUMBERS / dim) ** 0.5))
    # It is set when UniFrac begins to be learnt, and stays zero otherwise.
    knows_unifrac = bool(base.log_scale != 0)
    if not knows_unifrac:
        log.warning(
            "The model has not learnt UniFrac (it was trained with faith_pd, penalty 0 or no "
            "phylogeny), so distances are Euclidean distances between embeddings."
        )
    measure = base.distance if knows_unifrac else torch.cdist
    result = np.zeros((n, n))
    with torch.no_grad():
        for i in range(0, n, side):
            for j in range(i, n, side):
                a, b = slice(i, i + side), slice(j, j + side)
                result[a, b] = measure(embeddings[a], embeddings[b]).numpy()
                result[b, a] = result[a, b].T
            block = result[i : i + side, i : i + side]
            block[:] = (block + block.T) / 2
    np.fill_diagonal(result, 0)
    return np.maximum(result, 0, out=result)


def _vectors(values, ids, axis) -> pd.DataFrame:
    columns = [f"embedding-{i}" for i in range(1, values.shape[1] + 1)]
    return pd.DataFrame(values.double().numpy(), index=pd.Index(ids, name=axis), columns=columns)
