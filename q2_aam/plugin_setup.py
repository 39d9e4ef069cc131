"""Registration, and nothing else: every `qiime` command of every user imports this."""

import importlib

from q2_sample_classifier import (
    ClassifierPredictions,
    Probabilities,
    RegressorPredictions,
)
from q2_types.feature_data import FeatureData, Sequence
from q2_types.feature_table import FeatureTable, Frequency
from q2_types.sample_data import SampleData
from q2_types.tree import Phylogeny, Rooted
from qiime2.plugin import Categorical, Citations, Metadata, MetadataColumn, Numeric, Plugin

import q2_aam
from q2_aam.actions import methods
from q2_aam.actions.parameters import (
    CLASSIFICATION,
    MISSING_SAMPLES,
    MISSING_SAMPLES_HELP,
    PRETRAINING,
    REGRESSION,
    parameter_help,
    parameter_types,
    prediction_help,
    prediction_types,
)
from q2_aam.registration import examples, explain, intervals, pipelines, visualizers
from q2_aam.types.model_format import AAMModelDirectoryFormat
from q2_aam.types.models import (
    AAMModel,
    SequenceClassifier,
    SequenceEncoder,
    SequenceRegressor,
)

citations = Citations.load("citations.bib", package="q2_aam")
UNIFRAC_PAPERS = [
    citations[key]
    for key in (
        "lozupone2005unifrac",
        "lozupone2007quantitative",
        "faith1992conservation",
        "mcdonald2018striped",
    )
]

plugin = Plugin(
    name="aam",
    version=q2_aam.__version__,
    website="https://forum.qiime2.org",
    package="q2_aam",
    description=(
        "Attention All Microbes: transformers that read the sequences of ASVs, then the ASVs of a "
        "sample. An encoder is pre-trained without labels on UniFrac distances and masked "
        "nucleotides, then trained to predict a metadata column. A model reads sequences, not "
        "feature ids, so it predicts on samples and studies whose ASVs it has never seen."
    ),
    short_description="Predict metadata from the sequences of a sample with transformers.",
    citations=[citations["aam"]],
)

ANY_MODEL = AAMModel[SequenceEncoder | SequenceRegressor | SequenceClassifier]
TABLE_HELP = "Counts of ASVs (or other features) in samples: raw, not relative."
SEQUENCES_HELP = (
    "Sequences of the table's features. Needed unless the feature ids are the sequences "
    "themselves, as Deblur and redbiom have them."
)
PHYLOGENY_HELP = "Rooted tree with branch lengths whose tips are the features of the table."
REFERENCES_HELP = (
    "Metadata whose ids are the reference samples of stripe mode, instead of a random choice; "
    "they must be among the training samples."
)
RUN_DIR_HELP = (
    "Set the environment variable Q2_AAM_RUN_DIR to a directory to watch a run in TensorBoard "
    "while it trains, and to resume it by the same command after it was stopped."
)

plugin.register_semantic_types(AAMModel, SequenceEncoder, SequenceRegressor, SequenceClassifier)
plugin.register_formats(AAMModelDirectoryFormat)
plugin.register_semantic_type_to_format(ANY_MODEL, AAMModelDirectoryFormat)

plugin.methods.register_function(
    function=methods.pretrain,
    inputs={
        "table": FeatureTable[Frequency],
        "phylogeny": Phylogeny[Rooted],
        "sequences": FeatureData[Sequence],
        # Not "encoder": the command line of QIIME 2 2022.11 cannot tell an input from an output
        # of the same name.
        "initial_encoder": AAMModel[SequenceEncoder],
    },
    parameters={"reference_ids": Metadata, **parameter_types(PRETRAINING)},
    outputs=[("encoder", AAMModel[SequenceEncoder])],
    input_descriptions={
        "table": TABLE_HELP,
        "phylogeny": PHYLOGENY_HELP,
        "sequences": SEQUENCES_HELP,
        "initial_encoder": "Continue training this encoder; its architecture is kept.",
    },
    parameter_descriptions={"reference_ids": REFERENCES_HELP, **parameter_help(PRETRAINING)},
    output_descriptions={"encoder": "The encoder of the epoch that did best on held-out samples."},
    name="Pre-train an encoder on phylogeny and sequences",
    description=(
        "Learn, without labels, to read the sequences of a sample: the model predicts the UniFrac "
        "distances between samples, and nucleotides that were masked. The encoder is then the "
        f"start of train-regressor and train-classifier. {RUN_DIR_HELP}"
    ),
    citations=UNIFRAC_PAPERS,
)


