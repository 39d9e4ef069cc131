"""Semantic types. The names are global in QIIME 2, so they are ours alone."""

from qiime2.plugin import SemanticType

AAMModel = SemanticType("AAMModel", field_names="type")

SequenceEncoder = SemanticType("SequenceEncoder", variant_of=AAMModel.field["type"])
SequenceRegressor = SemanticType("SequenceRegressor", variant_of=AAMModel.field["type"])
SequenceClassifier = SemanticType("SequenceClassifier", variant_of=AAMModel.field["type"])
