"""Models: their semantic types, their format, and what QIIME 2 does with them by itself.

The names of semantic types are global in QIIME 2, so these are ours alone. The checks of the
format are those of the core, which need no torch.
"""

import numpy as np
import qiime2
from qiime2.plugin import BinaryFileFormat, SemanticType, ValidationError
from qiime2.plugin import model as qiime2_model

from q2_aam.core.artifact import model_directory
from q2_aam.core.model.specification import CLASSIFIER, ENCODER, REGRESSOR

AAMModel = SemanticType("AAMModel", field_names="type")

SequenceEncoder = SemanticType("SequenceEncoder", variant_of=AAMModel.field["type"])
SequenceRegressor = SemanticType("SequenceRegressor", variant_of=AAMModel.field["type"])
SequenceClassifier = SemanticType("SequenceClassifier", variant_of=AAMModel.field["type"])


class AAMModelFileFormat(BinaryFileFormat):
    """A file of a model. Whether it is sound only shows beside the others."""

    def _validate_(self, level):
        """Leave the check to the directory."""


class AAMModelDirectoryFormat(qiime2_model.DirectoryFormat):
    """A trained model of any kind: configuration, weights, history, TensorBoard's event files."""

    config = qiime2_model.File(model_directory.CONFIG, format=AAMModelFileFormat)
    weights = qiime2_model.File(model_directory.WEIGHTS, format=AAMModelFileFormat)
    history = qiime2_model.File(model_directory.HISTORY, format=AAMModelFileFormat)
    events = qiime2_model.FileCollection(
        f"{model_directory.EVENTS}/{model_directory.EVENT_FILE}",
        format=AAMModelFileFormat,
        optional=True,
    )

    @events.set_path_maker
    def events_path_maker(self, name):
        """Say where the event file of a name is."""
        return f"{model_directory.EVENTS}/{name}"

    def _validate_(self, level):
        try:
            model_directory.validate(self.path, level)
        except model_directory.ArtifactError as error:
            raise ValidationError(str(error)) from error


def history_as_metadata(model: AAMModelDirectoryFormat) -> qiime2.Metadata:
    """Show the training history wherever QIIME 2 takes metadata: one row an epoch."""
    history = model_directory.read_history(model.path)
    history = history.set_index(history.pop("epoch").astype(str).rename("id"))
    # Metadata has no infinity; a loss that ran away is shown as missing.
    return qiime2.Metadata(history.replace([np.inf, -np.inf], np.nan))


def validate_encoder(data: AAMModelDirectoryFormat, level: str):
    """Refuse models of another kind under the type of encoders."""
    _check_kind(data, ENCODER)


def validate_regressor(data: AAMModelDirectoryFormat, level: str):
    """Refuse models of another kind under the type of regressors."""
    _check_kind(data, REGRESSOR)


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
