"""Registration of the pipelines."""

from q2_sample_classifier import ClassifierPredictions, Probabilities, RegressorPredictions
from q2_types.feature_data import FeatureData, Sequence
from q2_types.feature_table import FeatureTable, Frequency
from q2_types.sample_data import SampleData
from q2_types.tree import Phylogeny, Rooted
from qiime2.plugin import (
    Choices,
    Float,
    Int,
    Range,
    Str,
    Visualization,
)

from q2_aam.actions.parameters import (
    CLASSIFICATION_PIPELINE,
    MISSING_SAMPLES,
    MISSING_SAMPLES_HELP,
    REGRESSION_PIPELINE,
    pipeline_help,
    pipeline_types,
)
from q2_aam.actions.pipelines import studies
from q2_aam.registration.shared import (
    ANY_COLUMN,
    ANY_MODEL,
    CATEGORICAL_HELP,
    FOREST_SCORES_HELP,
    GROUPS_HELP,
    SEQUENCES_HELP,
    STUDY,
    STUDY_HELP,
    TABLE_HELP,
)
from q2_aam.types.models import AAMModel, SequenceClassifier, SequenceEncoder, SequenceRegressor
from q2_aam.types.results import AAMResults
from q2_aam.types.scores import AAMScores

INPUTS = {
    "table": FeatureTable[Frequency],
    "encoder": ANY_MODEL,
    "phylogeny": Phylogeny[Rooted],
    "sequences": FeatureData[Sequence],
}
INPUT_HELP = {
    "table": TABLE_HELP,
    "phylogeny": "Rooted tree with branch lengths. Its tips are the features of the table. If no "
    "encoder is given, one is pre-trained with it. In training, the model learns UniFrac "
    "distances as well as the target. To learn only the target, set penalty to 0.",
    "sequences": SEQUENCES_HELP,
}
SPLIT = {
    "split": ANY_COLUMN,
    "test_value": Str,
    "test_fraction": Float % Range(0.01, 0.9, inclusive_end=True),
    **STUDY,
}
SPLIT_HELP = {
    "split": "Column that says which samples to hold out, for example the samples of another "
    "study. Without it, held-out samples are drawn at random.",
    "test_value": "Value of the split column in the samples to hold out. Samples with any other "
    "value are used for training.",
    "test_fraction": "Share of the samples to hold out if they are drawn at random (by "
    "random_seed). The option test_size is different: it takes validation samples from the other "
    "samples, to choose the best epoch.",
    **STUDY_HELP,
    "groups": f"{GROUPS_HELP} The held-out samples are whole groups as well.",
}
FOLDS = {
    "folds": ANY_COLUMN,
    "n_folds": Int % Range(2, None),
    **STUDY,
    "untrainable_folds": Str % Choices("error", "ignore"),
}
FOLDS_HELP = {
    "folds": "Column that names the fold of each sample, such as the study. There is a model for "
    "each value. To leave one group out at a time, give the same column as folds and as groups.",
    "n_folds": "Number of folds if no column names them. Samples, or groups, are divided at "
    "random (by random_seed). There is a model for each fold.",
    **STUDY_HELP,
    "groups": f"{GROUPS_HELP} Each group is in one fold.",
    "untrainable_folds": "What to do with a fold if the samples of the other folds cannot train a "
    "model, for example because they have only one class: stop before any training (error), or "
    "leave the fold out and do not predict its samples (ignore).",
}
FOREST = {"forest": Str % Choices("auto", "yes", "no")}
WITH_FOREST_HELP = (
    "Whether to train the random forest of q2-sample-classifier, at its defaults, on the same "
    "training samples, and to show its scores on the same held-out samples beside those of the "
    "model: always (yes), never (no), or if it is estimated to take less than a tenth of the run "
    "(auto). It reads the tables as they are, without rarefaction, so it also learns from samples "
    "that have fewer reads than rarefy_depth and are left out of the training of the model."
)
STEPS = (
    "If an encoder is given, training starts from it. If only a phylogeny is given, an encoder is "
    "pre-trained on the training samples. Without either, training starts from the encoder that "
    "ships with q2-aam (for 16S V4 reads), or from scratch if the reads are of another kind."
)
EACH_FOLD = (
    "Predict each fold of the samples with a model that has seen only the other folds. "
    "Pre-training is repeated for each fold. If you give an encoder, it must not have been "
    "trained on these samples. Otherwise the scores are too good. If QIIME 2 runs actions in "
    "parallel, all folds are trained at the same time. The models of the folds are kept "
    "together as an ensemble, which predicts the mean of what they predict. Use it for new "
    "samples only: it has seen all samples given here. The scores are those of the single models."
)


