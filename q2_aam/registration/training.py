"""Registration of what makes models: pre-training, training, and taking the encoder out."""

from q2_types.feature_data import FeatureData, Sequence
from q2_types.feature_table import FeatureTable, Frequency
from q2_types.tree import Phylogeny, Rooted
from qiime2.plugin import Choices, List, Metadata, Str, TypeMatch

from q2_aam.actions import methods
from q2_aam.actions.parameters import (
    CLASSIFICATION,
    MISSING_SAMPLES,
    MISSING_SAMPLES_HELP,
    PRETRAINING,
    REGRESSION,
    parameter_help,
    parameter_types,
)
from q2_aam.core.artifact.shipped.name import NAME
from q2_aam.core.model.members import MAX_MEMBERS
from q2_aam.registration.shared import (
    ANY_COLUMN,
    ANY_MODEL,
    CATEGORICAL_HELP,
    GROUPS,
    GROUPS_HELP,
    PHYLOGENY_HELP,
    SEQUENCES_HELP,
    STUDY,
    STUDY_HELP,
    TABLE_HELP,
    citations,
)
from q2_aam.types.models import AAMModel, SequenceClassifier, SequenceEncoder, SequenceRegressor

UNIFRAC_PAPERS = [
    citations[key]
    for key in (
        "lozupone2005unifrac",
        "lozupone2007quantitative",
        "faith1992conservation",
        "mcdonald2018striped",
    )
]
REFERENCES_HELP = (
    "Metadata whose ids are the reference samples of stripe_mode. Without it, they are drawn at "
    "random. Reference samples must be among the training samples."
)


def register(plugin):
    """Register the methods that make models with the plugin."""
    _register_pretraining(plugin)
    _register_training(
        plugin,
        methods.train_regressor,
        SequenceRegressor,
        REGRESSION,
        "regressor",
        "Train a model that predicts a numeric metadata column",
        "Learn to predict a numeric metadata column, such as age or pH, from the sequences and "
        "abundances of the ASVs of a sample.",
    )
    _register_training(
        plugin,
        methods.train_classifier,
        SequenceClassifier,
        CLASSIFICATION,
        "classifier",
        "Train a model that predicts a categorical metadata column",
        "Learn to predict a categorical metadata column, such as a body site or a disease, from "
        "the sequences and abundances of the ASVs of a sample.",
    )


def _register_pretraining(plugin):
    plugin.methods.register_function(
        function=methods.pretrain,
        inputs={
            "table": FeatureTable[Frequency],
            "phylogeny": Phylogeny[Rooted],
            "sequences": FeatureData[Sequence],
            # Not "encoder": the command line of QIIME 2 2022.11 cannot tell an input from an
            # output of the same name.
            "initial_encoder": AAMModel[SequenceEncoder],
        },
        parameters={
            "reference_ids": Metadata,
            **GROUPS,
            "missing_samples": MISSING_SAMPLES,
            **parameter_types(PRETRAINING),
        },
        outputs=[("encoder", AAMModel[SequenceEncoder])],
        input_descriptions={
            "table": TABLE_HELP,
            "phylogeny": PHYLOGENY_HELP,
            "sequences": SEQUENCES_HELP,
            "initial_encoder": "Continue to train this encoder. Its architecture is kept.",
        },
        parameter_descriptions={
            "reference_ids": REFERENCES_HELP,
            "groups": GROUPS_HELP,
            "missing_samples": "What to do if samples of the table have no group: stop (error), "
            "or leave these samples out (ignore).",
            **parameter_help(PRETRAINING),
        },
        output_descriptions={
            "encoder": "The encoder of the epoch that is best on the validation samples."
        },
        name="Pre-train an encoder on phylogeny and sequences",
        description=(
            "Learn, without labels, to read the sequences of a sample. The model learns to "
            "predict UniFrac distances between samples and masked nucleotides. train-regressor "
            "and train-classifier start from the encoder."
        ),
        citations=UNIFRAC_PAPERS,
    )


