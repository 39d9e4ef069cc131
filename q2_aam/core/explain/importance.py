"""Looking into a model: embeddings of samples and ASVs, distances, what drives predictions.

As in `q2_aam.core.api`, tables are `biom.Table`, results pandas and scikit-bio objects.
"""

import logging
from dataclasses import dataclass

import biom
import numpy as np
import pandas as pd
import skbio
import torch
from scipy.sparse import csr_matrix

from q2_aam.core.api import Sequences, module_of, read_sequences, samples_for
from q2_aam.core.artifact.storage import SavedModel
from q2_aam.core.data.metadata import with_values
from q2_aam.core.data.sample_table import SampleTable, sample_table
from q2_aam.core.explain import attribution
from q2_aam.core.model import inference
from q2_aam.core.model.specification import CLASSIFIER, ENCODER

log = logging.getLogger(__name__)

BLOCK_NUMBERS = 2**24
"""Numbers of the largest array that distances are computed through, 64 MiB."""


def embed(
    table, model: SavedModel, *, sequences: Sequences = None, device: str = "auto"
) -> tuple[pd.DataFrame, skbio.DistanceMatrix]:
    """Embed samples, and predict the UniFrac distances among them.

    Parameters
    ----------
    table : biom.Table
        Counts of ASVs in samples; the ASVs need not have been in training.
    model : SavedModel
        Of any kind.
    sequences : mapping or path, optional
        As in training.
    device : {'auto', 'cpu', 'cuda'}

    Returns
    -------
    embeddings : DataFrame of shape (n_samples, D)
        Samples without reads are left out, with a warning.
    distances : skbio.DistanceMatrix
        Predicted UniFrac; Euclidean distances if the model has not learnt it, with a warning. It
        takes 8 · n_samples² bytes.
    """
    samples = samples_for(model, table, sequences)
    module = module_of(model, device)
    embeddings = inference.embed(module, samples, model.spec.data)
    distances = _distances(module.base_model.cpu(), embeddings)
    return (
        _vectors(embeddings, samples.sample_ids, "sample-id"),
        skbio.DistanceMatrix(distances, list(samples.sample_ids)),
    )


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


def embed_features(
    model: SavedModel, *, table=None, sequences: Sequences = None, device: str = "auto"
) -> pd.DataFrame:
    """Embed ASVs by themselves, outside of any sample.

    Parameters
    ----------
    model : SavedModel
        Of any kind.
    table : biom.Table, optional
        Embed the features of this table, whose ids are sequences unless `sequences` are given.
    sequences : mapping or path, optional
        Without a table, all of these are embedded.
    device : {'auto', 'cpu', 'cuda'}

    Returns
    -------
    DataFrame of shape (n_features, D)
        Equal sequences have equal vectors.

    Raises
    ------
    ValueError
        If neither a table nor sequences are given.
    """
    known = read_sequences(sequences)
    if table is None:
        if not known:
            raise ValueError("There is nothing to embed: give a table, sequences, or both.")
        names = list(known)
        table = biom.Table(np.ones((len(names), 1)), names, ["all"])
    features = sample_table(table, known, model.spec.model.max_bp)
    vectors = inference.encode_asvs(module_of(model, device), features).cpu()
    return _vectors(vectors, features.feature_ids, "feature-id")


def _vectors(values, ids, axis) -> pd.DataFrame:
    columns = [f"embedding-{i}" for i in range(1, values.shape[1] + 1)]
    return pd.DataFrame(values.double().numpy(), index=pd.Index(ids, name=axis), columns=columns)


@dataclass(frozen=True)
class Importance:
    """What drives the predictions of a model.

    Parameters
    ----------
    importance : DataFrame of shape (n_features, 1 or n_groups)
        Mean over the samples of how far a feature moves the prediction, up or down.
    mean_effects : DataFrame of shape (n_features, 1 or n_groups)
        Mean over the samples of how a feature moves the prediction, with its sign.
    sample_effects : biom.Table of shape (n_features, n_samples)
        The same of each sample.
    """

    importance: pd.DataFrame
    mean_effects: pd.DataFrame
    sample_effects: biom.Table


