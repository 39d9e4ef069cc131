"""What a pipeline is given, and the actions that train on some samples and test on others."""

import copy
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import biom
import numpy as np
import pandas as pd
import qiime2
from q2_types.feature_data import DNAFASTAFormat

from q2_aam.actions.given import Given
from q2_aam.actions.parameters import (
    CLASSIFICATION,
    OF_PRETRAINING,
    PRETRAINING,
    REGRESSION,
    pipeline_types,
)
from q2_aam.actions.pipelines.fold_checks import tell_of_many, tell_of_time
from q2_aam.core.model import specification
from q2_aam.core.model.members import MAX_MEMBERS
from q2_aam.core.options import class_weights
from q2_aam.core.options.config import ClassificationConfig, RegressionConfig, Settings
from q2_aam.core.options.option import OptionError
from q2_aam.types.models import AAMModel, SequenceEncoder

log = logging.getLogger(__name__)

STEPS = {
    "merge_predictions": "Merging the predictions of all folds.",
    "combine_models": "Putting the models of all folds together.",
    "score_regression": "Scoring the predictions.",
    "score_classification": "Scoring the predictions.",
    "evaluate_columns": "Drawing the scores of all columns.",
    "evaluate_regression": "Drawing predicted against true values.",
    "evaluate_classification": "Drawing predicted and true classes.",
    "summarize_training": "Summarizing the training.",
    "tabulate_regression": "Putting true values and predictions into a table.",
    "tabulate_classification": "Putting true classes and predictions into a table.",
}
"""What is said when an action begins; of training and prediction more is said."""


@dataclass(frozen=True)
class Kind:
    """What differs between a numeric and a categorical target."""

    model: str
    train: str
    predict: str
    configs: tuple
    fine_tuning: type
    classes: bool


REGRESSOR = Kind(
    specification.REGRESSOR,
    "train_regressor",
    "predict_regression",
    REGRESSION,
    RegressionConfig,
    False,
)
CLASSIFIER = Kind(
    specification.CLASSIFIER,
    "train_classifier",
    "predict_classification",
    CLASSIFICATION,
    ClassificationConfig,
    True,
)


@dataclass(frozen=True)
class Made:
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


