"""What actions share: QIIME 2 views into what the core takes and back."""

import os

import pandas as pd
import qiime2

from q2_aam.core.data.metadata import listed
from q2_aam.core.data.splits.grouped_split import name_of
from q2_aam.types.models import AAMModelDirectoryFormat
from q2_aam.types.predictions import read_predictions, read_probabilities

RUN_DIR_VARIABLE = "Q2_AAM_RUN_DIR"


def study_inputs(covariates, covariate_columns, weights, balance) -> dict:
    """Turn what training is told of its samples into what the core takes."""
    return {
        "covariates": covariates_of(covariates, covariate_columns),
        "weights": None if weights is None else weights.to_series(),
        "balance": groups_of(balance),
    }


def covariates_of(
    metadata: qiime2.Metadata | None, columns: list[str] | None
) -> pd.DataFrame | None:
    """Return the columns of metadata that are read beside the table; None if there are none.

    Raises
    ------
    ValueError
        If no columns are named, or the metadata lacks one.
    """
    if metadata is None and not columns:
        return None
    if metadata is None:
        raise ValueError(
            f"covariate_columns names {', '.join(columns)}, and no metadata of covariates is "
            "given: give the file that has these columns (--m-covariates-file)."
        )
    known = list(metadata.columns)
    if not columns:
        raise ValueError(
            "Which columns of the metadata are covariates must be named (--p-covariate-columns): "
            f"the metadata has {listed(known)}."
        )
    absent = [name for name in columns if name not in known]
    if absent:
        raise ValueError(
            f"The metadata of the covariates has no column '{absent[0]}'; it has {listed(known)}."
        )
    return metadata.to_dataframe()[list(dict.fromkeys(columns))]


def all_columns_of(metadata: qiime2.Metadata | None) -> pd.DataFrame | None:
    """Return metadata of which a model chooses the columns that it was trained with."""
    return None if metadata is None else metadata.to_dataframe()


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
    """Read what a model is, or the first member of an ensemble, without its weights.

    It may be absent.
    """
    from q2_aam.core.artifact import ensemble_directory

    return None if model is None else ensemble_directory.read_configs(str(model))[0]


def path_of(view) -> str | None:
    """Return the path of a file that may be absent."""
    return None if view is None else str(view)


def classes_of(column: qiime2.MetadataColumn) -> pd.Series:
    """Return the classes of a metadata column.

    A column without any value is numeric for QIIME 2. It is left to those who look for values.

    Raises
    ------
    ValueError
        If QIIME 2 read the column as numbers: '01' and '1' are then one number, so that the words
        of the file are lost.
    """
    values = column.to_series()
    found = values.dropna().unique()
    if isinstance(column, qiime2.NumericMetadataColumn) and len(found):
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


def classes_and_chances(name: str, predictions, probabilities) -> tuple | None:
    """Return what a baseline predicts: classes and probabilities; None if it is absent.

    Raises
    ------
    ValueError
        If one of the two is given without the other.
    """
    if predictions is None and probabilities is None:
        return None
    if predictions is None or probabilities is None:
        given, missing = f"{name}_predictions", f"{name}_probabilities"
        if predictions is None:
            given, missing = missing, given
        raise ValueError(f"{given} is given without {missing}; give both, or none of them.")
    return read_predictions(predictions), read_probabilities(probabilities)


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