def _register_training(function, column, kind, configs, output, name, description):
    """Register one of the two training actions, which differ in the column they learn."""
    plugin.methods.register_function(
        function=function,
        inputs={
            "table": FeatureTable[Frequency],
            "encoder": ANY_MODEL,
            "phylogeny": Phylogeny[Rooted],
            "sequences": FeatureData[Sequence],
        },
        parameters={
            "metadata": MetadataColumn[column],
            "reference_ids": Metadata,
            "missing_samples": MISSING_SAMPLES,
            **parameter_types(configs),
        },
        outputs=[(output, AAMModel[kind])],
        input_descriptions={
            "table": TABLE_HELP,
            "encoder": "Start from this model, usually made by pretrain; otherwise from scratch.",
            "phylogeny": f"{PHYLOGENY_HELP} If given, UniFrac distances are learnt beside the "
            "target.",
            "sequences": SEQUENCES_HELP,
        },
        parameter_descriptions={
            "metadata": "The column to predict.",
            "reference_ids": REFERENCES_HELP,
            "missing_samples": MISSING_SAMPLES_HELP,
            **parameter_help(configs),
        },
        output_descriptions={output: "The model of the epoch that did best on held-out samples."},
        name=name,
        description=f"{description} {RUN_DIR_HELP}",
        citations=UNIFRAC_PAPERS,
    )


_register_training(
    methods.train_regressor,
    Numeric,
    SequenceRegressor,
    REGRESSION,
    "regressor",
    "Train a model that predicts a numeric metadata column",
    "Learn to predict a numeric metadata column, such as age or pH, from the sequences of a "
    "sample and their abundances.",
)
_register_training(
    methods.train_classifier,
    Categorical,
    SequenceClassifier,
    CLASSIFICATION,
    "classifier",
    "Train a model that predicts a categorical metadata column",
    "Learn to predict a categorical metadata column, such as a body site or a disease, from the "
    "sequences of a sample and their abundances.",
)

plugin.methods.register_function(
    function=methods.predict_regression,
    inputs={
        "table": FeatureTable[Frequency],
        "regressor": AAMModel[SequenceRegressor],
        "sequences": FeatureData[Sequence],
    },
    parameters=prediction_types(),
    outputs=[("predictions", SampleData[RegressorPredictions])],
    input_descriptions={
        "table": f"{TABLE_HELP} The features need not have been in training.",
        "regressor": "A model made by train-regressor.",
        "sequences": SEQUENCES_HELP,
    },
    parameter_descriptions=prediction_help(),
    output_descriptions={"predictions": "A prediction for each sample, in the column's units."},
    name="Predict a numeric metadata column",
    description=(
        "Predict the column that a model was trained on for other samples. Needs no phylogeny."
    ),
)
plugin.methods.register_function(
    function=methods.predict_classification,
    inputs={
        "table": FeatureTable[Frequency],
        "classifier": AAMModel[SequenceClassifier],
        "sequences": FeatureData[Sequence],
    },
    parameters=prediction_types(),
    outputs=[
        ("predictions", SampleData[ClassifierPredictions]),
        ("probabilities", SampleData[Probabilities]),
    ],
    input_descriptions={
        "table": f"{TABLE_HELP} The features need not have been in training.",
        "classifier": "A model made by train-classifier.",
        "sequences": SEQUENCES_HELP,
    },
    parameter_descriptions=prediction_help(),
    output_descriptions={
        "predictions": "The most probable class of each sample.",
        "probabilities": "The probability of each class for each sample.",
    },
    name="Predict a categorical metadata column",
    description=(
        "Predict the column that a model was trained on for other samples. Needs no phylogeny."
    ),
)

intervals.register(plugin)
visualizers.register(plugin)
pipelines.register(plugin)
explain.register(plugin)
examples.attach(plugin)
importlib.import_module("q2_aam.types.model_transformers")
