"""Registration of what predicts, scores and shows several numeric columns at once."""

from q2_sample_classifier import RegressorPredictions
from q2_types.feature_table import FeatureTable, Frequency
from q2_types.sample_data import SampleData
from qiime2.plugin import List, Metadata, Str, Visualization

from q2_aam.actions import columns, visualizers
from q2_aam.actions.pipelines import studies
from q2_aam.actions.releases import COLLECTION
from q2_aam.registration.pipelines import INPUT_HELP, NUMBER, SPLIT, SPLIT_HELP, STEPS
from q2_aam.registration.shared import FOREST_HELP, FOREST_SCORES_HELP, SEED, SEED_HELP
from q2_aam.types.models import AAMModel, SequenceEncoder, SequenceRegressor
from q2_aam.types.results import AAMResults
from q2_aam.types.scores import AAMScores

SCORES_HELP = (
    f"A row for each column: each score with its 95% interval. {FOREST_SCORES_HELP} Those that "
    "begin with 'covariates_' are the scores of the covariates alone."
)
RESULTS_HELP = (
    "For each column the true values, the predictions and their errors (prediction minus true "
    "value), by held-out sample. Can be used as metadata. Its names begin with the name of the "
    "column, so it can be merged with the metadata."
)
SHOWN = {
    "inputs": {
        "predictions": List[SampleData[RegressorPredictions]],
        "forest_predictions": List[SampleData[RegressorPredictions]],
        "covariate_predictions": List[SampleData[RegressorPredictions]],
    },
    "parameters": {"metadata": Metadata, "columns": List[Str], "random_seed": SEED},
    "input_descriptions": {
        "predictions": "Predictions of samples that were not used in training: those of each "
        "column, in the order of the columns.",
        "forest_predictions": f"{FOREST_HELP} Those of each column, in the order of the columns.",
        "covariate_predictions": "Predictions of the same samples from covariates alone, made by "
        "prediction with only_covariates: those of each column, in the order of the columns.",
    },
    "parameter_descriptions": {
        "metadata": "The metadata with the true values.",
        "columns": "The numeric columns that were predicted.",
        "random_seed": SEED_HELP,
    },
}


def register(plugin):
    """Register the actions with the plugin."""
    plugin.methods.register_function(
        function=columns.score_columns,
        outputs=[("scores", AAMScores), ("results", SampleData[AAMResults])],
        output_descriptions={"scores": SCORES_HELP, "results": RESULTS_HELP},
        name="Score predictions of several numeric columns",
        description="Compare the predictions of several columns with the true values. Predicted "
        "samples without a value in a column are left out of this column.",
        **SHOWN,
    )
    plugin.visualizers.register_function(
        function=visualizers.evaluate_columns,
        name="Evaluate predictions of several numeric columns",
        description="Show how well each of several columns is predicted: scores with 95% "
        "intervals beside each other, and predicted against true values.",
        **SHOWN,
    )
    _register_pipeline(plugin)


def outputs_of_columns(collection) -> dict:
    """Describe the outputs of the pipeline: by name, their types and help texts.

    Parameters
    ----------
    collection : type of collections, or None
        What QIIME 2 calls `Collection`; None where it has none, and so no such outputs.
    """
    described = {
        "training_table": (FeatureTable[Frequency], "The training samples of all columns."),
        "test_table": (FeatureTable[Frequency], "The held-out samples of all columns."),
        "used_encoder": (
            AAMModel[SequenceEncoder],
            "The encoder that the models started from. If they started from scratch, the encoder "
            "that the model of the first column learnt.",
        ),
    }
    if collection is not None:
        described["regressors"] = (
            collection[AAMModel[SequenceRegressor]],
            "The model of each column.",
        )
        described["predictions"] = (
            collection[SampleData[RegressorPredictions]],
            "The predictions of each column.",
        )
    return described | {
        "scores": (AAMScores, SCORES_HELP),
        "results": (SampleData[AAMResults], RESULTS_HELP),
        "evaluation": (Visualization, "The scores of all columns, and predicted against true."),
        "training_summary": (Visualization, "How the encoder and the models were trained."),
    }


def _register_pipeline(plugin):
    described = outputs_of_columns(COLLECTION)
    signature = NUMBER.signature(SPLIT, SPLIT_HELP)
    signature["parameters"] |= {"metadata": Metadata, "columns": List[Str]}
    signature["parameter_descriptions"] |= {
        "metadata": "The metadata with the columns to predict.",
        "columns": "The columns to predict: numeric ones, such as age and pH. A sample without a "
        "value in a column is left out of this column only.",
        "split": f"{SPLIT_HELP['split']} The split is the same for all columns.",
        "missing_samples": "What to do if samples of the table are not in the metadata, or lack a "
        "group, a weight or a part of the split: stop (error), or leave these samples out "
        "(ignore). A missing value of a column to predict stops nothing.",
    }
    plugin.pipelines.register_function(
        function=studies.regress_columns,
        input_descriptions={
            **INPUT_HELP,
            "encoder": "Start from this model, usually made by pretrain. It must not have been "
            "trained on the held-out samples. Otherwise the scores are too good.",
        },
        outputs=[(name, kind) for name, (kind, _) in described.items()],
        output_descriptions={name: said for name, (_, said) in described.items()},
        name="Train on some samples and test on others: predict several numeric columns",
        description=(
            "Hold samples out, train a model for each column on the other samples, predict the "
            "held-out samples, and compare with the true values. The same samples are held out "
            "for all columns. So an encoder is pre-trained once, on samples that no column tests. "
            f"{STEPS} In QIIME 2 from 2023.5 on, the models and their predictions are outputs, "
            "too, as collections; older releases have no collections."
        ),
        **signature,
    )
