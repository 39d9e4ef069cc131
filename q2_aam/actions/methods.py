"""The methods: QIIME 2 views in, one call of the core, a view out."""

import logging
import os
import sys
from contextlib import contextmanager

import biom
import pandas as pd
import qiime2
from q2_types.feature_data import DNAFASTAFormat
from q2_types.tree import NewickFormat

from q2_aam.actions.parameters import CLASSIFICATION, PRETRAINING, REGRESSION, takes_options
from q2_aam.types.model_format import AAMModelDirectoryFormat

RUN_DIR_VARIABLE = "Q2_AAM_RUN_DIR"


@takes_options(PRETRAINING)
def pretrain(
    table: biom.Table,
    phylogeny: NewickFormat,
    sequences: DNAFASTAFormat = None,
    initial_encoder: AAMModelDirectoryFormat = None,
    reference_ids: qiime2.Metadata = None,
    **options: dict,
) -> AAMModelDirectoryFormat:
    """Pre-train an encoder."""
    from q2_aam.core import api

    with _reporting():
        model = api.pretrain(
            table,
            str(phylogeny),
            **_shared(sequences, initial_encoder, reference_ids),
            **options,
        )
    return _save(model)


@takes_options(REGRESSION)
def train_regressor(
    table: biom.Table,
    metadata: qiime2.NumericMetadataColumn,
    encoder: AAMModelDirectoryFormat = None,
    phylogeny: NewickFormat = None,
    sequences: DNAFASTAFormat = None,
    reference_ids: qiime2.Metadata = None,
    missing_samples: str = "error",
    **options: dict,
) -> AAMModelDirectoryFormat:
    """Train a model that predicts a numeric column."""
    from q2_aam.core import api

    with _reporting():
        model = api.train_regressor(
            table,
            metadata.to_series(),
            phylogeny=_path(phylogeny),
            missing_samples=missing_samples,
            **_shared(sequences, encoder, reference_ids),
            **options,
        )
    return _save(model)


@takes_options(CLASSIFICATION)
def train_classifier(
    table: biom.Table,
    metadata: qiime2.CategoricalMetadataColumn,
    encoder: AAMModelDirectoryFormat = None,
    phylogeny: NewickFormat = None,
    sequences: DNAFASTAFormat = None,
    reference_ids: qiime2.Metadata = None,
    missing_samples: str = "error",
    **options: dict,
) -> AAMModelDirectoryFormat:
    """Train a model that predicts a categorical column."""
    from q2_aam.core import api

    with _reporting():
        model = api.train_classifier(
            table,
            metadata.to_series(),
            phylogeny=_path(phylogeny),
            missing_samples=missing_samples,
            **_shared(sequences, encoder, reference_ids),
            **options,
        )
    return _save(model)


def extract_encoder(model: AAMModelDirectoryFormat) -> AAMModelDirectoryFormat:
    """Take the encoder out of a model."""
    from q2_aam.core.model.trained_model import encoder_of

    return _save(encoder_of(_load(model)))


def predict_regression(
    table: biom.Table,
    regressor: AAMModelDirectoryFormat,
    sequences: DNAFASTAFormat = None,
    device: str = "auto",
) -> pd.Series:
    """Predict a numeric column."""
    from q2_aam.core import api

    with _reporting():
        return api.predict_regression(
            table, _load(regressor), sequences=_path(sequences), device=device
        )


def predict_intervals(
    table: biom.Table,
    regressor: AAMModelDirectoryFormat,
    sequences: DNAFASTAFormat = None,
    device: str = "auto",
) -> pd.DataFrame:
    """Predict quantiles of a numeric column."""
    from q2_aam.core import api

    with _reporting():
        return api.predict_quantiles(
            table, _load(regressor), sequences=_path(sequences), device=device
        )


def predict_classification(
    table: biom.Table,
    classifier: AAMModelDirectoryFormat,
    sequences: DNAFASTAFormat = None,
    device: str = "auto",
) -> (pd.Series, pd.DataFrame):
    """Predict a categorical column."""
    from q2_aam.core import api

    with _reporting():
        return api.predict_classification(
            table, _load(classifier), sequences=_path(sequences), device=device
        )


def _shared(sequences, encoder, reference_ids) -> dict:
    """Turn the views that all training actions take into what the core takes."""
    from q2_aam.core.api import Monitor

    return {
        "sequences": _path(sequences),
        "encoder": _load(encoder),
        "reference_ids": None if reference_ids is None else list(reference_ids.ids),
        "monitor": Monitor(run_dir=os.environ.get(RUN_DIR_VARIABLE) or None, progress=True),
    }


def _path(view) -> str | None:
    return None if view is None else str(view)


def _load(model):
    from q2_aam.core.artifact import storage

    return None if model is None else storage.load(str(model))


def _save(model) -> AAMModelDirectoryFormat:
    from q2_aam.core.artifact import storage

    directory = AAMModelDirectoryFormat()
    storage.save(model, str(directory))
    return directory


@contextmanager
def _reporting():
    """Let the core's messages reach the user: on stderr, which QIIME 2 shows under --verbose."""
    logger = logging.getLogger("q2_aam")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
