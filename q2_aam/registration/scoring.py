"""Registration of the methods that score predictions and put them together."""

from q2_sample_classifier import ClassifierPredictions, Probabilities, RegressorPredictions
from q2_types.feature_table import FeatureTable, Frequency
from q2_types.sample_data import SampleData
from qiime2.plugin import List, Str, TypeMatch

from q2_aam.actions import results, scoring
from q2_aam.actions.parameters import MISSING_SAMPLES
from q2_aam.registration.pipelines import CLASS, NUMBER, RESULTS_HELP
from q2_aam.registration.shared import (
    ANY_COLUMN,
    FOREST_CHANCES_HELP,
    FOREST_HELP,
    FOREST_SCORES_HELP,
    MISSING_PREDICTED_HELP,
    SEED,
    SEED_HELP,
)
from q2_aam.types.results import AAMResults
from q2_aam.types.scores import AAMScores


def register(plugin):
    """Register the methods with the plugin."""
    _register_scoring(plugin)
    _register_merging(plugin)
    _register_tables(plugin)


def _register_scoring(plugin):
    shared = {
        "groups": ANY_COLUMN,
        "missing_samples": MISSING_SAMPLES,
        "random_seed": SEED,
    }
    for function, target in (
        (scoring.score_regression, NUMBER),
        (scoring.score_classification, CLASS),
    ):
        plugin.methods.register_function(
            function=function,
            inputs={name: kind for name, (kind, _) in target.predictions.items()}
            | {f"forest_{name}": kind for name, (kind, _) in target.predictions.items()},
            parameters={"metadata": ANY_COLUMN, **shared},
            outputs=[("scores", AAMScores)],
            input_descriptions={
                "predictions": "Predictions of samples that were not used in training.",
                "probabilities": "The probabilities that belong to the predictions.",
                "forest_predictions": FOREST_HELP,
                "forest_probabilities": FOREST_CHANCES_HELP,
            }
            if target is CLASS
            else {
                "predictions": "Predictions of samples that were not used in training.",
                "forest_predictions": FOREST_HELP,
            },
            parameter_descriptions={
                "metadata": "The true values: the column that was predicted.",
                "groups": "Also score the samples of each value of this column separately.",
                "missing_samples": MISSING_PREDICTED_HELP,
                "random_seed": SEED_HELP,
            },
            output_descriptions={
                "scores": "A row for each group and one for all samples: each score with its 95% "
                f"interval. {FOREST_SCORES_HELP}"
            },
            name=f"Score predictions of {target.what}",
            description=(
                "Compare predictions with the true values. The output is a table of the scores "
                "that evaluate-regression and evaluate-classification show."
            ),
        )


def _register_merging(plugin):
    either = TypeMatch([SampleData[RegressorPredictions], SampleData[ClassifierPredictions]])
    plugin.methods.register_function(
        function=scoring.merge_predictions,
        inputs={"predictions": List[either]},
        parameters={},
        outputs=[("merged_predictions", either)],
        input_descriptions={
            "predictions": "Predictions of one column, each of different samples."
        },
        output_descriptions={"merged_predictions": "The predictions of all samples."},
        name="Merge predictions",
        description="Put predictions of different samples together, for example of folds.",
    )
    plugin.methods.register_function(
        function=scoring.merge_probabilities,
        inputs={"probabilities": List[SampleData[Probabilities]]},
        parameters={},
        outputs=[("merged_probabilities", SampleData[Probabilities])],
        input_descriptions={
            "probabilities": "Probabilities of the classes of one column, each of different "
            "samples."
        },
        output_descriptions={
            "merged_probabilities": "The probabilities for all samples. A class that a model does "
            "not know gets probability 0."
        },
        name="Merge probabilities",
        description="Put class probabilities of different samples together, for example of folds.",
    )


def _register_tables(plugin):
    for function, target in (
        (results.tabulate_regression, NUMBER),
        (results.tabulate_classification, CLASS),
    ):
        is_number = target is NUMBER
        told = "the difference (error)" if is_number else "whether they agree (correct)"
        inputs = {name: kind for name, (kind, _) in target.predictions.items()}
        inputs["forest_predictions"] = inputs["predictions"]
        described = {
            "predictions": "Predictions of a column.",
            "probabilities": "The probabilities that belong to the predictions. The table then "
            "has the probability of the predicted class.",
            "forest_predictions": "Predictions of the same samples by a random forest. They are "
            "shown beside those of the model.",
            "models": "The model that predicted, or all models of a cross-validation. The table "
            "then says what each sample was used for (role): training, validation, test, or left "
            "out, with the reason. With several models, a predicted sample is a test sample if "
            "one of them has not seen it. An ensemble has seen what one of its models has seen.",
            "table": "Also list all other samples of this table.",
        }
        plugin.methods.register_function(
            function=function,
            inputs={**inputs, "models": List[target.model[1]], "table": FeatureTable[Frequency]},
            parameters={"metadata": ANY_COLUMN, "groups": ANY_COLUMN, "prefix": Str},
            outputs=[("results", SampleData[AAMResults])],
            input_descriptions={
                name: said
                for name, said in described.items()
                if name in inputs or name in ("models", "table")
            },
            parameter_descriptions={
                "metadata": "The true values: the column that was predicted.",
                "groups": "Also show this column, for example the fold of each sample.",
                "prefix": "What the names of the columns begin with, so that they differ from "
                "those of the metadata. By default, the name of the column that was predicted, "
                "and a low line.",
            },
            output_descriptions={"results": RESULTS_HELP},
            name=f"Tabulate predictions of {target.what}",
            description=(
                f"Put the true value of each sample beside its prediction, with {told}. The table "
                "can be used as metadata, also together with the metadata that it was made of."
            ),
        )
