"""Registration of prediction."""

from q2_sample_classifier import ClassifierPredictions, Probabilities, RegressorPredictions
from q2_types.feature_data import FeatureData, Sequence
from q2_types.feature_table import FeatureTable, Frequency
from q2_types.sample_data import SampleData
from qiime2.plugin import Bool, Metadata

from q2_aam.actions import methods
from q2_aam.actions.parameters import prediction_help, prediction_types
from q2_aam.registration.shared import COVARIATES_HELP, NEW_TABLE_HELP, SEQUENCES_HELP, citations
from q2_aam.types.intervals import AAMIntervals
from q2_aam.types.models import AAMModel, SequenceClassifier, SequenceRegressor

COVARIATES = {"covariates": Metadata, "only_covariates": Bool}
BOTH_HELP = {
    "covariates": COVARIATES_HELP,
    "only_covariates": "Predict from the covariates alone, without the ASVs, by kernel ridge "
    "regression on the samples that the model stores. What the model predicts better than this "
    "comes from the microbiome.",
}


def register(plugin):
    """Register the methods that predict with the plugin."""
    _register_regression(plugin)
    _register_classification(plugin)
    _register_intervals(plugin)


def _register_regression(plugin):
    plugin.methods.register_function(
        function=methods.predict_regression,
        inputs={
            "table": FeatureTable[Frequency],
            "regressor": AAMModel[SequenceRegressor],
            "sequences": FeatureData[Sequence],
        },
        parameters={**COVARIATES, **prediction_types()},
        outputs=[("predictions", SampleData[RegressorPredictions])],
        input_descriptions={
            "table": NEW_TABLE_HELP,
            "regressor": "A model made by train-regressor, or an ensemble of such models.",
            "sequences": SEQUENCES_HELP,
        },
        parameter_descriptions={**BOTH_HELP, **prediction_help()},
        output_descriptions={
            "predictions": "A prediction for each sample, in the units of the column."
        },
        name="Predict a numeric metadata column",
        description=(
            "Predict, for new samples, the column that a model was trained on. Needs no phylogeny."
        ),
    )


def _register_classification(plugin):
    plugin.methods.register_function(
        function=methods.predict_classification,
        inputs={
            "table": FeatureTable[Frequency],
            "classifier": AAMModel[SequenceClassifier],
            "sequences": FeatureData[Sequence],
        },
        parameters={**COVARIATES, **prediction_types()},
        outputs=[
            ("predictions", SampleData[ClassifierPredictions]),
            ("probabilities", SampleData[Probabilities]),
        ],
        input_descriptions={
            "table": NEW_TABLE_HELP,
            "classifier": "A model made by train-classifier, or an ensemble of such models.",
            "sequences": SEQUENCES_HELP,
        },
        parameter_descriptions={**BOTH_HELP, **prediction_help()},
        output_descriptions={
            "predictions": "The most probable class of each sample.",
            "probabilities": "The probability of each class for each sample.",
        },
        name="Predict a categorical metadata column",
        description=(
            "Predict, for new samples, the column that a model was trained on. Needs no phylogeny."
        ),
    )


def _register_intervals(plugin):
    plugin.methods.register_function(
        function=methods.predict_intervals,
        inputs={
            "table": FeatureTable[Frequency],
            "regressor": AAMModel[SequenceRegressor],
            "sequences": FeatureData[Sequence],
        },
        parameters={"covariates": Metadata, **prediction_types()},
        outputs=[("intervals", SampleData[AAMIntervals])],
        input_descriptions={
            "table": NEW_TABLE_HELP,
            "regressor": "A model made by train-regressor with loss_type quantile, or an ensemble "
            "of such models.",
            "sequences": SEQUENCES_HELP,
        },
        parameter_descriptions={"covariates": COVARIATES_HELP, **prediction_help()},
        output_descriptions={
            "intervals": "The quantiles of each sample, in the units of the column. The median "
            "is the prediction of predict-regression. Can be used as metadata."
        },
        name="Predict intervals of a numeric metadata column",
        description=(
            "Predict quantiles of the column that a model was trained on. 90 percent of the "
            "values lie between the quantiles 0.05 and 0.95, if the samples are of the same kind "
            "as the training samples. After training, the quantiles were calibrated on the "
            "validation samples (conformalized quantile regression). They promise nothing for a "
            "single study or group. Give them to evaluate-regression to see whether they hold."
        ),
        citations=[
            citations["koenker1978regression"],
            citations["romano2019conformalized"],
        ],
    )
