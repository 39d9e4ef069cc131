"""Attention All Microbes for people who write Python: tables and trees in, models and numbers out.

A feature table is a `biom.Table`, a phylogeny the path of a Newick file, sequences a mapping or
the path of a FASTA file, a metadata column a `pandas.Series`. Options are those of
`q2_aam.core.options`, by name. Nothing here needs QIIME 2.
"""

from collections.abc import Sequence
from pathlib import Path

import biom
import numpy as np
import pandas as pd
import skbio

from q2_aam.core.artifact.shipped import encoder as shipped
from q2_aam.core.artifact.storage import load, save
from q2_aam.core.data import messages
from q2_aam.core.data.metadata import check_numbers, with_values
from q2_aam.core.data.sample_table import SampleTable, sample_table
from q2_aam.core.data.sequences import Sequences, read_sequences
from q2_aam.core.data.splits.grouped_split import with_groups
from q2_aam.core.data.target import PREDICTION
from q2_aam.core.explain import embeddings
from q2_aam.core.explain.importance import (
    Importance,
    ImportanceConfig,
    measure_importance,
    question_of,
)
from q2_aam.core.explain.prediction_input import (
    known_reads,
    module_of,
    prediction_input,
    samples_for,
)
from q2_aam.core.explain.questions import check_quantiles
from q2_aam.core.explain.training_start import fitting_samples
from q2_aam.core.model import inference
from q2_aam.core.model.specification import CLASSIFIER, ENCODER, REGRESSOR
from q2_aam.core.model.trained_model import TrainedModel, check_kind
from q2_aam.core.options import quantile_levels
from q2_aam.core.training.preparation.phylogenetic_targets import drop_missing_features
from q2_aam.core.training.preparation.run_input import RunInput
from q2_aam.core.training.preparation.run_settings import settings_of, with_depth
from q2_aam.core.training.ranks.layout import Layout
from q2_aam.core.training.run import Monitor, train

__all__ = [
    "Importance",
    "Layout",
    "Monitor",
    "TrainedModel",
    "embed",
    "embed_features",
    "importance",
    "known_reads",
    "load",
    "module_of",
    "predict_classification",
    "predict_quantiles",
    "predict_regression",
    "pretrain",
    "samples_for",
    "save",
    "train_classifier",
    "train_regressor",
]

NO_MONITOR = Monitor()