def _register_training(plugin, function, kind, configs, output, name, description):
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
            "metadata": ANY_COLUMN,
            "reference_ids": Metadata,
            **STUDY,
            "missing_samples": MISSING_SAMPLES,
            **parameter_types(configs),
        },
        outputs=[(output, AAMModel[kind])],
        input_descriptions={
            "table": TABLE_HELP,
            "encoder": "Start from this model, usually made by pretrain. Without an encoder and a "
            "phylogeny, start from the encoder that ships with q2-aam.",
            "phylogeny": f"{PHYLOGENY_HELP} If given, the model learns UniFrac distances as "
            "well as the target. Without an encoder, it then starts from scratch.",
            "sequences": SEQUENCES_HELP,
        },
        parameter_descriptions={
            "metadata": "The column to predict: numbers."
            if kind is SequenceRegressor
            else f"The column to predict: classes. {CATEGORICAL_HELP}",
            "reference_ids": REFERENCES_HELP,
            **STUDY_HELP,
            "missing_samples": MISSING_SAMPLES_HELP,
            **parameter_help(configs),
        },
        output_descriptions={
            output: "The model of the epoch that is best on the validation samples."
        },
        name=name,
        description=description,
        citations=UNIFRAC_PAPERS,
    )


def register_combination(plugin):
    """Register the method that makes an ensemble of models."""
    either = TypeMatch([AAMModel[SequenceRegressor], AAMModel[SequenceClassifier]])
    plugin.methods.register_function(
        function=methods.combine_models,
        inputs={"models": List[either]},
        parameters={},
        outputs=[("ensemble", either)],
        input_descriptions={
            "models": f"At most {MAX_MEMBERS} models of one column, for example trained with "
            "different seeds or on different samples. Ensembles add each of their models."
        },
        output_descriptions={
            "ensemble": "The models together. Use it wherever such a model can be used."
        },
        name="Combine models into an ensemble",
        description=(
            "Put models of one column together. The ensemble predicts the mean of what its "
            "models predict: of numbers, in the units of the column; of quantiles; or of the "
            "probabilities of classes. A model that has not learnt a class does not count in the "
            "mean of this class. known-reads and importance give means over the models, too; of "
            "classifiers, importance then needs target_class. Prediction takes as long as with "
            "all models, one after the other. embed, embed-features, extract-encoder, and "
            "training that starts from the ensemble work if all its models have the same encoder "
            "(freeze_base). "
            "cross-validate-regression and cross-validate-classification make an ensemble of the "
            "models of their folds."
        ),
    )


def register_shipped_encoder(plugin):
    """Register the method that hands out the encoder that ships."""
    plugin.methods.register_function(
        function=methods.shipped_encoder,
        inputs={},
        parameters={"name": Str % Choices(NAME)},
        outputs=[("encoder", AAMModel[SequenceEncoder])],
        parameter_descriptions={
            "name": "Which encoder: for 16S reads from the primer 515F on (V4), of which it reads "
            "the first 100 nucleotides."
        },
        output_descriptions={"encoder": "The encoder. Its licence is CC BY-SA 3.0."},
        name="Get the encoder that ships with q2-aam",
        description=(
            "Write the encoder that is part of q2-aam as an artifact. It is pre-trained on 16S V4 "
            "reads of about 10,000 public samples from the gut, mouth, skin, water, soil and "
            "other places. Training and the pipelines start from it if you give neither an "
            "encoder nor a phylogeny. The page docs/encoder.md says what it was trained on, and "
            "for what reads it is not meant. Nothing is downloaded."
        ),
        citations=[citations["mcdonald2012greengenes"], *UNIFRAC_PAPERS],
    )


def register_encoder_extraction(plugin):
    """Register the method that takes the encoder out of a model."""
    plugin.methods.register_function(
        function=methods.extract_encoder,
        inputs={"model": ANY_MODEL},
        parameters={},
        outputs=[("encoder", AAMModel[SequenceEncoder])],
        input_descriptions={"model": "A model of any kind."},
        output_descriptions={"encoder": "Its encoder."},
        name="Take the encoder out of a model",
        description=(
            "Take only the encoder out of a trained model. You can train it on another column, or "
            "share it. The encoder holds neither the target nor stored training samples, and "
            "neither ids of samples nor warnings."
        ),
    )
