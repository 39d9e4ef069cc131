"""The actions that look into a model: QIIME 2 views in, one call of the core, views out."""

import biom
import numpy as np
import pandas as pd
import qiime2
import skbio
from q2_types.feature_data import DNAFASTAFormat

from q2_aam.actions.reports import reporting
from q2_aam.actions.views import all_columns_of, groups_of, load_model, path_of, saved
from q2_aam.core.artifact.ensemble_directory import is_ensemble
from q2_aam.core.explain.questions import class_asked_about
from q2_aam.types.models import AAMModelDirectoryFormat


def embed(
    table: biom.Table,
    model: AAMModelDirectoryFormat,
    sequences: DNAFASTAFormat = None,
    device: str = "auto",
) -> (pd.DataFrame, skbio.DistanceMatrix):
    """Embed samples, and predict distances among them."""
    with reporting():
        from q2_aam.core import api

        return api.embed(table, load_model(model), sequences=path_of(sequences), device=device)


def embeddings_table(embeddings: pd.DataFrame) -> biom.Table:
    """Write embeddings as a table without negative numbers, for q2-sample-classifier.

    Each dimension becomes two features: the part above zero and the part below zero, without its
    sign. Their difference is the embedding, to the last digit. A shift would depend on the samples
    of the table, so that a model could not be used on the samples of another.
    """
    values = embeddings.to_numpy().T  # (dimensions, samples)
    parts = np.concatenate([np.maximum(values, 0), np.maximum(-values, 0)])
    features = [f"{name}-{sign}" for sign in ("positive", "negative") for name in embeddings]
    return biom.Table(parts, features, list(embeddings.index))


def embed_features(
    model: AAMModelDirectoryFormat,
    table: biom.Table = None,
    sequences: DNAFASTAFormat = None,
    device: str = "auto",
) -> pd.DataFrame:
    """Embed ASVs by themselves."""
    with reporting():
        from q2_aam.core import api

        return api.embed_features(
            load_model(model), table=table, sequences=path_of(sequences), device=device
        )


def importance(
    table: biom.Table,
    model: AAMModelDirectoryFormat,
    sequences: DNAFASTAFormat = None,
    covariates: qiime2.Metadata = None,
    groups: qiime2.MetadataColumn = None,
    missing_samples: str = "error",
    method: str = "occlusion",
    target_class: str = None,  # noqa: RUF013 - QIIME 2 takes no union here
    max_features: int = 100,
    steps: int = 32,
    device: str = "auto",
) -> (pd.DataFrame, pd.DataFrame, biom.Table):
    """Find the ASVs that drive predictions."""
    if not is_ensemble(str(model)):  # whose members differ in the classes that they know
        class_asked_about(saved(model).spec, target_class)
    with reporting():
        from q2_aam.core import api

        found = api.importance(
            table,
            load_model(model),
            sequences=path_of(sequences),
            covariates=all_columns_of(covariates),
            groups=groups_of(groups),
            missing_samples=missing_samples,
            method=method,
            target_class=target_class,
            max_features=max_features,
            steps=steps,
            device=device,
        )
    return found.importance, found.mean_effects, found.sample_effects


def known_reads(
    table: biom.Table, model: AAMModelDirectoryFormat, sequences: DNAFASTAFormat = None
) -> pd.Series:
    """Say how much of each sample a model knows."""
    with reporting():
        from q2_aam.core import api

        return api.known_reads(table, load_model(model), sequences=path_of(sequences))