@messages.keeps_warnings
def pretrain(
    table,
    phylogeny: str | Path,
    *,
    sequences: Sequences = None,
    encoder: TrainedModel | None = None,
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
    encoder : TrainedModel, optional
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
    settings = settings_of(ENCODER, options, encoder)
    samples = sample_table(table, sequences, settings.model.max_bp, chosen=encoder is None)
    ids, groups = with_groups(samples.sample_ids, groups, missing_samples)
    samples = drop_missing_features(samples.select(ids), str(phylogeny), settings)
    settings = with_depth(settings, samples.depths)
    start = str(phylogeny), encoder, reference_ids, groups
    return train(RunInput(ENCODER, settings, samples, None, *start), monitor)


def train_regressor(table, target: pd.Series, **arguments) -> TrainedModel:
    """Train a model that predicts a numeric metadata column.

    Parameters
    ----------
    table : biom.Table
        Counts of ASVs in samples.
    target : pandas.Series
        Numbers by sample id; the name is the column's.
    **arguments
        Those of `_train`: encoder, phylogeny, sequences, reference_ids, groups,
        missing_samples, monitor, and the options of `RegressionConfig` and of pre-training.
        Without encoder and phylogeny, training starts as `explain.training_start` says.

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
    encoder: TrainedModel | None = None,
    phylogeny: str | Path | None = None,
    sequences: Sequences = None,
    reference_ids: Sequence[str] | None = None,
    groups: pd.Series | None = None,
    missing_samples: str = "error",
    monitor: Monitor = NO_MONITOR,
    **options,
) -> TrainedModel:
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
    ids, groups = with_groups(values.index, groups, missing_samples)
    values = values[ids]
    tree = phylogeny and str(phylogeny)
    samples = drop_missing_features(samples.select(ids), tree, settings)
    settings = with_depth(settings, samples.depths)
    inputs = RunInput(kind, settings, samples, values, tree, encoder, reference_ids, groups)
    return train(inputs, monitor)


def predict_regression(
    table, model: TrainedModel, *, sequences: Sequences = None, device: str = "auto"
) -> pd.Series:
    """Predict a numeric column for samples.

    Parameters
    ----------
    table : biom.Table
        Counts of ASVs in samples. The ASVs may be new to the model.
    model : TrainedModel
        Of kind SequenceRegressor.
    sequences : mapping or path, optional
        As in training.
    device : {'auto', 'cpu', 'cuda', 'mps'}

    Returns
    -------
    pandas.Series
        Predictions by sample id, in the units of the column; named 'prediction'. Samples without
        reads are left out, with a warning.
    """
    check_kind(model, REGRESSOR, "predict-classification")
    samples, module = prediction_input(model, table, sequences, device)
    learnt = inference.predict(module, samples, model.spec.data).numpy()[:, 0]
    values = model.spec.target.to_units(learnt)
    return pd.Series(values, index=_ids(samples), name=PREDICTION)


def predict_quantiles(
    table, model: TrainedModel, *, sequences: Sequences = None, device: str = "auto"
) -> pd.DataFrame:
    """Predict quantiles of a numeric column for samples.

    The arguments are those of `predict_regression`, with a model that was trained with
    ``loss_type='quantile'``.

    Returns
    -------
    pandas.DataFrame
        A column for each quantile, such as 'quantile-0.05', in increasing order and in the units
        of the column. 'quantile-0.5' is the prediction of `predict_regression`. A row for each
        sample.

    Raises
    ------
    ValueError
        If the model has learnt no quantiles.
    """
    check_kind(model, REGRESSOR, "predict-classification")
    spec = model.spec
    check_quantiles(spec)
    samples, module = prediction_input(model, table, sequences, device)
    learnt = inference.predict_quantiles(module, samples, spec.data).numpy()
    values, columns = spec.target.to_units(learnt), quantile_levels.names(spec.quantiles)
    return pd.DataFrame(values, index=_ids(samples), columns=columns)


def predict_classification(
    table, model: TrainedModel, *, sequences: Sequences = None, device: str = "auto"
) -> tuple[pd.Series, pd.DataFrame]:
    """Predict a categorical column for samples.

    The arguments are those of `predict_regression`, with a model of kind SequenceClassifier.

    Returns
    -------
    predictions : pandas.Series
        The most probable class by sample id; named 'prediction'.
    probabilities : pandas.DataFrame
        A column for each class. Rows sum to one.
    """
    check_kind(model, CLASSIFIER, "predict-regression")
    samples, module = prediction_input(model, table, sequences, device)
    classes = list(model.spec.target.classes)
    likely = inference.predict(module, samples, model.spec.data).double()
    likely /= likely.sum(dim=1, keepdim=True)
    probabilities = pd.DataFrame(likely.numpy(), index=_ids(samples), columns=classes)
    best = probabilities.to_numpy().argmax(axis=1)
    predictions = pd.Series([classes[i] for i in best], index=_ids(samples), name=PREDICTION)
    return predictions, probabilities


def embed(
    table, model: TrainedModel, *, sequences: Sequences = None, device: str = "auto"
) -> tuple[pd.DataFrame, skbio.DistanceMatrix]:
    """Embed samples, and predict the UniFrac distances between them.

    Parameters
    ----------
    table : biom.Table
        Counts of ASVs in samples. The ASVs may be new to the model.
    model : TrainedModel
        Of any kind.
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
    samples, module = prediction_input(model, table, sequences, device)
    return embeddings.embed_samples(module, samples, model.spec.data)


def embed_features(
    model: TrainedModel, *, table=None, sequences: Sequences = None, device: str = "auto"
) -> pd.DataFrame:
    """Embed ASVs from their sequences alone.

    Parameters
    ----------
    model : TrainedModel
        Of any kind.
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
    known = read_sequences(sequences)
    if table is None:
        if not known:
            raise ValueError("There is nothing to embed: give a table, sequences, or both.")
        names = list(known)
        table = biom.Table(np.ones((len(names), 1)), names, ["all"])
    features = sample_table(table, known, model.spec.model.max_bp)
    return embeddings.embed_asvs(module_of(model, device), features)


def importance(
    table,
    model: TrainedModel,
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
    model : TrainedModel
        Of kind SequenceRegressor or SequenceClassifier.
    sequences : mapping or path, optional
        As in training.
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
    samples, module = prediction_input(model, table, sequences, device)
    if groups is not None:
        ids, groups = with_groups(samples.sample_ids, groups, missing_samples)
        samples = samples.select(ids)
    module.requires_grad_(False)
    return measure_importance(
        module, samples.observed(), model.spec.data, question, config, groups
    )


def _ids(samples: SampleTable) -> pd.Index:
    return pd.Index(samples.sample_ids, name="sample-id")
