"""A trained model in memory: what it is, its weights, how it was trained."""

import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import torch

import q2_aam
from q2_aam.core.model.specification import ENCODER, ModelSpec

BASE = "base_model."
PACKAGES = ("torch", "lightning", "numpy", "scikit-learn", "safetensors")


def package_versions() -> dict[str, str]:
    """Return the versions of what makes a model here and now, by name."""
    versions = {"q2_aam": q2_aam.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "unknown"
    return versions


@dataclass(eq=False)
class TrainedModel:
    """A trained model as it is kept.

    Parameters
    ----------
    spec : ModelSpec
        What it is.
    weights : dict of str to Tensor
        Its state dictionary.
    history : pandas.DataFrame
        One row an epoch: 'epoch', then losses, metrics, learning rate and seconds.
    event_files : dict of str to bytes or Path
        TensorBoard's files by name, as their content or as where they are. A loaded model has
        paths into the directory it came from, since nothing here reads them.
    versions : dict of str to str
        Packages that made it.
    warnings : tuple of str
        What its training warned of.
    """

    spec: ModelSpec
    weights: Mapping[str, torch.Tensor]
    history: pd.DataFrame
    event_files: Mapping[str, bytes | Path] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=package_versions)
    warnings: tuple[str, ...] = ()


def encoder_of(model: TrainedModel) -> TrainedModel:
    """Take the encoder out of a model, without its target and the samples that it stores.

    Parameters
    ----------
    model : TrainedModel
        Of any kind; an encoder is returned as it is.

    Returns
    -------
    TrainedModel
        Of kind SequenceEncoder, with the history of the model.
    """
    if model.spec.kind == ENCODER:
        return model
    none = dict.fromkeys(("fine_tuning", "target", "stored", "covariates"))
    spec = replace(model.spec, kind=ENCODER, n_vectors=0, **none)
    weights = {
        name.removeprefix(BASE): value
        for name, value in model.weights.items()
        if name.startswith(BASE)
    }
    return replace(model, spec=spec, weights=weights, warnings=())  # they may name samples


def check_kind(model: TrainedModel, expected: str, instead: str) -> None:
    """Refuse a model of another kind.

    Raises
    ------
    ValueError
        If it is not of the kind that is expected; the message says what to use instead.
    """
    if model.spec.kind != expected:
        way_out = (
            "train it on a metadata column first (train-regressor, train-classifier)"
            if model.spec.kind == ENCODER
            else f"use {instead}"
        )
        raise ValueError(f"The model is a {model.spec.kind}, not a {expected}: {way_out}.")
