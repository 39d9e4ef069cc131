"""The format of a model. Its checks are those of the core, which need no torch."""

from qiime2.plugin import BinaryFileFormat, ValidationError
from qiime2.plugin import model as qiime2_model

from q2_aam.core import artifact


class AAMModelFileFormat(BinaryFileFormat):
    """A file of a model. Whether it is sound only shows beside the others."""

    def _validate_(self, level):
        """Leave the check to the directory."""


class AAMModelDirectoryFormat(qiime2_model.DirectoryFormat):
    """A trained model of any kind: configuration, weights, history, TensorBoard's event files."""

    config = qiime2_model.File(artifact.CONFIG, format=AAMModelFileFormat)
    weights = qiime2_model.File(artifact.WEIGHTS, format=AAMModelFileFormat)
    history = qiime2_model.File(artifact.HISTORY, format=AAMModelFileFormat)
    events = qiime2_model.FileCollection(
        f"{artifact.EVENTS}/{artifact.EVENT_FILE}", format=AAMModelFileFormat, optional=True
    )

    @events.set_path_maker
    def events_path_maker(self, name):
        """Say where the event file of a name is."""
        return f"{artifact.EVENTS}/{name}"

    def _validate_(self, level):
        try:
            artifact.validate(self.path, level)
        except artifact.ArtifactError as error:
            raise ValidationError(str(error)) from error
