"""Registration of the pipelines."""

from q2_sample_classifier import ClassifierPredictions, Probabilities, RegressorPredictions
from q2_types.feature_data import FeatureData, Sequence
from q2_types.feature_table import FeatureTable, Frequency
from q2_types.sample_data import SampleData
from q2_types.tree import Phylogeny, Rooted
from qiime2.plugin import (
    Categorical,
    Float,
    Int,
    MetadataColumn,
    Numeric,
    Range,
    Str,
    Visualization,
)

from q2_aam.actions import pipelines
from q2_aam.actions.parameters import (
    CLASSIFICATION_PIPELINE,
    MISSING_SAMPLES,
    MISSING_SAMPLES_HELP,
    REGRESSION_PIPELINE,
    parameter_help,
    parameter_types,
)
from q2_aam.actions.splits import MOST_FOLDS
from q2_aam.registration.shared import ANY_MODEL, SEQUENCES_HELP, TABLE_HELP
from q2_aam.types.models import AAMModel, SequenceClassifier, SequenceEncoder, SequenceRegressor
from q2_aam.types.scores import AAMScores

INPUTS = {
    "table": FeatureTable[Frequency],
    "encoder": ANY_MODEL,
    "phylogeny": Phylogeny[Rooted],
    "sequences": FeatureData[Sequence],
}
INPUT_HELP = {
    "table": TABLE_HELP,
    "phylogeny": "Rooted tree with branch lengths whose tips are the features of the table. "
    "Without an encoder, one is pre-trained with it. In training, UniFrac distances are learnt "
    "beside the target; set penalty to 0 to learn the target alone.",
    "sequences": SEQUENCES_HELP,
}
SPLIT = {
    "split": MetadataColumn[Categorical | Numeric],
    "test_value": Str,
    "test_fraction": Float % Range(0.01, 0.9, inclusive_end=True),
}
SPLIT_HELP = {
    "split": "Column that names the samples to hold out, for example those of another study; "
    "otherwise they are drawn at random.",
    "test_value": "Value of the split column in the samples to hold out; those with any other "
    "value are trained on.",
    "test_fraction": "Share of the samples to hold out where they are drawn at random, by "
    "random_seed. (The option test_size holds samples out of the rest again, to choose the best "
    "epoch.)",
}
FOLDS = {
    "folds": MetadataColumn[Categorical | Numeric],
    "n_folds": Int % Range(2, MOST_FOLDS, inclusive_end=True),
}
FOLDS_HELP = {
    "folds": "Column that names the fold of each sample. Give one where samples belong together, "
    "such as those of one person: in different folds, they would let the model recognise the "
    "person.",
    "n_folds": "Number of folds where no column names them: samples are dealt out at random, by "
    "random_seed.",
}
SCATTERPLOT = ("scatterplot", "The predictions as q2-sample-classifier shows them.")
CONFUSION = ("confusion_matrix", "The predictions as q2-sample-classifier shows them.")
STEPS = (
    "An encoder is taken if given, otherwise pre-trained on the training samples alone if there "
    "is a phylogeny; without either, training begins from scratch."
)
EACH_FOLD = (
    "Cross-validation: each fold of the samples is predicted by a model that has seen only the "
    "other folds; pre-training, too, is done anew for each. An encoder that is given must not "
    "have been trained on these samples, or the scores are too good. Where QIIME 2 runs actions "
    "in parallel (--parallel), all folds are trained at the same time. The models of the folds "
    "are not kept; train on all samples for one to use."
)


def register(plugin):
    """Register the pipelines with the plugin."""
    for target in (NUMBER, CLASS):
        _register_hold_out(plugin, target)
        _register_cross_validation(plugin, target)


