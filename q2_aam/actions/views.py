"""What actions share: QIIME 2 views into what the core takes and back."""

import os

import pandas as pd
import qiime2

from q2_aam.core.data.splits.grouped_split import name_of
from q2_aam.types.models import AAMModelDirectoryFormat

RUN_DIR_VARIABLE = "Q2_AAM_RUN_DIR"


def training_inputs(sequences, encoder, reference_ids, groups) -> dict:
    """Turn the views that all training actions take into what the core takes."""
    from q2_aam.core.api import Layout, Monitor

    run_dir = os.environ.get(RUN_DIR_VARIABLE) or None
    layout = Layout.from_environment(os.environ)
    return {
        "sequences": path_of(sequences),
        "encoder": load_model(encoder),
        "reference_ids": None if reference_ids is None else list(reference_ids.ids),
        "groups": groups_of(groups),
        "monitor": Monitor(run_dir=run_dir, progress=True, layout=layout),
    }


def check_options(kind: str, options: dict, encoder=None, *, ships: bool = False) -> None:
    """Refuse impossible options at once: what computes takes seconds to load.

    The encoder that ships may be taken where `ships` says so.

    Raises
    ------
    OptionError
        With everything that is wrong.
    """
    from q2_aam.core.training.preparation.run_settings import settings_of

    settings_of(kind, options, saved(encoder), ships=ships)


def saved(model):
    """Read what a model is, without its weights; it may be absent."""
    from q2_aam.core.artifact import model_directory

    return None if model is None else model_directory.read_config(str(model))


def path_of(view) -> str | None:
    """Return the path of a file that may be absent."""
    return None if view is None else str(view)


def classes_of(column: qiime2.MetadataColumn) -> pd.Series:
    """Return the classes of a metadata column.

    Raises
    ------
    ValueError
        If QIIME 2 read the column as numbers: '01' and '1' are then one number, so that the words
        of the file are lost.
    """
    values = column.to_series()
    if isinstance(column, qiime2.NumericMetadataColumn):
        found = values.dropna().unique()
        listed = ", ".join(f"{value:g}" for value in sorted(found)[:3])
        raise ValueError(
            f"Metadata column '{column.name}' is numeric ({len(found)} different values, such as "
            f"{listed}), and classes are expected: to make it categorical, add a line below the "
            "header of the metadata file that begins with '#q2:types' and has the word "
            "'categorical' in this column, or predict numbers with a regressor."
        )
    return values


def groups_of(column: qiime2.MetadataColumn | None) -> pd.Series | None:
    """Return the names of groups, which may be numbers; None stays None."""
    if column is None:
        return None
    return column.to_series().map(name_of, na_action="ignore").astype(object)


def load_model(model):
    """Read a model that may be absent."""
    from q2_aam.core.artifact import storage

    return None if model is None else storage.load(str(model))


def save_model(model) -> AAMModelDirectoryFormat:
    """Write a model into a directory that QIIME 2 takes."""
    from q2_aam.core.artifact import storage

    directory = AAMModelDirectoryFormat()
    storage.save(model, str(directory))
    return directory
