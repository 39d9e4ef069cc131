"""Registration of predicted intervals and of the method that makes them."""

from q2_types.feature_data import FeatureData, Sequence
from q2_types.feature_table import FeatureTable, Frequency
from q2_types.sample_data import SampleData
from qiime2.plugin import Citations

from q2_aam.actions import methods
from q2_aam.actions.parameters import prediction_help, prediction_types
from q2_aam.registration.explain import SEQUENCES_HELP, TABLE_HELP
from q2_aam.types import intervals
from q2_aam.types.intervals import AAMIntervals
from q2_aam.types.models import AAMModel, SequenceRegressor


def register(plugin):
    """Register type, format, transformers and method with the plugin."""
    plugin.register_semantic_types(AAMIntervals)
    plugin.register_formats(intervals.AAMIntervalsFormat, intervals.AAMIntervalsDirectoryFormat)
    plugin.register_semantic_type_to_format(
        SampleData[AAMIntervals], intervals.AAMIntervalsDirectoryFormat
    )
    plugin.register_transformer(intervals.write_intervals)
    plugin.register_transformer(intervals.read_intervals)
    plugin.register_transformer(intervals.intervals_as_metadata)
    _register_predict(plugin)


def _register_predict(plugin):
    citations = Citations.load("citations.bib", package="q2_aam")
    plugin.methods.register_function(
        function=methods.predict_intervals,
        inputs={
            "table": FeatureTable[Frequency],
            "regressor": AAMModel[SequenceRegressor],
            "sequences": FeatureData[Sequence],
        },
        parameters=prediction_types(),
        outputs=[("intervals", SampleData[AAMIntervals])],
        input_descriptions={
            "table": TABLE_HELP,
            "regressor": "A model made by train-regressor with loss_type quantile.",
            "sequences": SEQUENCES_HELP,
        },
        parameter_descriptions=prediction_help(),
        output_descriptions={
            "intervals": "The quantiles of each sample, in the column's units; the median is what "
            "predict-regression predicts. Opens as metadata."
        },
        name="Predict between which values a numeric metadata column lies",
        description=(
            "Predict quantiles of the column that a model was trained on: between 0.05 and 0.95 "
            "lie the values of 90 percent of the samples, if these are of the same kind as those "
            "that the model was trained on. The quantiles were moved, after training, by what it "
            "took to hold on the validation samples (conformalized quantile regression). They "
            "promise nothing for a single study or group. Give them to evaluate-regression to see "
            "whether they hold."
        ),
        citations=[
            citations["koenker1978regression"],
            citations["romano2019conformalized"],
        ],
    )
