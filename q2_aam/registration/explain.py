"""Registration of the actions that look into a model."""

from q2_sample_classifier import Importance
from q2_types.distance_matrix import DistanceMatrix
from q2_types.feature_data import FeatureData, Sequence
from q2_types.feature_table import FeatureTable, Frequency
from q2_types.sample_data import SampleData
from qiime2.plugin import Choices, Int, Metadata, Range, Str

from q2_aam.actions import explain
from q2_aam.actions.parameters import (
    MISSING_SAMPLES,
    MISSING_SAMPLES_HELP,
    prediction_help,
    prediction_types,
)
from q2_aam.registration.shared import (
    ANY_COLUMN,
    ANY_MODEL,
    COVARIATES_HELP,
    NEW_TABLE_HELP,
    SEQUENCES_HELP,
    citations,
)
from q2_aam.types.embeddings import AAMEffect, AAMEmbedding
from q2_aam.types.known_reads import AAMKnownReads
from q2_aam.types.models import AAMModel, SequenceClassifier, SequenceRegressor

IMPORTANCE = (
    "Measure the effect of each ASV on the prediction of a sample, in the units of a "
    "numeric column or in log-odds of a class. Occlusion takes an ASV away and compares "
    "the predictions with and without it. It explains the whole model. Integrated "
    "gradients compare the sample with a sample in which every ASV has the average "
    "embedding, and divide the difference among the ASVs. They are faster for samples "
    "with many ASVs. They explain what the networks predict. They do not explain the "
    "parts of a prediction that come from kernel ridge regression and trees. "
    "sample-classifier heatmap accepts the importance."
)


def register(plugin):
    """Register the methods that look into a model with the plugin."""
    _register_embed(plugin)
    _register_embeddings_table(plugin)
    _register_embed_features(plugin)
    _register_importance(plugin)
    _register_known_reads(plugin)


def _register_embed(plugin):
    plugin.methods.register_function(
        function=explain.embed,
        inputs={
            "table": FeatureTable[Frequency],
            "model": ANY_MODEL,
            "sequences": FeatureData[Sequence],
        },
        parameters=prediction_types(),
        outputs=[("embeddings", SampleData[AAMEmbedding]), ("distances", DistanceMatrix)],
        input_descriptions={
            "table": NEW_TABLE_HELP,
            "model": "A model of any kind. For distances, an encoder or a model trained with a "
            "phylogeny is best.",
            "sequences": SEQUENCES_HELP,
        },
        parameter_descriptions=prediction_help(),
        output_descriptions={
            "embeddings": "A vector for each sample. Can be used as metadata.",
            "distances": "Predicted UniFrac distances between the samples. If the model has not "
            "learnt UniFrac (faith_pd, or no phylogeny), these are Euclidean distances between "
            "embeddings.",
        },
        name="Embed samples, and predict the UniFrac distances between them",
        description=(
            "Compute the vector (embedding) of each sample, and predict UniFrac distances without "
            "a phylogeny. Use the distances in any action that takes a distance matrix, such as "
            "principal coordinates, Emperor and tests of groups. Their memory grows with the "
            "square of the number of samples: 800 MB for 10,000."
        ),
    )


def _register_embeddings_table(plugin):
    plugin.methods.register_function(
        function=explain.embeddings_table,
        inputs={"embeddings": SampleData[AAMEmbedding]},
        parameters={},
        outputs=[("table", FeatureTable[Frequency])],
        input_descriptions={"embeddings": "Embeddings of samples, made by embed."},
        parameter_descriptions={},
        output_descriptions={
            "table": "Two features for each dimension of the embeddings. They are no counts."
        },
        name="Write embeddings of samples as a table for sample-classifier",
        description=(
            "Write embeddings as a feature table, so that the actions of sample-classifier can "
            "learn from them. A feature table holds no negative numbers. So each dimension "
            "becomes two features: the part above zero (positive), and the part below zero "
            "without its sign (negative). This is the same for every sample, so a model that was "
            "fitted on one such table can predict from another, if the embeddings come from the "
            "same model. The numbers are no counts of anything: use the table with "
            "sample-classifier only, and not for diversity, abundance, rarefaction or training "
            "here."
        ),
    )


