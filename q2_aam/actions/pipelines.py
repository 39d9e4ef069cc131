"""The pipelines: which samples train and which test, and actions put together.

Pipelines have no annotations, which QIIME 2 2022.11 rejects, and see artifacts, not views. Where
QIIME 2 runs in parallel, actions return at once with promises. So nothing here looks into a
result: it is only handed on, and all folds of a cross-validation are under way at the same time.
"""

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import biom
import pandas as pd
import qiime2

from q2_aam.actions import splits
from q2_aam.actions.parameters import (
    CLASSIFICATION,
    CLASSIFICATION_PIPELINE,
    OF_PRETRAINING,
    PRETRAINING,
    REGRESSION,
    REGRESSION_PIPELINE,
    parameter_types,
    pipeline_takes_options,
)
from q2_aam.core.data import messages
from q2_aam.core.data.metadata import check_numbers, warn_if_few, with_values
from q2_aam.core.data.rarefaction import LEFT_OUT, check_depth, warn_of_shallow
from q2_aam.core.options.config import ClassificationConfig, RegressionConfig, Settings
from q2_aam.core.options.option import OptionError
from q2_aam.types.models import AAMModel, SequenceEncoder

log = logging.getLogger(__name__)


@pipeline_takes_options(REGRESSION_PIPELINE)
def regress_samples(
    ctx,
    table,
    metadata,
    encoder=None,
    phylogeny=None,
    sequences=None,
    split=None,
    test_value="test",
    test_fraction=0.2,
    missing_samples="error",
    **options,
):
    """Split the samples, train a regressor on some and test it on the others."""
    job = _Job(ctx, REGRESSOR, table, metadata, encoder, phylogeny, sequences, options)
    parts = _parts(job, _HoldOut(split, test_value, test_fraction), missing_samples)
    made = job.train_and_test(parts, splits.TEST)
    model, (predictions,) = made.model, made.predictions
    evaluation = job.call("evaluate_regression", predictions, metadata, random_seed=job.seed)
    scatterplot = job.call("scatterplot", predictions, metadata, "ignore", of=SAMPLE_CLASSIFIER)
    summary = job.call("summarize_training", made.models)
    start = made.training_table, made.test_table, job.encoder_of(made)
    return *start, model, predictions, evaluation, scatterplot, summary


@pipeline_takes_options(CLASSIFICATION_PIPELINE)
def classify_samples(
    ctx,
    table,
    metadata,
    encoder=None,
    phylogeny=None,
    sequences=None,
    split=None,
    test_value="test",
    test_fraction=0.2,
    missing_samples="error",
    **options,
):
    """Split the samples, train a classifier on some and test it on the others."""
    job = _Job(ctx, CLASSIFIER, table, metadata, encoder, phylogeny, sequences, options)
    parts = _parts(job, _HoldOut(split, test_value, test_fraction), missing_samples)
    made = job.train_and_test(parts, splits.TEST)
    evaluation, confusion = _show_classes(job, *made.predictions)
    summary = job.call("summarize_training", made.models)
    start = made.training_table, made.test_table, job.encoder_of(made)
    return *start, made.model, *made.predictions, evaluation, confusion, summary


@pipeline_takes_options(REGRESSION_PIPELINE)
def cross_validate_regression(
    ctx,
    table,
    metadata,
    encoder=None,
    phylogeny=None,
    sequences=None,
    folds=None,
    n_folds=5,
    missing_samples="error",
    **options,
):
    """Predict each fold of the samples with a regressor trained on the other folds."""
    job = _Job(ctx, REGRESSOR, table, metadata, encoder, phylogeny, sequences, options)
    parts = _fold_of_each(job, folds, n_folds, missing_samples)
    made = [job.train_and_test(parts, name) for name in sorted(set(parts))]
    predictions = job.call("merge_predictions", [each.predictions[0] for each in made])
    by_fold = qiime2.CategoricalMetadataColumn(parts)
    scored = {"groups": by_fold, "random_seed": job.seed}
    scores = job.call("score_regression", predictions, metadata, **scored)
    evaluation = job.call("evaluate_regression", predictions, metadata, **scored)
    scatterplot = job.call("scatterplot", predictions, metadata, "ignore", of=SAMPLE_CLASSIFIER)
    summary = job.call("summarize_training", [each.model for each in made])
    return predictions, scores, evaluation, scatterplot, summary


