"""A trained model in memory: what it is, its weights, how it was trained."""

import importlib.metadata
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import torch

import q2_aam
from q2_aam.core.data.target import CategoricalTarget, NumericTarget
from q2_aam.core.model.members import check_members, joint_target
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
    samples : pandas.DataFrame, optional
        What each sample of its training was used for, as `data.splits.roles` says; absent where
        that is not known or not kept.
    """

    spec: ModelSpec
    weights: Mapping[str, torch.Tensor]
    history: pd.DataFrame
    event_files: Mapping[str, bytes | Path] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=package_versions)
    warnings: tuple[str, ...] = ()
    samples: pd.DataFrame | None = None


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Models of one column that predict together: the mean of what each predicts.

    Parameters
    ----------
    members : tuple of TrainedModel
        Regressors, or classifiers; their classes may differ.

    Raises
    ------
    ValueError
        If they do not predict the same (`members.check_members`).
    """

    members: tuple[TrainedModel, ...]

    def __post_init__(self):
        check_members([member.spec for member in self.members])

    @classmethod
    def of(cls, models: "Iterable[TrainedModel | Ensemble]") -> "Ensemble":
        """Put models together, and the members of ensembles among them."""
        return cls(tuple(member for model in models for member in members_of(model)))


def members_of(model: TrainedModel | Ensemble) -> tuple[TrainedModel, ...]:
    """Return the members of an ensemble, or a model by itself."""
    return model.members if isinstance(model, Ensemble) else (model,)


def target_of(model: TrainedModel | Ensemble) -> NumericTarget | CategoricalTarget:
    """Return what a model predicts, or an ensemble: all classes that a member has learnt."""
    return joint_target([member.spec for member in members_of(model)])


def with_one_encoder(model: TrainedModel | Ensemble | None) -> TrainedModel | None:
    """Return a model as it is, and the encoder of an ensemble.

    Raises
    ------
    ValueError
        If the members of an ensemble have different encoders.
    """
    return encoder_of(model) if isinstance(model, Ensemble) else model


def encoder_of(model: TrainedModel | Ensemble) -> TrainedModel:
    """Take the encoder out of a model, without its target, samples, their ids, and warnings.

    Parameters
    ----------
    model : TrainedModel or Ensemble
        Of any kind; of an encoder only ids and warnings are left out. All members of an ensemble
        must have the same encoder, as they have if they kept the one that they started from
        (`freeze_base`).

    Returns
    -------
    TrainedModel
        Of kind SequenceEncoder, with the history of the model, or of the first member.

    Raises
    ------
    ValueError
        If the members of an ensemble have different encoders.
    """
    if isinstance(model, Ensemble):
        first, *others = map(encoder_of, model.members)
        for number, other in enumerate(others, start=2):
            if not _is_same_encoder(first, other):
                raise ValueError(
                    f"The encoders of models 1 and {number} of the ensemble differ, so it has no "
                    "encoder of its own: give one single model ('qiime tools export' writes each "
                    "model of an ensemble into the folder members)."
                )
        return first
    # Warnings may name samples.
    nothing = {"warnings": (), "samples": None}
    if model.spec.kind == ENCODER:
        return replace(model, **nothing)
    none = dict.fromkeys(("fine_tuning", "target", "stored", "covariates"))
    spec = replace(model.spec, kind=ENCODER, n_vectors=0, **none)
    weights = {
        name.removeprefix(BASE): value
        for name, value in model.weights.items()
        if name.startswith(BASE)
    }
    return replace(model, spec=spec, weights=weights, **nothing)


def _is_same_encoder(a: TrainedModel, b: TrainedModel) -> bool:
    """Tell whether two encoders compute the same; options of their training may differ."""
    alike = replace(a.spec.model, dropout=0.0) == replace(b.spec.model, dropout=0.0)
    return (
        alike
        and set(a.weights) == set(b.weights)
        and all(torch.equal(a.weights[name], b.weights[name]) for name in a.weights)
    )


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
