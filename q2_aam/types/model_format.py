"""The format of a model. Its checks are those of the core, which need no torch."""

from qiime2.plugin import BinaryFileFormat, ValidationError
from qiime2.plugin import model as qiime2_model

from q2_aam.core.artifact import model_directory


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