@pipeline_takes_options(CLASSIFICATION_PIPELINE)
def cross_validate_classification(
    ctx,
    table,
    metadata,
    encoder=None,
    phylogeny=None,
    sequences=None,
    folds=None,
    n_folds=5,
    missing_samples="error",
    **options,
):
    """Predict each fold of the samples with a classifier trained on the other folds."""
    job = _Job(ctx, CLASSIFIER, table, metadata, encoder, phylogeny, sequences, options)
    parts = _fold_of_each(job, folds, n_folds, missing_samples)
    made = [job.train_and_test(parts, name) for name in sorted(set(parts))]
    predictions, probabilities = zip(*(each.predictions for each in made), strict=True)
    predictions = job.call("merge_predictions", list(predictions))
    probabilities = job.call("merge_probabilities", list(probabilities))
    by_fold = qiime2.CategoricalMetadataColumn(parts)
    scored = {"groups": by_fold, "random_seed": job.seed}
    scores = job.call("score_classification", predictions, probabilities, metadata, **scored)
    evaluation, confusion = _show_classes(job, predictions, probabilities)
    summary = job.call("summarize_training", [each.model for each in made])
    return predictions, probabilities, scores, evaluation, confusion, summary


SAMPLE_CLASSIFIER = "sample_classifier"
STEPS = {
    "merge_predictions": "Merging the predictions of all folds.",
    "score_regression": "Scoring the predictions.",
    "score_classification": "Scoring the predictions.",
    "evaluate_regression": "Drawing predicted against true values.",
    "evaluate_classification": "Drawing predicted and true classes.",
    "summarize_training": "Summarizing the training.",
}
"""What is said when an action begins; of training and prediction more is said."""


@dataclass(frozen=True)
class _Kind:
    """What differs between a numeric and a categorical target."""

    train: str
    predict: str
    configs: tuple
    fine_tuning: type
    classes: bool


REGRESSOR = _Kind("train_regressor", "predict_regression", REGRESSION, RegressionConfig, False)
CLASSIFIER = _Kind(
    "train_classifier", "predict_classification", CLASSIFICATION, ClassificationConfig, True
)


@dataclass(frozen=True)
class _Made:
    """What training on a part of the samples and testing on another made."""

    training_table: Any
    test_table: Any
    encoder: Any
    """What training began with; None if it began from scratch."""
    model: Any
    predictions: tuple

    @property
    def models(self) -> list:
        return [self.model] if self.encoder is None else [self.encoder, self.model]


class _Job:
    """The inputs and options of a pipeline, and the actions called with them.

    Parameters
    ----------
    ctx : qiime2.sdk.Context
    kind : _Kind
    table, metadata, encoder, phylogeny, sequences
        As the pipelines take them.
    options : dict
        All options of the pipeline by name.

    Raises
    ------
    OptionError
        If options are impossible; before anything is computed with them.
    """

    def __init__(self, ctx, kind, table, metadata, encoder, phylogeny, sequences, options):
        self.ctx, self.kind = ctx, kind
        self.table, self.metadata = table, metadata
        self.encoder, self.phylogeny, self.sequences = encoder, phylogeny, sequences
        self.pretrains = encoder is None and phylogeny is not None
        self.training = {name: options[name] for name in parameter_types(kind.configs)}
        self.pretraining = _pretraining_options(options, self.pretrains)
        self.seed, self.device = options["random_seed"], options["device"]
        Settings.from_options(self.training, kind.fine_tuning)
        if self.pretrains:
            Settings.from_options(self.pretraining)
        elif encoder is None and self.training["freeze_base"]:
            raise OptionError(
                [
                    "freeze_base keeps an encoder as it is, so give an encoder, or a phylogeny "
                    "to pre-train one"
                ]
            )

    def call(self, action: str, *inputs, of: str = "aam", **parameters):
        """Run an action that has one output."""
        if action in STEPS:
            log.info(STEPS[action])
        (output,) = self.ctx.get_action(of, action)(*inputs, **parameters)
        return output

    @cached_property
    def counts(self) -> biom.Table:
        """The table, which takes long to read if it is large."""
        return self.table.view(biom.Table)

    def values(self, missing_samples: str) -> pd.Series:
        """Return the target of each sample that has one."""
        sample_ids = list(self.counts.ids())
        values = with_values(sample_ids, self.metadata.to_series(), missing_samples)
        return values.astype(str) if self.kind.classes else check_numbers(values)

    def look_at_all(self, values: pd.Series, parts: pd.Series) -> None:
        """Say what is to be said of all samples, so that no part of them says it again.

        Raises
        ------
        ValueError
            If rarefaction would leave most samples out, and this was not asked for.
        """
        values, cross_validated = values[parts.index], parts.name == "fold"
        classes = values if self.kind.classes else None
        messages.set_whole(messages.Whole(len(values), classes, cross_validated))
        warn_if_few(len(values), classes)
        depth = self.training["rarefy_depth"]
        reads = pd.Series(self.counts.sum("sample"), self.counts.ids())[list(parts.index)]
        what = f"{LEFT_OUT} of training"
        warn_of_shallow(list(reads.index), reads.to_numpy(), depth, what)
        if self.training["shallow_samples"] == "ignore":
            return
        for name in sorted(set(parts)) if cross_validated else [splits.TEST]:
            trains = reads[parts != name]
            check_depth(list(trains.index), trains.to_numpy(), depth)

    def encoder_of(self, made: "_Made"):
        """Return the encoder that training began with, or the one it learnt from scratch."""
        if made.encoder is None:
            return self.call("extract_encoder", made.model)
        if made.encoder.type <= AAMModel[SequenceEncoder]:
            return made.encoder
        return self.call("extract_encoder", made.encoder)

    def train_and_test(self, parts: pd.Series, held_out: str) -> _Made:
        """Train on the samples of all parts but one, and predict those of that one."""
        test, where = parts == held_out, _name_of(parts, held_out)
        log.info("%s%d samples to train, %d to test.", where, sum(~test), sum(test))
        training_table = self._only(parts.index[~test])
        test_table = self._only(parts.index[test])
        encoder = self.encoder
        if self.pretrains:
            log.info("%sPre-training an encoder.", where)
            encoder = self.call(
                "pretrain", training_table, self.phylogeny, self.sequences, **self.pretraining
            )
        log.info("%sTraining a %s.", where, self.kind.train.removeprefix("train_"))
        model = self.call(
            self.kind.train,
            training_table,
            self.metadata,
            encoder=encoder,
            phylogeny=self.phylogeny,
            sequences=self.sequences,
            **self.training,
        )
        log.info("%sPredicting the samples to test.", where)
        predict = self.ctx.get_action("aam", self.kind.predict)
        predicted = predict(test_table, model, self.sequences, device=self.device)
        return _Made(training_table, test_table, encoder, model, tuple(predicted))

    def _only(self, sample_ids: pd.Index):
        ids = qiime2.Metadata(pd.DataFrame(index=sample_ids.rename("sample-id")))
        return self.call("filter_samples", self.table, metadata=ids, of="feature_table")


