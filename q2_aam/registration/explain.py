"""Registration of the actions that look into a model."""

from q2_sample_classifier import Importance
from q2_types.distance_matrix import DistanceMatrix
from q2_types.feature_data import FeatureData, Sequence
from q2_types.feature_table import FeatureTable, Frequency
from q2_types.sample_data import SampleData
from qiime2.plugin import Categorical, Choices, Int, MetadataColumn, Range, Str

from q2_aam.actions import explain
from q2_aam.actions.parameters import (
    MISSING_SAMPLES,
    MISSING_SAMPLES_HELP,
    prediction_help,
    prediction_types,
)
from q2_aam.registration.shared import ANY_MODEL, NEW_TABLE_HELP, SEQUENCES_HELP, citations
from q2_aam.types.embeddings import AAMEffect, AAMEmbedding
from q2_aam.types.models import AAMModel, SequenceClassifier, SequenceRegressor


def register(plugin):
    """Register the methods that look into a model with the plugin."""
    _register_embed(plugin)
    _register_embed_features(plugin)
    _register_importance(plugin)


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
            "model": "A model of any kind. Distances are best from an encoder, or from a model "
            "that was trained with a phylogeny.",
            "sequences": SEQUENCES_HELP,
        },
        parameter_descriptions=prediction_help(),
        output_descriptions={
            "embeddings": "A vector for each sample. Opens as metadata.",
            "distances": "The UniFrac distances among the samples, as the model predicts them. "
            "For a model that has not learnt UniFrac (faith_pd, or no phylogeny), the Euclidean "
            "distances between embeddings.",
        },
        name="Embed samples, and predict the UniFrac distances among them",
        description=(
            "Give each sample the vector by which the model knows it, and predict UniFrac without "
            "a phylogeny. The distances can be used wherever QIIME 2 takes a distance matrix, "
            "such as principal coordinates, Emperor and tests of groups. Their memory grows with "
            "the square of the number of samples: 800 MB for 10,000."
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
            "table": "Embed the features of this table. Their ids must be the sequences, unless "
            "sequences are given too.",
            "sequences": "Without a table, all of these are embedded; with one, they are the "
            "sequences of its features.",
        },
        parameter_descriptions=prediction_help(),
        output_descriptions={"embeddings": "A vector for each feature. Opens as metadata."},
        name="Embed ASVs",
        description=(
            "Give each ASV the vector by which the model knows its sequence, outside of any "
            "sample, for example to cluster ASVs. Takes a table, sequences, or both."
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
            "groups": MetadataColumn[Categorical],
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
            "model": "A model made by train-regressor or train-classifier.",
            "sequences": SEQUENCES_HELP,
        },
        parameter_descriptions={
            "groups": "Average over the samples of each value of this column by themselves; "
            "otherwise over all samples.",
            "missing_samples": MISSING_SAMPLES_HELP,
            "method": "How effects are measured; see the description.",
            "target_class": "Of a classifier, the class whose log-odds are explained; otherwise "
            "of each sample the class that is predicted for it.",
            "max_features": "Occlusion only: how many ASVs of each sample are taken away in turn, "
            "the most abundant first; the others count as without effect. 0 takes all.",
            "steps": "Integrated gradients only: at how many points gradients are taken; more is "
            "more exact.",
            **prediction_help(),
        },
        output_descriptions={
            "importance": "How far each feature moves the prediction, up or down: the mean over "
            "the samples, where a sample without the feature counts as 0.",
            "mean_effects": "The same with the sign: positive where the feature raises the "
            "prediction.",
            "sample_effects": "The effect of each feature in each sample, with its sign. Opens as "
            "metadata.",
        },
        name="Find the ASVs that drive a model's predictions",
        description=(
            "Measure what each ASV does to the prediction of a sample: in the units of a numeric "
            "column, or in log-odds of a class. Occlusion takes an ASV away and compares the "
            "predictions with and without it; it explains the whole model. Integrated gradients "
            "share out the difference between the sample and one whose ASVs are all average "
            "sequences; this is faster for rich samples, and explains what the network reads in "
            "sequences, but not the stored training samples that predictions rest on too. The "
            "importance can be given to sample-classifier heatmap."
        ),
        citations=[citations["zeiler2014visualizing"], citations["sundararajan2017axiomatic"]],
    )