def _register_embed_features(plugin):
    plugin.methods.register_function(
        function=explain.embed_features,
        inputs={
            "model": ANY_MODEL,
            "table": FeatureTable[Frequency],
            "sequences": FeatureData[Sequence],
        },
        parameters=prediction_types(),
        outputs=[("embeddings", FeatureData[AAMEmbedding])],
        input_descriptions={
            "model": "A model of any kind.",
            "table": "Embed the features of this table. If their ids are not the sequences, give "
            "the sequences too.",
            "sequences": "Sequences of the features of the table. Without a table, all of these "
            "sequences are embedded.",
        },
        parameter_descriptions=prediction_help(),
        output_descriptions={"embeddings": "A vector for each feature. Can be used as metadata."},
        name="Embed ASVs",
        description=(
            "Compute the vector (embedding) of each ASV from its sequence alone, for example to "
            "cluster ASVs. Takes a table, sequences, or both."
        ),
    )


def _register_importance(plugin):
    plugin.methods.register_function(
        function=explain.importance,
        inputs={
            "table": FeatureTable[Frequency],
            "model": AAMModel[SequenceRegressor | SequenceClassifier],
            "sequences": FeatureData[Sequence],
        },
        parameters={
            "covariates": Metadata,
            "groups": ANY_COLUMN,
            "missing_samples": MISSING_SAMPLES,
            "method": Str % Choices("occlusion", "integrated-gradients"),
            "target_class": Str,
            "max_features": Int % Range(0, None),
            "steps": Int % Range(1, None),
            **prediction_types(),
        },
        outputs=[
            ("importance", FeatureData[Importance]),
            ("mean_effects", FeatureData[Importance]),
            ("sample_effects", FeatureTable[AAMEffect]),
        ],
        input_descriptions={
            "table": NEW_TABLE_HELP,
            "model": "A model made by train-regressor or train-classifier, or an ensemble of such "
            "models.",
            "sequences": SEQUENCES_HELP,
        },
        parameter_descriptions={
            "covariates": COVARIATES_HELP,
            "groups": "Average over the samples of each value of this column separately. The "
            "results then have a column for each value, such as importance_gut and "
            "mean_effect_gut. Without it, average over all samples.",
            "missing_samples": MISSING_SAMPLES_HELP,
            "method": "How to measure effects. See the description.",
            "target_class": "Classifiers only: explain the log-odds of this class. By default, "
            "explain the predicted class of each sample. An ensemble of classifiers needs it.",
            "max_features": "Occlusion only: how many ASVs of each sample to take away, one at a "
            "time, the most abundant first. Other ASVs count as having no effect. 0 takes all.",
            "steps": "Integrated gradients only: number of gradients. More are more exact.",
            **prediction_help(),
        },
        output_descriptions={
            "importance": "How far each feature moves the prediction, up or down. This is the "
            "mean over the samples. A sample without the feature counts as 0.",
            "mean_effects": "The same with its sign. It is positive if the feature raises the "
            "prediction.",
            "sample_effects": "The effect of each feature in each sample, with its sign. Can be "
            "used as metadata.",
        },
        name="Find the ASVs that drive a model's predictions",
        description=IMPORTANCE,
        citations=[citations["zeiler2014visualizing"], citations["sundararajan2017axiomatic"]],
    )


def _register_known_reads(plugin):
    plugin.methods.register_function(
        function=explain.known_reads,
        inputs={
            "table": FeatureTable[Frequency],
            "model": AAMModel[SequenceRegressor | SequenceClassifier],
            "sequences": FeatureData[Sequence],
        },
        parameters={},
        outputs=[("known_reads", SampleData[AAMKnownReads])],
        input_descriptions={
            "table": NEW_TABLE_HELP,
            "model": "A model made by train-regressor or train-classifier that stores samples "
            "(stored_samples above 0), or an ensemble of such models.",
            "sequences": SEQUENCES_HELP,
        },
        parameter_descriptions={},
        output_descriptions={
            "known_reads": "The share of the reads of each sample that the model knows, from 0 to "
            "1. Can be used as metadata."
        },
        name="Say how much of each sample a model knows",
        description=(
            "Compute the share of the reads of each sample that are near to an ASV of the samples "
            "that a model stores: at least 97 percent of the nucleotides are the same, and a "
            "nucleotide that is inserted or deleted counts as one that differs. Predictions of "
            "samples with a low share may be poor. predict-regression, predict-classification "
            "and predict-intervals warn if the share is below one half in more than a tenth of "
            "the samples, and name the likely cause: reads of the other strand, reads that begin "
            "at another place, primers, or other organisms."
        ),
    )