class _Target:
    """What the registrations of pipelines for numbers and for classes differ in."""

    def __init__(self, column, kind, model, predictions, configs, what, picture):
        self.column, self.kind, self.configs, self.what = column, kind, configs, what
        self.model = (model, AAMModel[kind])
        self.predictions, self.picture = predictions, picture

    def signature(self, own, own_help):
        """Return what is registered of the inputs and parameters."""
        parameters = {"metadata": self.column, **own, "missing_samples": MISSING_SAMPLES}
        described = {"metadata": f"The column to predict: {self.what}.", **own_help}
        return {
            "inputs": INPUTS,
            "parameters": parameters | parameter_types(self.configs),
            "parameter_descriptions": {
                **described,
                "missing_samples": MISSING_SAMPLES_HELP,
                **parameter_help(self.configs),
            },
        }


PREDICTIONS_HELP = "A prediction for each sample that was held out."
NUMBER = _Target(
    MetadataColumn[Numeric],
    SequenceRegressor,
    "regressor",
    {"predictions": (SampleData[RegressorPredictions], PREDICTIONS_HELP)},
    REGRESSION_PIPELINE,
    "numbers, such as age or pH",
    SCATTERPLOT,
)
CLASS = _Target(
    MetadataColumn[Categorical],
    SequenceClassifier,
    "classifier",
    {
        "predictions": (SampleData[ClassifierPredictions], PREDICTIONS_HELP),
        "probabilities": (
            SampleData[Probabilities],
            "The probability of each class for each sample that was held out.",
        ),
    },
    CLASSIFICATION_PIPELINE,
    "classes, such as body sites",
    CONFUSION,
)


def _pictures(target, summary):
    return {
        "evaluation": (Visualization, "The predictions against the truth, with scores."),
        target.picture[0]: (Visualization, target.picture[1]),
        "training_summary": (Visualization, summary),
    }


def _outputs(described):
    return {
        "outputs": [(name, kind) for name, (kind, _) in described.items()],
        "output_descriptions": {name: said for name, (_, said) in described.items()},
    }


def _register_hold_out(plugin, target):
    is_number = target is NUMBER
    outputs = {
        "training_table": (FeatureTable[Frequency], "The samples that were trained on."),
        "test_table": (FeatureTable[Frequency], "The samples that were held out."),
        "used_encoder": (
            AAMModel[SequenceEncoder],
            "The encoder that training began with: the one given, or the one pre-trained on the "
            "training samples. Without either, the encoder that the model learnt from scratch.",
        ),
        target.model[0]: (target.model[1], "The model, trained on the training samples."),
        **target.predictions,
        **_pictures(target, "How the encoder and the model were trained."),
    }
    plugin.pipelines.register_function(
        function=pipelines.regress_samples if is_number else pipelines.classify_samples,
        input_descriptions={
            **INPUT_HELP,
            "encoder": "Start from this model, usually made by pretrain. Pre-train it on other "
            "samples than those held out, or the scores are too good.",
        },
        **target.signature(SPLIT, SPLIT_HELP),
        **_outputs(outputs),
        name=f"Train on some samples and test on others: predict {target.what}",
        description=(
            "Hold samples out, train on the others, predict those held out, and compare with the "
            f"truth. {STEPS}"
            + ("" if is_number else " Held-out samples are drawn in equal shares of each class.")
        ),
    )


def _register_cross_validation(plugin, target):
    is_number = target is NUMBER
    outputs = {
        **target.predictions,
        "fold_scores": (
            AAMScores,
            "Scores of each fold and of all samples together, with 95% intervals. Opens as "
            "metadata.",
        ),
        **_pictures(target, "How the models of the folds were trained."),
    }
    plugin.pipelines.register_function(
        function=pipelines.cross_validate_regression
        if is_number
        else pipelines.cross_validate_classification,
        input_descriptions={
            **INPUT_HELP,
            "encoder": "Start every fold from this model. It must not have been trained on these "
            "samples; to pre-train on them, give the phylogeny instead.",
        },
        **target.signature(FOLDS, FOLDS_HELP),
        **_outputs(outputs),
        name=f"Cross-validate the prediction of {target.what}",
        description=(
            f"{EACH_FOLD} {STEPS}"
            + ("" if is_number else " Each class is dealt out equally to the folds.")
        ),
    )
