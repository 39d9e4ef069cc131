"""How far each ASV moves the predictions of a model, over all samples or over groups of them."""

from dataclasses import dataclass

import biom
import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from torch import nn

from q2_aam.core.data.sample_table import SampleTable
from q2_aam.core.explain import attribution
from q2_aam.core.explain.questions import class_asked_about
from q2_aam.core.model.specification import CLASSIFIER, ModelSpec
from q2_aam.core.options.config import DataConfig

METHODS = ("occlusion", "integrated-gradients")


@dataclass(frozen=True)
class Importance:
    """What drives the predictions of a model.

    Parameters
    ----------
    importance : DataFrame of shape (n_features, 1 or n_groups)
        Mean over the samples of how far a feature moves the prediction, up or down.
        Columns: 'importance', or 'importance_' and the name of the group.
    mean_effects : DataFrame of shape (n_features, 1 or n_groups)
        Mean over the samples of how a feature moves the prediction, with its sign.
        Columns: 'mean_effect', or 'mean_effect_' and the name of the group.
    sample_effects : biom.Table of shape (n_features, n_samples)
        The same of each sample.
    """

    importance: pd.DataFrame
    mean_effects: pd.DataFrame
    sample_effects: biom.Table


@dataclass(frozen=True)
class ImportanceConfig:
    """How effects are measured.

    Parameters
    ----------
    method : {'occlusion', 'integrated-gradients'}
        See `q2_aam.core.explain.attribution`.
    max_features : int
        Occlusion only: ASVs that are taken away from each sample; 0 is all.
    steps : int
        Integrated gradients only: points of the integral.
    """

    method: str = "occlusion"
    max_features: int = 100
    steps: int = 32

    def __post_init__(self):
        if self.method not in METHODS:
            raise ValueError(
                f"method must be 'occlusion' or 'integrated-gradients', found {self.method!r}."
            )


def measure_importance(
    model: nn.Module,
    samples: SampleTable,
    data: DataConfig,
    question: attribution.Question,
    config: ImportanceConfig,
    groups: pd.Series | None = None,
) -> Importance:
    """Measure what each ASV does to the predictions of a model.

    Parameters
    ----------
    model : SequencePredictor
    samples : SampleTable
    data : DataConfig
        How samples above the token limit are cut.
    question : Question
    config : ImportanceConfig
    groups : Series, optional
        Group of each sample, in the order of the table: means are taken in each by itself.
    """
    if config.method == "occlusion":
        effects = attribution.occlude(model, samples, data, question, config.max_features)
    else:
        effects = attribution.integrate_gradients(model, samples, data, question, config.steps)
    return summarize(biom.Table(effects.T, samples.feature_ids, samples.sample_ids), groups)


def summarize(effects: biom.Table, groups: pd.Series | None = None) -> Importance:
    """Average effects over the samples, or over each group of them.

    Parameters
    ----------
    effects : biom.Table of shape (n_features, n_samples)
    groups : Series, optional
        Group of each sample, in the order of the table.
    """
    values, features = effects.matrix_data.T.tocsr(), effects.ids("observation")
    return Importance(
        _means(abs(values), features, groups, "importance"),
        _means(values, features, groups, "mean_effect"),
        effects,
    )


def question_of(spec: ModelSpec, target_class: str | None) -> attribution.Question:
    """Say what of a model's predictions is explained.

    Raises
    ------
    ValueError
        If the model predicts nothing, or has no such class.
    """
    asked = class_asked_about(spec, target_class)
    return attribution.Question(None if spec.kind == CLASSIFIER else spec.target, asked)


def _means(effects: csr_matrix, feature_ids, groups: pd.Series | None, name: str) -> pd.DataFrame:
    """Average effects (N, F) over the samples, or over those of each group."""
    if groups is None:
        parts = {name: np.arange(effects.shape[0])}
    else:
        labels = groups.to_numpy()
        # Named apart from each other, so that both tables can be put side by side.
        parts = {
            f"{name}_{label}": np.flatnonzero(labels == label) for label in sorted(set(labels))
        }
    means = {
        label: np.asarray(effects[rows].mean(axis=0)).ravel() for label, rows in parts.items()
    }
    return pd.DataFrame(means, index=pd.Index(feature_ids, name="feature-id"))
