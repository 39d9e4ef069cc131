"""Attention All Microbes for people who write Python: tables and trees in, models and numbers out.

A feature table is a `biom.Table`, a phylogeny the path of a Newick file, sequences a mapping or
the path of a FASTA file, a metadata column a `pandas.Series`. Options are those of
`q2_aam.core.options`, by name. Nothing here needs QIIME 2.
"""

from q2_aam.core.api.explanation import embed, embed_features, importance, known_reads
from q2_aam.core.api.prediction import (
    predict_classification,
    predict_quantiles,
    predict_regression,
)
from q2_aam.core.api.training import pretrain, train_classifier, train_regressor
from q2_aam.core.artifact.storage import load, save
from q2_aam.core.explain.importance import Importance
from q2_aam.core.explain.prediction_input import module_of, samples_for
from q2_aam.core.model.trained_model import Ensemble, TrainedModel
from q2_aam.core.training.ranks.layout import Layout
from q2_aam.core.training.run import Monitor

__all__ = [
    "Ensemble",
    "Importance",
    "Layout",
    "Monitor",
    "TrainedModel",
    "embed",
    "embed_features",
    "importance",
    "known_reads",
    "load",
    "module_of",
    "predict_classification",
    "predict_quantiles",
    "predict_regression",
    "pretrain",
    "samples_for",
    "save",
    "train_classifier",
    "train_regressor",
]