def _name_of(parts: pd.Series, held_out: str) -> str:
    """Say which fold it is that is held out; nothing where there is one part to test."""
    names = sorted(set(parts))
    if parts.name != "fold":
        return ""
    return f"Fold {names.index(held_out) + 1} of {len(names)} ({held_out}): "


def _pretraining_options(options: dict, pretrains: bool) -> dict:
    chosen = {name: options[f"pretrain_{name}"] for name in OF_PRETRAINING}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    if chosen and not pretrains:
        listed = ", ".join(f"pretrain_{name}" for name in chosen)
        raise OptionError(
            [
                f"{listed} would have no effect: a pipeline pre-trains only with a phylogeny "
                "and without an encoder"
            ]
        )
    return {name: options[name] for name in parameter_types(PRETRAINING)} | chosen


@dataclass(frozen=True)
class _HoldOut:
    """Which samples are held out: those of a value in a column, or a share drawn at random."""

    split: Any
    test_value: str
    test_fraction: float


def _parts(job: _Job, held_out: _HoldOut, missing_samples: str) -> pd.Series:
    """Say of each sample with a value whether it trains or tests."""
    values = job.values(missing_samples)
    if held_out.split is None:
        parts = splits.draw_test(values, held_out.test_fraction, job.seed, job.kind.classes)
        job.look_at_all(values, parts)
        return parts
    column = with_values(list(values.index), held_out.split.to_series(), missing_samples)
    parts = splits.named_test(column, held_out.test_value)
    job.look_at_all(values, parts)
    if job.kind.classes:
        splits.warn_of_unlearnt_classes(values[parts.index], parts, splits.TEST)
    return parts


def _fold_of_each(job: _Job, folds, n_folds: int, missing_samples: str) -> pd.Series:
    """Say of each sample with a value which fold it is in."""
    values = job.values(missing_samples)
    if folds is None:
        parts = splits.draw_folds(values, n_folds, job.seed, job.kind.classes)
    else:
        column = with_values(list(values.index), folds.to_series(), missing_samples)
        parts = splits.named_folds(column)
    job.look_at_all(values, parts)
    if job.kind.classes:
        for name in sorted(set(parts)):
            splits.warn_of_unlearnt_classes(values[parts.index], parts, name)
    return parts.rename_axis("sample-id")


def _show_classes(job: _Job, predictions, probabilities) -> tuple:
    evaluation = job.call(
        "evaluate_classification",
        predictions,
        probabilities,
        job.metadata,
        random_seed=job.seed,
    )
    confusion = job.call(
        "confusion_matrix",
        predictions,
        job.metadata,
        probabilities,
        missing_samples="ignore",
        of=SAMPLE_CLASSIFIER,
    )
    return evaluation, confusion
