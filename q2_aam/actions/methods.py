"""The methods: QIIME 2 views in, one call of the core, a view out."""

import logging

import biom
import pandas as pd
import qiime2
from q2_types.feature_data import DNAFASTAFormat
from q2_types.tree import NewickFormat

from q2_aam.actions.parameters import CLASSIFICATION, PRETRAINING, REGRESSION, takes_options
from q2_aam.actions.reports import reporting
from q2_aam.actions.views import (
    all_columns_of,
    check_options,
    classes_of,
    load_model,
    path_of,
    save_model,
    saved,
    study_inputs,
    training_inputs,
)
from q2_aam.core.artifact.shipped.name import NAME
from q2_aam.core.explain.questions import check_quantiles
from q2_aam.core.model.specification import CLASSIFIER, ENCODER, REGRESSOR
from q2_aam.types.models import AAMModelDirectoryFormat
from q2_aam.types.predictions import check_class_names

log = logging.getLogger(__name__)


@takes_options(PRETRAINING)
def pretrain(
    table: biom.Table,
    phylogeny: NewickFormat,
    sequences: DNAFASTAFormat = None,
    initial_encoder: AAMModelDirectoryFormat = None,
    reference_ids: qiime2.Metadata = None,
    groups: qiime2.MetadataColumn = None,
    missing_samples: str = "error",
    **options: dict,
) -> AAMModelDirectoryFormat:
    """Pre-train an encoder."""
    check_options(ENCODER, options, initial_encoder)
    with reporting():
        from q2_aam.core import api

        model = api.pretrain(
            table,
            str(phylogeny),
            missing_samples=missing_samples,
            **training_inputs(sequences, initial_encoder, reference_ids, groups),
            **options,
        )
    return save_model(model)


@takes_options(REGRESSION)
def train_regressor(
    table: biom.Table,
    metadata: qiime2.MetadataColumn,
    encoder: AAMModelDirectoryFormat = None,
    phylogeny: NewickFormat = None,
    sequences: DNAFASTAFormat = None,
    reference_ids: qiime2.Metadata = None,
    groups: qiime2.MetadataColumn = None,
    covariates: qiime2.Metadata = None,
    covariate_columns: list = None,  # noqa: RUF013 - QIIME 2 takes no union here
    weights: qiime2.MetadataColumn = None,
    balance: qiime2.MetadataColumn = None,
    missing_samples: str = "error",
    **options: dict,
) -> AAMModelDirectoryFormat:
    """Train a model that predicts a numeric column."""
    check_options(REGRESSOR, options, encoder, ships=encoder is None and phylogeny is None)
    study = study_inputs(covariates, covariate_columns, weights, balance)
    with reporting():
        from q2_aam.core import api

        model = api.train_regressor(
            table,
            metadata.to_series(),
            phylogeny=path_of(phylogeny),
            missing_samples=missing_samples,
            **training_inputs(sequences, encoder, reference_ids, groups),
            **study,
            **options,
        )
    return save_model(model)


@takes_options(CLASSIFICATION)
def train_classifier(
    table: biom.Table,
    metadata: qiime2.MetadataColumn,
    encoder: AAMModelDirectoryFormat = None,
    phylogeny: NewickFormat = None,
    sequences: DNAFASTAFormat = None,
    reference_ids: qiime2.Metadata = None,
    groups: qiime2.MetadataColumn = None,
    covariates: qiime2.Metadata = None,
    covariate_columns: list = None,  # noqa: RUF013 - QIIME 2 takes no union here
    weights: qiime2.MetadataColumn = None,
    balance: qiime2.MetadataColumn = None,
    missing_samples: str = "error",
    **options: dict,
) -> AAMModelDirectoryFormat:
    """Train a model that predicts a categorical column."""
    check_options(CLASSIFIER, options, encoder, ships=encoder is None and phylogeny is None)
    study = study_inputs(covariates, covariate_columns, weights, balance)
    column = classes_of(metadata)
    check_class_names(column.name, column[column.index.isin(table.ids())].dropna())
    with reporting():
        from q2_aam.core import api

        model = api.train_classifier(
            table,
            column,
            phylogeny=path_of(phylogeny),
            missing_samples=missing_samples,
            **training_inputs(sequences, encoder, reference_ids, groups),
            **study,
            **options,
        )
    return save_model(model)


def shipped_encoder(name: str = NAME) -> AAMModelDirectoryFormat:
    """Hand out the encoder that ships."""
    from q2_aam.core.artifact.shipped import encoder

    return save_model(encoder.load())


def extract_encoder(model: AAMModelDirectoryFormat) -> AAMModelDirectoryFormat:
    """Take the encoder out of a model."""
    from q2_aam.core.model.trained_model import encoder_of

    return save_model(encoder_of(load_model(model)))


def combine_models(models: AAMModelDirectoryFormat) -> AAMModelDirectoryFormat:
    """Put models together into an ensemble."""
    # QIIME 2 gives a list of what the annotation says.
    from q2_aam.core.model.trained_model import Ensemble

    return save_model(Ensemble.of(map(load_model, models)))


def predict_regression(
    table: biom.Table,
    regressor: AAMModelDirectoryFormat,
    sequences: DNAFASTAFormat = None,
    covariates: qiime2.Metadata = None,
    only_covariates: bool = False,
    device: str = "auto",
) -> pd.Series:
    """Predict a numeric column."""
    with reporting():
        from q2_aam.core import api

        return api.predict_regression(
            table,
            load_model(regressor),
            device=device,
            only_covariates=only_covariates,
            **_beside(sequences, covariates),
        )


def predict_intervals(
    table: biom.Table,
    regressor: AAMModelDirectoryFormat,
    sequences: DNAFASTAFormat = None,
    covariates: qiime2.Metadata = None,
    device: str = "auto",
) -> pd.DataFrame:
    """Predict quantiles of a numeric column."""
    check_quantiles(saved(regressor).spec)
    with reporting():
        from q2_aam.core import api

        return api.predict_quantiles(
            table, load_model(regressor), device=device, **_beside(sequences, covariates)
        )


def predict_classification(
    table: biom.Table,
    classifier: AAMModelDirectoryFormat,
    sequences: DNAFASTAFormat = None,
    covariates: qiime2.Metadata = None,
    only_covariates: bool = False,
    device: str = "auto",
) -> (pd.Series, pd.DataFrame):
    """Predict a categorical column."""
    with reporting():
        from q2_aam.core import api
        from q2_aam.core.model.trained_model import target_of

        model = load_model(classifier)
        _warn_of_class_names(target_of(model))
        return api.predict_classification(
            table,
            model,
            device=device,
            only_covariates=only_covariates,
            **_beside(sequences, covariates),
        )


def _beside(sequences, covariates) -> dict:
    """Turn what a prediction is given beside table and model into what the core takes."""
    return {"sequences": path_of(sequences), "covariates": all_columns_of(covariates)}


def _warn_of_class_names(target) -> None:
    """Warn of names that training would refuse now: other tools made the model, or older ones."""
    try:
        check_class_names(target.column, target.classes)
    except ValueError as error:
        log.warning("%s The model keeps its classes as they are.", error)
