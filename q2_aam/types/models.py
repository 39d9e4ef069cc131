"""Models: their semantic types, their format, and what QIIME 2 does with them by itself.

The names of semantic types are global in QIIME 2, so these are ours alone. The checks of the
format are those of the core, which need no torch.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import qiime2
from qiime2.plugin import BinaryFileFormat, SemanticType, ValidationError
from qiime2.plugin import model as qiime2_model

from q2_aam.core.artifact import ensemble_directory, model_directory
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
    """A trained model of any kind: configuration, weights, history, samples, event files.

    Or an ensemble: models side by side in the folder members, and a list of them. Which of both
    it is, and that no file is missing, is for the core to tell.
    """

    config = qiime2_model.File(model_directory.CONFIG, format=AAMModelFileFormat, optional=True)
    weights = qiime2_model.File(model_directory.WEIGHTS, format=AAMModelFileFormat, optional=True)
    history = qiime2_model.File(model_directory.HISTORY, format=AAMModelFileFormat, optional=True)
    samples = qiime2_model.File(model_directory.SAMPLES, format=AAMModelFileFormat, optional=True)
    ensemble = qiime2_model.File(
        ensemble_directory.INDEX, format=AAMModelFileFormat, optional=True
    )
    members = qiime2_model.FileCollection(
        rf"{ensemble_directory.MEMBERS}/[1-9][0-9]*/.+", format=AAMModelFileFormat, optional=True
    )
    events = qiime2_model.FileCollection(
        f"{model_directory.EVENTS}/{model_directory.EVENT_FILE}",
        format=AAMModelFileFormat,
        optional=True,
    )

    @events.set_path_maker
    def events_path_maker(self, name):
        """Say where the event file of a name is."""
        return f"{model_directory.EVENTS}/{name}"

    @members.set_path_maker
    def members_path_maker(self, name):
        """Say where a file of a member is, such as '1/config.json'."""
        return f"{ensemble_directory.MEMBERS}/{name}"

    def _validate_(self, level):
        try:
            ensemble_directory.validate(self.path, level)
        except model_directory.ArtifactError as error:
            raise ValidationError(str(error)) from error


def history_as_metadata(model: AAMModelDirectoryFormat) -> qiime2.Metadata:
    """Show the training history wherever QIIME 2 takes metadata: one row an epoch.

    Of an ensemble, one row an epoch of each model; columns say which model, and which epoch.
    """
    folders = ensemble_directory.member_directories(model.path)
    history = pd.concat([_history_of(folder) for folder in folders])
    if not ensemble_directory.is_ensemble(model.path):
        history = history.drop(columns=["model", "epoch"]).set_index(history["epoch"].astype(str))
    history = history.rename_axis("id")
    # Metadata has no infinity; a loss that ran away is shown as missing.
    return qiime2.Metadata(history.replace([np.inf, -np.inf], np.nan))


def _history_of(folder: Path) -> pd.DataFrame:
    history = model_directory.read_history(folder)
    history.insert(0, "model", folder.name)
    names = [f"model {folder.name}, epoch {epoch}" for epoch in history["epoch"]]
    return history.set_axis(names)


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
    found = ensemble_directory.read_configs(data.path)[0].spec.kind
    if found != expected:
        raise ValidationError(
            f"The model in {data.path} is AAMModel[{found}], not AAMModel[{expected}]; import it "
            f"as AAMModel[{found}]."
        )