def importance(
    table,
    model: SavedModel,
    *,
    sequences: Sequences = None,
    groups: pd.Series | None = None,
    missing_samples: str = "error",
    method: str = "occlusion",
    target_class: str | None = None,
    max_features: int = 100,
    steps: int = 32,
    device: str = "auto",
) -> Importance:
    """Find the ASVs that drive a model's predictions.

    Parameters
    ----------
    table : biom.Table
        Counts of ASVs in samples.
    model : SavedModel
        Of kind SequenceRegressor or SequenceClassifier.
    sequences : mapping or path, optional
        As in training.
    groups : Series, optional
        Group by sample id: means are taken in each group by itself.
    missing_samples : {'error', 'ignore'}
        What to do with samples that have no group.
    method : {'occlusion', 'integrated-gradients'}
        See `q2_aam.core.explain.attribution`.
    target_class : str, optional
        Class whose log-odds are explained; otherwise of each sample the class predicted for it.
    max_features : int
        Occlusion only: ASVs that are taken away from each sample; 0 is all.
    steps : int
        Integrated gradients only: points of the integral.
    device : {'auto', 'cpu', 'cuda'}

    Returns
    -------
    Importance

    Raises
    ------
    ValueError
        If the input or an option cannot be used; the message says what to do.
    """
    question = _question(model, target_class)
    samples = samples_for(model, table, sequences)
    if groups is not None:
        groups = with_values(samples.sample_ids, groups, missing_samples).astype(str)
        samples = samples.select(groups.index)
    samples = samples.observed()
    module = module_of(model, device).requires_grad_(False)
    if method == "occlusion":
        effects = attribution.occlude(module, samples, model.spec.data, question, max_features)
    elif method == "integrated-gradients":
        effects = attribution.integrate_gradients(
            module, samples, model.spec.data, question, steps
        )
    else:
        raise ValueError(
            f"method must be 'occlusion' or 'integrated-gradients', found {method!r}."
        )
    return Importance(
        _means(abs(effects), samples, groups, "importance"),
        _means(effects, samples, groups, "mean_effect"),
        biom.Table(effects.T, samples.feature_ids, samples.sample_ids),
    )


def _question(model: SavedModel, target_class: str | None) -> attribution.Question:
    if model.spec.kind == ENCODER:
        raise ValueError(
            "The model is a SequenceEncoder, which predicts no metadata: train it on a column "
            "first (train-regressor, train-classifier)."
        )
    if model.spec.kind != CLASSIFIER:
        if target_class is not None:
            raise ValueError(
                f"target_class is {target_class!r}, but the model predicts a number "
                f"('{model.spec.target.column}'): leave it out."
            )
        return attribution.Question(model.spec.target)
    classes = model.spec.target.classes
    if target_class is not None and target_class not in classes:
        raise ValueError(
            f"target_class {target_class!r} is not one of the model's classes: "
            f"{', '.join(classes)}."
        )
    return attribution.Question(
        None, None if target_class is None else classes.index(target_class)
    )


def _means(
    effects: csr_matrix, samples: SampleTable, groups: pd.Series | None, name: str
) -> pd.DataFrame:
    """Average effects (N, F) over the samples, or over those of each group."""
    if groups is None:
        parts = {name: np.arange(samples.n_samples)}
    else:
        labels = groups.to_numpy()
        parts = {label: np.flatnonzero(labels == label) for label in sorted(set(labels))}
    means = {
        label: np.asarray(effects[rows].mean(axis=0)).ravel() for label, rows in parts.items()
    }
    return pd.DataFrame(means, index=pd.Index(samples.feature_ids, name="feature-id"))
