"""Making models: pre-training, and training on a metadata column."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from q2_aam.core.artifact.shipped import encoder as shipped
from q2_aam.core.data import messages
from q2_aam.core.data.metadata import check_numbers, with_values
from q2_aam.core.data.sample_table import sample_table
from q2_aam.core.data.sequences import Sequences
from q2_aam.core.data.splits.grouped_split import with_groups
from q2_aam.core.data.splits.roles import (
    NO_GROUP,
    NO_METADATA,
    NO_VALUE,
    NO_WEIGHT,
    left_out,
)
from q2_aam.core.explain.training_start import fitting_samples
from q2_aam.core.model.covariates import read_covariates
from q2_aam.core.model.specification import CLASSIFIER, ENCODER, REGRESSOR
from q2_aam.core.model.trained_model import Ensemble, TrainedModel, with_one_encoder
from q2_aam.core.training.preparation.phylogenetic_targets import drop_missing_features
from q2_aam.core.training.preparation.run_input import RunInput
from q2_aam.core.training.preparation.run_settings import settings_of, with_depth
from q2_aam.core.training.preparation.target_values import check_values
from q2_aam.core.training.preparation.weighting import read_weighting
from q2_aam.core.training.run import Monitor, train

NO_MONITOR = Monitor()


@messages.keeps_warnings
def pretrain(
    table,
    phylogeny: str | Path,
    *,
    sequences: Sequences = None,
    encoder: TrainedModel | Ensemble | None = None,
    reference_ids: Sequence[str] | None = None,
    groups: pd.Series | None = None,
    missing_samples: str = "error",
    monitor: Monitor = NO_MONITOR,
    **options,
) -> TrainedModel:
    """Train an encoder of samples without labels, on UniFrac distances and masked nucleotides.

    Parameters
    ----------
    table : biom.Table
        Counts of ASVs in samples.
    phylogeny : path
        Rooted tree of the ASVs, Newick with branch lengths.
    sequences : mapping or path, optional
        Sequence of each feature, or a FASTA file; not needed if the feature ids are sequences.
    encoder : TrainedModel or Ensemble, optional
        Continue from this model; its architecture is kept.
    reference_ids : sequence of str, optional
        The reference samples. By default, they are drawn at random.
    groups : pandas.Series, optional
        Group by sample id, such as the person. Validation samples are whole groups.
    missing_samples : {'error', 'ignore'}
        What to do with samples that have no group.
    monitor : Monitor
    **options
        See `ModelConfig`, `DataConfig`, `UniFracConfig` and `TrainConfig`.

    Returns
    -------
    TrainedModel
        Of kind SequenceEncoder.

    Raises
    ------
    ValueError
        If the input or an option cannot be used; the message says what to do.
    """
    encoder = with_one_encoder(encoder)
    settings = settings_of(ENCODER, options, encoder)
    samples = sample_table(table, sequences, settings.model.max_bp, chosen=encoder is None)
    given = samples.sample_ids
    ids, groups = with_groups(given, groups, missing_samples)
    out = left_out(given, {NO_GROUP: ids})
    samples = drop_missing_features(samples.select(ids), str(phylogeny), settings)
    settings = with_depth(settings, samples.depths)
    start = str(phylogeny), encoder, reference_ids, groups
    return train(RunInput(ENCODER, settings, samples, None, *start, left_out=out), monitor)


def train_regressor(table, target: pd.Series, **arguments) -> TrainedModel:
    """Train a model that predicts a numeric metadata column.

    Parameters
    ----------
    table : biom.Table
        Counts of ASVs in samples.
    target : pandas.Series
        Numbers by sample id; the name is the column's.
    **arguments
        Those of `_train`: encoder, phylogeny, sequences, reference_ids, groups, covariates,
        weights, balance, missing_samples, monitor, and the options of `RegressionConfig` and of
        pre-training. Without encoder and phylogeny, training starts as `explain.training_start`
        says. `covariates` (DataFrame by sample id) are read beside the table, and prediction then
        asks for the same columns. `weights` (Series) say how much samples count; `balance`
        (Series) names groups that count alike.

    Returns
    -------
    TrainedModel
        Of kind SequenceRegressor.

    Raises
    ------
    ValueError
        If the input or an option cannot be used; the message says what to do.
    """
    return _train(REGRESSOR, table, target, **arguments)


def train_classifier(table, target: pd.Series, **arguments) -> TrainedModel:
    """Train a model that predicts a categorical metadata column: a SequenceClassifier.

    As `train_regressor`, with classes for numbers and the options of `ClassificationConfig`.
    """
    return _train(CLASSIFIER, table, target, **arguments)


@messages.keeps_warnings
def _train(
    kind,
    table,
    column,
    *,
    encoder: TrainedModel | Ensemble | None = None,
    phylogeny: str | Path | None = None,
    sequences: Sequences = None,
    reference_ids: Sequence[str] | None = None,
    groups: pd.Series | None = None,
    covariates: pd.DataFrame | None = None,
    weights: pd.Series | None = None,
    balance: pd.Series | None = None,
    missing_samples: str = "error",
    monitor: Monitor = NO_MONITOR,
    **options,
) -> TrainedModel:
    encoder = with_one_encoder(encoder)
    nothing_given, samples = encoder is None and phylogeny is None, None
    settings = settings_of(kind, options, encoder, ships=nothing_given)
    if nothing_given:
        samples = fitting_samples(table, sequences, options)
        encoder = None if samples is None else shipped.load()
        settings = settings_of(kind, options, encoder, ships=encoder is not None)
    if samples is None:
        samples = sample_table(table, sequences, settings.model.max_bp, chosen=encoder is None)
    numeric = kind == REGRESSOR
    values = with_values(samples.sample_ids, column, missing_samples, numeric=numeric)
    values = check_numbers(values) if numeric else values.astype(str)
    check_values(values, settings.fine_tuning)
    with_group, groups = with_groups(values.index, groups, missing_samples)
    ids, weighting = read_weighting(with_group, weights, balance, missing_samples)
    out = left_out(
        samples.sample_ids,
        {
            NO_METADATA: column.index,
            NO_VALUE: values.index,
            NO_GROUP: with_group,
            NO_WEIGHT: ids,
        },
    )
    values = values[ids]
    if covariates is not None:
        covariates = read_covariates(covariates, ids, values.name)
    tree = phylogeny and str(phylogeny)
    samples = drop_missing_features(samples.select(ids), tree, settings)
    settings = with_depth(settings, samples.depths)
    given = values, tree, encoder, reference_ids, groups, covariates, weighting
    return train(RunInput(kind, settings, samples, *given, left_out=out), monitor)
