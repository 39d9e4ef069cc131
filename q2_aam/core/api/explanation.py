"""Looking into a model: embeddings, and the ASVs that drive predictions."""

import biom
import numpy as np
import pandas as pd
import skbio

from q2_aam.core.api.ensembles import averaged, explained_together, mean
from q2_aam.core.data.sample_table import sample_table
from q2_aam.core.data.sequences import Sequences, read_sequences
from q2_aam.core.data.splits.grouped_split import with_groups
from q2_aam.core.explain import embeddings
from q2_aam.core.explain import prediction_input as inputs
from q2_aam.core.explain.importance import (
    Importance,
    ImportanceConfig,
    measure_importance,
    question_of,
)
from q2_aam.core.explain.prediction_input import input_of_encoder, module_of, prediction_input
from q2_aam.core.model.trained_model import Ensemble, TrainedModel, with_one_encoder

known_reads = averaged(mean)(inputs.known_reads)


def embed(
    table, model: TrainedModel | Ensemble, *, sequences: Sequences = None, device: str = "auto"
) -> tuple[pd.DataFrame, skbio.DistanceMatrix]:
    """Embed samples, and predict the UniFrac distances between them.

    Parameters
    ----------
    table : biom.Table
        Counts of ASVs in samples. The ASVs may be new to the model.
    model : TrainedModel or Ensemble
        Of any kind. The members of an ensemble must have the same encoder.
    sequences : mapping or path, optional
        As in training.
    device : {'auto', 'cpu', 'cuda', 'mps'}

    Returns
    -------
    embeddings : DataFrame of shape (n_samples, D)
        Samples without reads are left out, with a warning.
    distances : skbio.DistanceMatrix
        Predicted UniFrac; Euclidean distances if the model has not learnt it, with a warning. It
        takes 8 · n_samples² bytes.
    """
    model = with_one_encoder(model)
    samples, module = input_of_encoder(model, table, sequences, device)
    return embeddings.embed_samples(module, samples, model.spec.data)


def embed_features(
    model: TrainedModel | Ensemble,
    *,
    table=None,
    sequences: Sequences = None,
    device: str = "auto",
) -> pd.DataFrame:
    """Embed ASVs from their sequences alone.

    Parameters
    ----------
    model : TrainedModel or Ensemble
        Of any kind. The members of an ensemble must have the same encoder.
    table : biom.Table, optional
        Embed the features of this table, whose ids are sequences unless `sequences` are given.
    sequences : mapping or path, optional
        Without a table, all of these are embedded.
    device : {'auto', 'cpu', 'cuda', 'mps'}

    Returns
    -------
    DataFrame of shape (n_features, D)
        Equal sequences have equal vectors.

    Raises
    ------
    ValueError
        If neither a table nor sequences are given.
    """
    model, known = with_one_encoder(model), read_sequences(sequences)
    if table is None:
        if not known:
            raise ValueError("There is nothing to embed: give a table, sequences, or both.")
        names = list(known)
        table = biom.Table(np.ones((len(names), 1)), names, ["all"])
    features = sample_table(table, known, model.spec.model.max_bp)
    return embeddings.embed_asvs(module_of(model, device), features)


@explained_together
def importance(
    table,
    model: TrainedModel | Ensemble,
    *,
    sequences: Sequences = None,
    covariates: pd.DataFrame | None = None,
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
    model : TrainedModel or Ensemble
        Of kind SequenceRegressor or SequenceClassifier. The effects of an ensemble are the means
        of those of its members; of classifiers, it needs a `target_class`.
    sequences : mapping or path, optional
        As in training.
    covariates : pandas.DataFrame, optional
        As for prediction.
    groups : Series, optional
        Group by sample id. There is a mean for each group.
    missing_samples : {'error', 'ignore'}
        What to do with samples that have no group.
    method : {'occlusion', 'integrated-gradients'}
        See `q2_aam.core.explain.attribution`.
    target_class : str, optional
        Explain the log-odds of this class. By default, explain the predicted class of each sample.
    max_features : int
        Occlusion only: number of ASVs to take away from each sample. 0 takes all.
    steps : int
        Integrated gradients only: points of the integral.
    device : {'auto', 'cpu', 'cuda', 'mps'}

    Returns
    -------
    Importance

    Raises
    ------
    ValueError
        If the input or an option cannot be used; the message says what to do.
    """
    question = question_of(model.spec, target_class)
    config = ImportanceConfig(method, max_features, steps)
    samples, module = prediction_input(model, table, sequences, device, covariates)
    if groups is not None:
        ids, groups = with_groups(samples.sample_ids, groups, missing_samples)
        samples = samples.select(ids)
    module.requires_grad_(False)
    return measure_importance(
        module, samples.observed(), model.spec.data, question, config, groups
    )
