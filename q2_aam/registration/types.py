"""Registration of semantic types, formats, transformers and validators."""

from q2_types.feature_data import FeatureData
from q2_types.feature_table import BIOMV210DirFmt, FeatureTable
from q2_types.sample_data import SampleData

from q2_aam.registration.shared import ANY_MODEL
from q2_aam.types import embeddings, intervals, known_reads, models, results, scores
from q2_aam.types.embeddings import AAMEffect, AAMEmbedding
from q2_aam.types.intervals import AAMIntervals
from q2_aam.types.known_reads import AAMKnownReads
from q2_aam.types.models import AAMModel, SequenceClassifier, SequenceEncoder, SequenceRegressor
from q2_aam.types.results import AAMResults
from q2_aam.types.scores import AAMScores


def register(plugin):
    """Register all types with the plugin."""
    _register_models(plugin)
    _register_embeddings(plugin)
    _register_intervals(plugin)
    _register_known_reads(plugin)
    _register_results(plugin)
    _register_scores(plugin)


def _register_models(plugin):
    plugin.register_semantic_types(
        AAMModel, SequenceEncoder, SequenceRegressor, SequenceClassifier
    )
    plugin.register_formats(models.AAMModelDirectoryFormat)
    plugin.register_semantic_type_to_format(ANY_MODEL, models.AAMModelDirectoryFormat)
    plugin.register_transformer(models.history_as_metadata)
    plugin.register_validator(AAMModel[SequenceEncoder])(models.validate_encoder)
    plugin.register_validator(AAMModel[SequenceRegressor])(models.validate_regressor)
    plugin.register_validator(AAMModel[SequenceClassifier])(models.validate_classifier)


def _register_embeddings(plugin):
    plugin.register_semantic_types(AAMEmbedding, AAMEffect)
    plugin.register_formats(embeddings.AAMEmbeddingFormat, embeddings.AAMEmbeddingDirectoryFormat)
    plugin.register_semantic_type_to_format(
        SampleData[AAMEmbedding] | FeatureData[AAMEmbedding],
        embeddings.AAMEmbeddingDirectoryFormat,
    )
    plugin.register_semantic_type_to_format(FeatureTable[AAMEffect], BIOMV210DirFmt)
    plugin.register_transformer(embeddings.write_embeddings)
    plugin.register_transformer(embeddings.read_embeddings)
    plugin.register_transformer(embeddings.embeddings_as_metadata)


def _register_intervals(plugin):
    plugin.register_semantic_types(AAMIntervals)
    plugin.register_formats(intervals.AAMIntervalsFormat, intervals.AAMIntervalsDirectoryFormat)
    plugin.register_semantic_type_to_format(
        SampleData[AAMIntervals], intervals.AAMIntervalsDirectoryFormat
    )
    plugin.register_transformer(intervals.write_intervals)
    plugin.register_transformer(intervals.read_intervals)
    plugin.register_transformer(intervals.intervals_as_metadata)


def _register_known_reads(plugin):
    plugin.register_semantic_types(AAMKnownReads)
    plugin.register_formats(
        known_reads.AAMKnownReadsFormat, known_reads.AAMKnownReadsDirectoryFormat
    )
    plugin.register_semantic_type_to_format(
        SampleData[AAMKnownReads], known_reads.AAMKnownReadsDirectoryFormat
    )
    plugin.register_transformer(known_reads.write_known_reads)
    plugin.register_transformer(known_reads.read_known_reads)
    plugin.register_transformer(known_reads.known_reads_as_metadata)


def _register_scores(plugin):
    plugin.register_semantic_types(AAMScores)
    plugin.register_formats(scores.AAMScoresFormat, scores.AAMScoresDirectoryFormat)
    plugin.register_semantic_type_to_format(AAMScores, scores.AAMScoresDirectoryFormat)
    plugin.register_transformer(scores.write_scores)
    plugin.register_transformer(scores.read_scores)
    plugin.register_transformer(scores.show_scores)


def _register_results(plugin):
    plugin.register_semantic_types(AAMResults)
    plugin.register_formats(results.AAMResultsFormat, results.AAMResultsDirectoryFormat)
    plugin.register_semantic_type_to_format(
        SampleData[AAMResults], results.AAMResultsDirectoryFormat
    )
    plugin.register_transformer(results.write_results)
    plugin.register_transformer(results.read_results)
    plugin.register_transformer(results.results_as_metadata)
