"""Attention All Microbes for people who write Python: tables and trees in, models and numbers out.

A feature table is a `biom.Table`, a phylogeny the path of a Newick file, sequences a mapping or
the path of a FASTA file, a metadata column a `pandas.Series`. Options are those of
`q2_aam.core.options.config`, by name. Nothing here needs QIIME 2.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import skbio
import torch

from q2_aam.core.artifact.storage import SavedModel
from q2_aam.core.data.metadata import check_numbers, warn_if_few, with_values
from q2_aam.core.data.sample_table import SampleTable, rarefy, sample_table, warn_of_other_lengths
from q2_aam.core.data.target import CategoricalTarget, NumericTarget
from q2_aam.core.model import inference
from q2_aam.core.model.predictor import build
from q2_aam.core.model.specification import CLASSIFIER, ENCODER, FINE_TUNING, REGRESSOR, ModelSpec
from q2_aam.core.options import quantile_levels
from q2_aam.core.options.config import ModelConfig, Settings
from q2_aam.core.options.option import OptionError
from q2_aam.core.training.devices import choose_device
from q2_aam.core.training.objective.losses import Objective, fine_tuning_objective
from q2_aam.core.training.preparation.prepared_run import (
    drop_missing_features,
    prepare_phylogeny,
    prepare_run,
    prepare_samples,
)
from q2_aam.core.training.run import Monitor, Start, identity, train_model

log = logging.getLogger(__name__)

Sequences = Mapping[str, str] | str | Path | None
NO_MONITOR = Monitor()


def pretrain(
    table,
    phylogeny: str | Path,
    *,
    sequences: Sequences = None,
    encoder: SavedModel | None = None,
    reference_ids: Sequence[str] | None = None,
    monitor: Monitor = NO_MONITOR,
    **options,
) -> SavedModel:
    """Train an encoder of samples without labels, on UniFrac distances and masked nucleotides.

    Parameters
    ----------
    table : biom.Table
        Counts of ASVs in samples.
    phylogeny : path
        Rooted tree of the ASVs, Newick with branch lengths.
    sequences : mapping or path, optional
        Sequence of each feature, or a FASTA file; not needed if the feature ids are sequences.
    encoder : SavedModel, optional
        Continue from this model; its architecture is kept.
    reference_ids : sequence of str, optional
        Samples that the others are compared with, instead of a random choice.
    monitor : Monitor
    **options
        See `ModelConfig`, `DataConfig`, `UniFracConfig` and `TrainConfig`.

    Returns
    -------
    SavedModel
        Of kind SequenceEncoder.

    Raises
    ------
    ValueError
        If the input or an option cannot be used; the message says what to do.
    """
    settings = _settings(options, None, encoder)
    whole = _read_table(table, sequences, settings)
    whole = drop_missing_features(whole, str(phylogeny), settings)
    samples = prepare_samples(whole, settings)
    warn_if_few(samples.fixed.n_samples)
    phylogenetic = prepare_phylogeny(str(phylogeny), samples, settings, reference_ids)
    run = prepare_run(
        samples, settings, phylogenetic=phylogenetic, masked=settings.training.nuc_penalty > 0
    )
    objective = Objective(
        penalty=settings.training.penalty,
        nuc_penalty=settings.training.nuc_penalty,
        unifrac_variance=phylogenetic.variance,
    )
    start = Start(encoder, identity(whole, phylogeny, encoder, reference_ids))
    spec = ModelSpec.of(ENCODER, settings, samples.reads)
    return train_model(settings, spec, objective, run, phylogenetic, start, monitor)


def train_regressor(table, target: pd.Series, **arguments) -> SavedModel:
    """Train a model that predicts a numeric metadata column.

    Parameters
    ----------
    table : biom.Table
        Counts of ASVs in samples.
    target : pandas.Series
        Numbers by sample id; the name is the column's.
    **arguments
        Those of `_train`: encoder, phylogeny, sequences, missing_samples, monitor, and the
        options of `RegressionConfig` and of pre-training.

    Returns
    -------
    SavedModel
        Of kind SequenceRegressor.

    Raises
    ------
    ValueError
        If the input or an option cannot be used; the message says what to do.
    """
    return _train(REGRESSOR, table, target, **arguments)


def train_classifier(table, target: pd.Series, **arguments) -> SavedModel:
    """Train a model that predicts a categorical metadata column.

    As `train_regressor`, with classes for numbers and the options of `ClassificationConfig`.

    Returns
    -------
    SavedModel
        Of kind SequenceClassifier.
    """
    return _train(CLASSIFIER, table, target, **arguments)


def _train(
    kind,
    table,
    column,
    *,
    encoder: SavedModel | None = None,
    phylogeny: str | Path | None = None,
    sequences: Sequences = None,
    reference_ids: Sequence[str] | None = None,
    missing_samples: str = "error",
    monitor: Monitor = NO_MONITOR,
    **options,
) -> SavedModel:
    settings = _settings(options, FINE_TUNING[kind], encoder)
    whole = _read_table(table, sequences, settings)
    values = with_values(whole.sample_ids, column, missing_samples)
    values = check_numbers(values) if kind == REGRESSOR else values.astype(str)
    phylogeny = None if phylogeny is None else str(phylogeny)
    whole = drop_missing_features(whole.select(values.index), phylogeny, settings)
    samples = prepare_samples(whole, settings, classes=None if kind == REGRESSOR else values)
    known = values[list(samples.fixed.sample_ids)]
    warn_if_few(len(known), None if kind == REGRESSOR else known)
    if kind == REGRESSOR:
        target = NumericTarget.fit(column.name, known, settings.fine_tuning.target_transform)
    else:
        target = CategoricalTarget.fit(column.name, known)
    phylogenetic = None
    if settings.fine_tuning.freeze_base and phylogeny is not None:
        log.info("freeze_base keeps the encoder as it is, so it learns nothing of the phylogeny.")
    elif phylogeny is not None and settings.training.penalty > 0:
        phylogenetic = prepare_phylogeny(phylogeny, samples, settings, reference_ids)
    objective = fine_tuning_objective(settings, target, known, phylogenetic)
    held = None if samples.held is None else values[list(samples.held.sample_ids)]
    run = prepare_run(
        samples,
        settings,
        phylogenetic=phylogenetic,
        masked=objective.nuc_penalty > 0,
        targets=(target.to_learnt(known), None if held is None else target.to_learnt(held)),
    )
    spec = ModelSpec.of(kind, settings, samples.reads, target)
    start = Start(encoder, identity(whole, phylogeny, encoder, reference_ids, values))
    return train_model(settings, spec, objective, run, phylogenetic, start, monitor)


def predict_regression(
    table, model: SavedModel, *, sequences: Sequences = None, device: str = "auto"
) -> pd.Series:
    """Predict a numeric column for samples.

    Parameters
    ----------
    table : biom.Table
        Counts of ASVs in samples; the ASVs need not have been in training.
    model : SavedModel
        Of kind SequenceRegressor.
    sequences : mapping or path, optional
        As in training.
    device : {'auto', 'cpu', 'cuda'}

    Returns
    -------
    pandas.Series
        Predictions by sample id, in the units of the column; named like the column. Samples
        without reads are left out, with a warning.
    """
    _check_kind(model, REGRESSOR, "predict-classification")
    samples = samples_for(model, table, sequences)
    learnt = inference.predict(module_of(model, device), samples, model.spec.data).numpy()[:, 0]
    values = model.spec.target.to_units(learnt)
    return pd.Series(values, index=_ids(samples), name=model.spec.target.column)


def predict_quantiles(
    table, model: SavedModel, *, sequences: Sequences = None, device: str = "auto"
) -> pd.DataFrame:
    """Predict between which values a numeric column lies for samples.

    The arguments are those of `predict_regression`, with a model that was trained with
    ``loss_type='quantile'``.

    Returns
    -------
    pandas.DataFrame
        One column a quantile, such as 'quantile-0.05', in increasing order and in the units of
        the column; 'quantile-0.5' is what `predict_regression` predicts. One row a sample.

    Raises
    ------
    ValueError
        If the model has learnt no quantiles.
    """
    _check_kind(model, REGRESSOR, "predict-classification")
    spec = model.spec
    if not spec.quantiles:
        raise ValueError(
            f"The model predicts column '{spec.target.column}' without quantiles (its loss_type "
            f"is {spec.fine_tuning.loss_type}), so it has no intervals: train one with loss_type "
            "quantile."
        )
    samples = samples_for(model, table, sequences)
    learnt = inference.predict_quantiles(module_of(model, device), samples, spec.data).numpy()
    values, columns = spec.target.to_units(learnt), quantile_levels.names(spec.quantiles)
    return pd.DataFrame(values, index=_ids(samples), columns=columns)


def predict_classification(
    table, model: SavedModel, *, sequences: Sequences = None, device: str = "auto"
) -> tuple[pd.Series, pd.DataFrame]:
    """Predict a categorical column for samples.

    The arguments are those of `predict_regression`, with a model of kind SequenceClassifier.

    Returns
    -------
    predictions : pandas.Series
        The most probable class by sample id; named like the column.
    probabilities : pandas.DataFrame
        One column a class; rows sum to one.
    """
    _check_kind(model, CLASSIFIER, "predict-regression")
    samples = samples_for(model, table, sequences)
    classes = list(model.spec.target.classes)
    likely = inference.predict(module_of(model, device), samples, model.spec.data).double()
    likely /= likely.sum(dim=1, keepdim=True)
    probabilities = pd.DataFrame(likely.numpy(), index=_ids(samples), columns=classes)
    best = probabilities.to_numpy().argmax(axis=1)
    predictions = pd.Series(
        [classes[i] for i in best], index=_ids(samples), name=model.spec.target.column
    )
    return predictions, probabilities


def _settings(options, fine_tuning, encoder) -> Settings:
    """Sort the options; the architecture of a given encoder stands, and cannot be contradicted."""
    problems = list(_contradictions_of_encoder(options, encoder))
    try:
        settings = Settings.from_options(options, fine_tuning)
    except OptionError as error:
        raise OptionError(error.problems + problems) from None
    if problems:
        raise OptionError(problems)
    if encoder is None:
        return settings
    return replace(settings, model=replace(encoder.spec.model, dropout=settings.model.dropout))


def _contradictions_of_encoder(options, encoder: SavedModel | None):
    if encoder is None:
        if options.get("freeze_base") is True:
            yield "freeze_base keeps an encoder as it is, so an encoder must be given"
        return
    given, default = encoder.spec.model, ModelConfig()
    for name in ("embedding_dim", "attention_heads", "attention_layers", "max_bp"):
        mine, its = options.get(name, getattr(default, name)), getattr(given, name)
        if mine not in (getattr(default, name), its):
            yield f"{name} is {mine}, but the encoder's is {its}: leave it out"


def _read_table(table, sequences: Sequences, settings: Settings) -> SampleTable:
    return sample_table(table, read_sequences(sequences), settings.model.max_bp)


def read_sequences(sequences: Sequences) -> Mapping[str, str] | None:
    """Return sequences by feature id, from a mapping or a FASTA file; None stays None."""
    if sequences is None or isinstance(sequences, Mapping):
        return sequences
    try:
        records = skbio.io.read(str(sequences), format="fasta", constructor=skbio.Sequence)
        pairs = [(record.metadata["id"], str(record)) for record in records]
    except (skbio.io.FileFormatError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{sequences} cannot be read as FASTA: {reason}") from error
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, sequence in pairs if found[name] is not sequence)
        raise ValueError(f"{sequences} has several sequences under the id '{twice}'.")
    return found


def _check_kind(model: SavedModel, expected: str, instead: str) -> None:
    if model.spec.kind != expected:
        way_out = (
            "train it on a metadata column first (train-regressor, train-classifier)"
            if model.spec.kind == ENCODER
            else f"use {instead}"
        )
        raise ValueError(f"The model is a {model.spec.kind}, not a {expected}: {way_out}.")


def samples_for(model: SavedModel, table, sequences: Sequences) -> SampleTable:
    """Bring a table into the form in which a model reads it; empty samples are left out."""
    spec = model.spec
    samples = sample_table(table, read_sequences(sequences), spec.model.max_bp)
    warn_of_other_lengths(samples, spec.reads.shortest, spec.reads.longest)
    seed = spec.training.random_seed
    return rarefy(samples, spec.data.rarefy_depth, seed, keep_shallow=True)


def module_of(model: SavedModel, device: str) -> torch.nn.Module:
    """Put a model at rest on a device."""
    module = build(model.spec)
    module.load_state_dict(model.weights)
    return module.to(choose_device(device)).eval()


def _ids(samples: SampleTable) -> pd.Index:
    return pd.Index(samples.sample_ids, name="sample-id")