def register(plugin):
    """Register the pipelines with the plugin."""
    for target in (NUMBER, CLASS):
        _register_hold_out(plugin, target)
        _register_cross_validation(plugin, target)


class _Target:
    """What the registrations of pipelines for numbers and for classes differ in."""

    def __init__(self, kind, model, predictions, configs, what, hint=""):
        self.kind, self.configs, self.what, self.hint = kind, configs, what, hint
        self.model = (model, AAMModel[kind])
        self.predictions = predictions

    def signature(self, own, own_help):
        """Return what is registered of the inputs and parameters."""
        parameters = {"metadata": ANY_COLUMN, **own, "missing_samples": MISSING_SAMPLES, **FOREST}
        described = {"metadata": f"The column to predict: {self.what}.{self.hint}", **own_help}
        return {
            "inputs": INPUTS,
            "parameters": parameters | pipeline_types(self.configs),
            "parameter_descriptions": {
                **described,
                "missing_samples": MISSING_SAMPLES_HELP,
                "forest": WITH_FOREST_HELP,
                **pipeline_help(self.configs),
            },
        }


PREDICTIONS_HELP = "A prediction for each held-out sample."
RESULTS_HELP = (
    "A row for each sample: true value, prediction, how they differ, and what the sample was used "
    "for: training, validation or test, or why it was left out. In a cross-validation, each "
    "predicted sample is a test sample. Can be used as metadata."
)
NUMBER = _Target(
    SequenceRegressor,
    "regressor",
    {"predictions": (SampleData[RegressorPredictions], PREDICTIONS_HELP)},
    REGRESSION_PIPELINE,
    "numbers, such as age or pH",
)
CLASS = _Target(
    SequenceClassifier,
    "classifier",
    {
        "predictions": (SampleData[ClassifierPredictions], PREDICTIONS_HELP),
        "probabilities": (
            SampleData[Probabilities],
            "The probability of each class for each held-out sample.",
        ),
    },
    CLASSIFICATION_PIPELINE,
    "classes, such as body sites",
    f" {CATEGORICAL_HELP}",
)


def _pictures(summary):
    return {
        "evaluation": (Visualization, "Predicted against true values, with scores."),
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
        "training_table": (FeatureTable[Frequency], "The training samples."),
        "test_table": (FeatureTable[Frequency], "The held-out samples."),
        "used_encoder": (
            AAMModel[SequenceEncoder],
            "The encoder that training started from: the given encoder, the encoder pre-trained "
            "on the training samples, or the encoder that ships with q2-aam. If training started "
            "from scratch, the encoder that the model learnt.",
        ),
        target.model[0]: (target.model[1], "The model, trained on the training samples."),
        **target.predictions,
        **_pictures("How the encoder and the model were trained."),
        "results": (SampleData[AAMResults], RESULTS_HELP),
    }
    plugin.pipelines.register_function(
        function=studies.regress_samples if is_number else studies.classify_samples,
        input_descriptions={
            **INPUT_HELP,
            "encoder": "Start from this model, usually made by pretrain. It must not have been "
            "trained on the held-out samples. Otherwise the scores are too good.",
        },
        **target.signature(SPLIT, SPLIT_HELP),
        **_outputs(outputs),
        name=f"Train on some samples and test on others: predict {target.what}",
        description=(
            "Hold samples out, train on the other samples, predict the held-out samples, and "
            f"compare with the true values. {STEPS}"
            + ("" if is_number else " The same share of each class is held out.")
        ),
    )


def _register_cross_validation(plugin, target):
    is_number = target is NUMBER
    outputs = {
        target.model[0]: (
            target.model[1],
            "The models of all folds together (of more than 100 folds, 100 models): an ensemble, "
            "to predict new samples with.",
        ),
        **target.predictions,
        "fold_scores": (
            AAMScores,
            "Scores of each fold and of all samples together, with 95% intervals. "
            f"{FOREST_SCORES_HELP}",
        ),
        **_pictures("How the models of the folds were trained."),
        "results": (SampleData[AAMResults], RESULTS_HELP),
    }
    plugin.pipelines.register_function(
        function=studies.cross_validate_regression
        if is_number
        else studies.cross_validate_classification,
        input_descriptions={
            **INPUT_HELP,
            "encoder": "Start every fold from this model. It must not have been trained on these "
            "samples. To pre-train on them, give a phylogeny instead.",
        },
        **target.signature(FOLDS, FOLDS_HELP),
        **_outputs(outputs),
        name=f"Cross-validate the prediction of {target.what}",
        description=(
            f"{EACH_FOLD} {STEPS}"
            + ("" if is_number else " Each class is divided equally among the folds.")
        ),
    )
