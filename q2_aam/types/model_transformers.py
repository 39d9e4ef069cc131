"""What QIIME 2 does with a model by itself: show its history, and check that its type is true."""

import numpy as np
import qiime2
from qiime2.plugin import ValidationError

from q2_aam.core.artifact import model_directory
from q2_aam.core.model.specification import CLASSIFIER, ENCODER, REGRESSOR
from q2_aam.plugin_setup import plugin
from q2_aam.types.model_format import AAMModelDirectoryFormat
from q2_aam.types.models import AAMModel, SequenceClassifier, SequenceEncoder, SequenceRegressor


@plugin.register_transformer
def _1(model: AAMModelDirectoryFormat) -> qiime2.Metadata:
    """Show the training history wherever QIIME 2 takes metadata: one row an epoch."""
    history = model_directory.read_history(model.path)
    history = history.set_index(history.pop("epoch").astype(str).rename("id"))
    # Metadata has no infinity; a loss that ran away is shown as missing.
    return qiime2.Metadata(history.replace([np.inf, -np.inf], np.nan))


@plugin.register_validator(AAMModel[SequenceEncoder])
def validate_encoder(data: AAMModelDirectoryFormat, level: str):
    """Refuse models of another kind under the type of encoders."""
    _check_kind(data, ENCODER)


@plugin.register_validator(AAMModel[SequenceRegressor])
def validate_regressor(data: AAMModelDirectoryFormat, level: str):
    """Refuse models of another kind under the type of regressors."""
    _check_kind(data, REGRESSOR)


@plugin.register_validator(AAMModel[SequenceClassifier])
def validate_classifier(data: AAMModelDirectoryFormat, level: str):
    """Refuse models of another kind under the type of classifiers."""
    _check_kind(data, CLASSIFIER)


def _check_kind(data: AAMModelDirectoryFormat, expected: str) -> None:
    found = model_directory.read_config(data.path).spec.kind
    if found != expected:
        raise ValidationError(
            f"The model in {data.path} is AAMModel[{found}], not AAMModel[{expected}]; import it "
            f"as AAMModel[{found}]."
        )
