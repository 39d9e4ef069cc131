"""Registration of the visualizers."""

from q2_sample_classifier import ClassifierPredictions, Probabilities, RegressorPredictions
from q2_types.sample_data import SampleData
from qiime2.plugin import List

from q2_aam.actions import visualizers
from q2_aam.actions.parameters import MISSING_SAMPLES
from q2_aam.registration.shared import (
    ANY_COLUMN,
    ANY_MODEL,
    FOREST_CHANCES_HELP,
    FOREST_HELP,
    MISSING_PREDICTED_HELP,
    SEED,
    SEED_HELP,
)
from q2_aam.types.intervals import AAMIntervals

ALONE_HELP = (
    "Predictions of the same samples from covariates alone, made by prediction with "
    "only_covariates. The page compares the model with them."
)
BOOTSTRAP_HELP = "Every score has a 95% interval from a bootstrap of the samples."


def register(plugin):
    """Register the visualizers with the plugin."""
    _register_training(plugin)
    _register_regression(plugin)
    _register_classification(plugin)


def _register_training(plugin):
    plugin.visualizers.register_function(
        function=visualizers.summarize_training,
        inputs={"models": List[ANY_MODEL]},
        parameters={},
        input_descriptions={
            "models": "One model, or several models to compare, of any kind. The page numbers "
            "them (the models of an ensemble as 1.1, 1.2 and so on). It says what each model "
            "predicts, and in which options they differ."
        },
        parameter_descriptions={},
        name="Show how models were trained",
        description=(
            "Show the training of a model by epoch: every loss term and metric, in training and "
            "in validation, and the learning rate. Also show what each model was trained on, its "
            "size, all options, and the versions of the packages that made it."
        ),
    )


def _register_regression(plugin):
    plugin.visualizers.register_function(
        function=visualizers.evaluate_regression,
        inputs={
            "predictions": SampleData[RegressorPredictions],
            "intervals": SampleData[AAMIntervals],
            "forest_predictions": SampleData[RegressorPredictions],
            "covariate_predictions": SampleData[RegressorPredictions],
        },
        parameters={
            "metadata": ANY_COLUMN,
            "groups": ANY_COLUMN,
            "missing_samples": MISSING_SAMPLES,
            "random_seed": SEED,
        },
        input_descriptions={
            "predictions": "Predictions from predict-regression, of samples that were not used in "
            "training.",
            "intervals": "The intervals of these samples, from predict-intervals with the same "
            "model. The page then shows how many true values lie in them, and how wide they are.",
            "forest_predictions": FOREST_HELP,
            "covariate_predictions": ALONE_HELP,
        },
        parameter_descriptions={
            "metadata": "The true values: the column that was predicted.",
            "groups": "Also score the samples of each value of this column separately, for "
            "example the samples of each study.",
            "missing_samples": MISSING_PREDICTED_HELP,
            "random_seed": SEED_HELP,
        },
        name="Evaluate predictions of a numeric column",
        description=(
            "Show predicted against true values, and the differences between them. Score the "
            "predictions by R squared, mean absolute error, root mean squared error and "
            "correlation. Compare them with predicting the same value for every sample. "
            f"{BOOTSTRAP_HELP}"
        ),
    )


def _register_classification(plugin):
    plugin.visualizers.register_function(
        function=visualizers.evaluate_classification,
        inputs={
            "predictions": SampleData[ClassifierPredictions],
            "probabilities": SampleData[Probabilities],
            "forest_predictions": SampleData[ClassifierPredictions],
            "forest_probabilities": SampleData[Probabilities],
            "covariate_predictions": SampleData[ClassifierPredictions],
            "covariate_probabilities": SampleData[Probabilities],
        },
        parameters={
            "metadata": ANY_COLUMN,
            "missing_samples": MISSING_SAMPLES,
            "random_seed": SEED,
        },
        input_descriptions={
            "predictions": "Predictions from predict-classification, of samples that were not "
            "used in training.",
            "probabilities": "The probabilities that belong to the predictions.",
            "forest_predictions": FOREST_HELP,
            "forest_probabilities": FOREST_CHANCES_HELP,
            "covariate_predictions": ALONE_HELP,
            "covariate_probabilities": "The probabilities that belong to the predictions from "
            "covariates alone.",
        },
        parameter_descriptions={
            "metadata": "The true classes: the column that was predicted.",
            "missing_samples": MISSING_PREDICTED_HELP,
            "random_seed": SEED_HELP,
        },
        name="Evaluate predictions of a categorical column",
        description=(
            "Show which class is predicted for which true class (confusion matrix), how well the "
            "probabilities rank the samples of each class (ROC and precision-recall curves), and "
            "whether the probabilities can be trusted (calibration curve). Score the predictions "
            "by accuracy, balanced accuracy, macro F1, AUC, log loss and calibration error. "
            f"Compare them with predicting the commonest class. {BOOTSTRAP_HELP}"
        ),
    )