class Job:
    """The inputs and options of a pipeline, and the actions called with them.

    Parameters
    ----------
    ctx : qiime2.sdk.Context
    kind : Kind
    given : Given
    options : dict
        All options of the pipeline by name.

    Raises
    ------
    OptionError
        If options are impossible; before anything is computed with them.
    """

    def __init__(self, ctx, kind: Kind, given: Given, options: dict):
        self.ctx, self.kind, self.given = ctx, kind, given
        self.encoder = given.encoder
        self.target: pd.Series | None = None  # of all samples, once they are divided
        self.where = ""  # how messages of its steps begin
        nothing = given.encoder is None
        self.pretrains = nothing and given.phylogeny is not None
        self.nothing_given = nothing and given.phylogeny is None
        self.training = {name: options[name] for name in pipeline_types(kind.configs)}
        self.pretraining = _pretraining_options(options, self.pretrains)
        self.seed, self.device = options["random_seed"], options["device"]
        self.settings = Settings.from_options(self.training, kind.fine_tuning)
        if self.pretrains:
            Settings.from_options(self.pretraining)
        self._check_start()

    def _check_start(self) -> None:
        """Refuse options that contradict what training starts from."""
        if not self.training["from_scratch"]:
            return
        if not self.nothing_given:
            given = "phylogeny" if self.encoder is None else "encoder"
            raise OptionError(
                [f"from_scratch starts from random weights, so leave the {given} out"]
            )
        if self.training["freeze_base"]:
            raise OptionError(
                [
                    "freeze_base keeps an encoder as it is, so an encoder must be given, or a "
                    "phylogeny to pre-train one"
                ]
            )

    def of_column(self, column: qiime2.MetadataColumn, where: str) -> "Job":
        """Return this job for a metadata column: all that is settled stays so."""
        job = copy.copy(self)
        job.given, job.where = replace(self.given, metadata=column), where
        job.training, job.pretraining = dict(self.training), dict(self.pretraining)
        return job

    def without_pretraining(self) -> "Job":
        """Return this job as if its encoder were given."""
        job = copy.copy(self)
        job.pretrains = False
        return job

    def start_from(self, encoder) -> None:
        """Start from an encoder that was pre-trained for this job."""
        self.encoder, self.pretrains = encoder, False

    def choose_start(self, sample_ids: pd.Index) -> None:
        """Start from the encoder that ships, if nothing is given and it is for such reads.

        What is chosen is said once, and told to all steps.
        """
        if not self.nothing_given:
            return
        from q2_aam.core.explain.training_start import fitting_samples

        # The view must live as long as its file is read.
        sequences = (
            None if self.given.sequences is None else self.given.sequences.view(DNAFASTAFormat)
        )
        counts = self.counts.filter(set(sample_ids), inplace=False)
        if fitting_samples(counts, sequences and str(sequences), self.training) is None:
            self._set(from_scratch=True)
            self._check_start()
            return
        self.encoder = self.call("shipped_encoder")
        if self.training["freeze_base"] is None:
            self._set(freeze_base=True)

    def choose_depth(self, depths: np.ndarray) -> int:
        """Choose the rarefaction depth for samples with so many reads, if none is asked for."""
        from q2_aam.core.training.preparation.run_settings import with_depth

        depth = with_depth(self.settings, depths).data.rarefy_depth
        self._set(rarefy_depth=depth)
        return depth

    def _set(self, **options) -> None:
        """Settle options for all steps."""
        self.training |= options
        self.pretraining |= {n: value for n, value in options.items() if n in self.pretraining}
        self.settings = Settings.from_options(self.training, self.kind.fine_tuning)

    def call(self, action: str, *inputs, of: str = "aam", **parameters):
        """Run an action that has one output."""
        if action in STEPS:
            log.info(STEPS[action])
        (output,) = self.ctx.get_action(of, action)(*inputs, **parameters)
        return output

    def _training_on(self, sample_ids: pd.Index) -> dict:
        """Return the options of training on some samples: without weights of classes they lack."""
        weights = getattr(self.settings.fine_tuning, "weights_of_classes", None)
        if not weights:
            return self.training
        there = set(self.target[sample_ids])
        kept = {name: weight for name, weight in weights.items() if name in there}
        return self.training | {"class_weights": class_weights.render(kept)}

    def baseline(self, name: str, predicted: Sequence[tuple]) -> dict:
        """Put together what something else than the models predicts, fold by fold.

        Parameters
        ----------
        name : str
            What predicted: 'forest' or 'covariate'.
        predicted : sequence of tuple
            Of each fold the predictions, and of classes the probabilities.

        Returns
        -------
        dict
            As evaluations take them, by names such as 'forest_predictions'.
        """
        kinds = ["predictions", "probabilities"][: len(predicted[0])]
        return {
            f"{name}_{kind}": parts[0] if len(parts) == 1 else self.call(f"merge_{kind}", parts)
            for kind, parts in zip(kinds, map(list, zip(*predicted, strict=True)), strict=True)
        }

    @cached_property
    def counts(self) -> biom.Table:
        """The table, which takes long to read if it is large."""
        return self.given.table.view(biom.Table)

    def encoder_of(self, made: Made):
        """Return the encoder that training began with, or the one it learnt from scratch."""
        if made.encoder is None:
            return self.call("extract_encoder", made.model)
        if made.encoder.type <= AAMModel[SequenceEncoder]:
            return made.encoder
        return self.call("extract_encoder", made.encoder)

    def train_and_test(self, parts: pd.Series, held_out: str) -> Made:
        """Train on the samples of all parts but one, and predict those of that one."""
        test, where = parts == held_out, self.where + _name_of(parts, held_out)
        log.info("%s%d samples to train, %d to test.", where, sum(~test), sum(test))
        training_table = self.only(parts.index[~test])
        test_table = self.only(parts.index[test])
        encoder = self.pretrain(training_table, where) if self.pretrains else self.encoder
        log.info("%sTraining a %s.", where, self.kind.train.removeprefix("train_"))
        model = self.call(
            self.kind.train,
            training_table,
            self.given.metadata,
            encoder=encoder,
            phylogeny=self.given.phylogeny,
            sequences=self.given.sequences,
            groups=self.given.groups,
            covariates=self.given.covariates,
            covariate_columns=self.given.covariate_columns,
            weights=self.given.weights,
            balance=self.given.balance,
            **self._training_on(parts.index[~test]),
        )
        log.info("%sPredicting the samples to test.", where)
        predict = self.ctx.get_action("aam", self.kind.predict)
        beside = self.given.sequences, self.given.covariates
        predicted = predict(test_table, model, *beside, device=self.device)
        return Made(training_table, test_table, encoder, model, tuple(predicted))

    def tabulate(self, predicted, models: list, beside: dict, folds=None):
        """Put true values, predictions and roles of all samples into one table."""
        predictions, *probabilities = predicted
        rest = {"models": models, "table": self.given.table, "groups": folds}
        rest["forest_predictions"] = beside.get("forest_predictions")
        if self.kind.classes:
            (rest["probabilities"],) = probabilities
        action = "tabulate_classification" if self.kind.classes else "tabulate_regression"
        return self.call(action, predictions, metadata=self.given.metadata, **rest)

    def train_and_test_each(self, parts: pd.Series, names: list[str]) -> list[Made]:
        """Do so for each of these parts, and tell how long all of them take."""
        tell_of_many(len(names), len(parts))
        started, made = time.monotonic(), []
        for name in names:
            made.append(self.train_and_test(parts, name))
            if len(made) == 1:
                tell_of_time(time.monotonic() - started, len(names))
        return made

    def pretrain(self, training_table, where: str = ""):
        """Pre-train an encoder on some samples."""
        log.info("%sPre-training an encoder.", where)
        return self.call(
            "pretrain",
            training_table,
            self.given.phylogeny,
            self.given.sequences,
            groups=self.given.groups,
            **self.pretraining,
        )

    def ensemble_of(self, made: list[Made]):
        """Put the models of the folds together; where there are too many, some of all folds."""
        chosen = np.linspace(0, len(made) - 1, min(len(made), MAX_MEMBERS)).round().astype(int)
        return self.call("combine_models", [made[i].model for i in chosen])

    def only(self, sample_ids: pd.Index):
        """Return a table of some samples."""
        ids = qiime2.Metadata(pd.DataFrame(index=sample_ids.rename("sample-id")))
        return self.call("filter_samples", self.given.table, metadata=ids, of="feature_table")


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
    return {name: options[name] for name in pipeline_types(PRETRAINING)} | chosen
