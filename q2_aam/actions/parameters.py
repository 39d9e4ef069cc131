"""Parameters that actions share, made from the options of the core.

An option is defined once, in `q2_aam.core.options`. Here it becomes a QIIME 2 parameter: its type
with its range, its help text, and its place in the signature of an action.
"""

import inspect
from dataclasses import make_dataclass

from decorator import FunctionMaker
from qiime2.plugin import Bool, Choices, Float, Int, Range, Str

from q2_aam.actions.given import Given, parameters_given
from q2_aam.actions.parameter_order import in_order
from q2_aam.actions.reports import reports_as_one
from q2_aam.core.options.config import (
    ClassificationConfig,
    DataConfig,
    ModelConfig,
    RecordConfig,
    RegressionConfig,
    TrainConfig,
    UniFracConfig,
)
from q2_aam.core.options.option import Config, OptionInfo, option, option_infos

PRETRAINING = (TrainConfig, ModelConfig, DataConfig, UniFracConfig, RecordConfig)
REGRESSION = (RegressionConfig, *PRETRAINING)
CLASSIFICATION = (ClassificationConfig, *PRETRAINING)

OF_PRETRAINING = ("epochs", "lr", "penalty", "nuc_penalty")
"""Options that pipelines take twice: for pre-training, and for the training after it."""


def _override(info: OptionInfo) -> tuple:
    said = f"Value of {info.name} for pre-training. By default, the same as {info.name}."
    name = f"pretrain_{info.name}"
    return name, info.type | None, option(None, said, low=info.low, high=info.high)


PretrainingOverrides = make_dataclass(
    "PretrainingOverrides",
    [_override(option_infos(TrainConfig)[name]) for name in OF_PRETRAINING],
    bases=(Config,),
    frozen=True,
    namespace={"__doc__": "What pre-training does otherwise than the training after it."},
)

REGRESSION_PIPELINE = (PretrainingOverrides, *REGRESSION)
CLASSIFICATION_PIPELINE = (PretrainingOverrides, *CLASSIFICATION)

LEFT_TO_STEPS = ("lazy_unifrac", "prune_tree", "use_expandable_segments")
"""Options that pipelines do not take, as no result depends on them: their steps have them."""

PREDICTION = ("device",)
"""Options that prediction takes; everything else lies in the model."""

MISSING_SAMPLES = Str % Choices("error", "ignore")
MISSING_SAMPLES_HELP = (
    "What to do if samples of the table are not in the metadata, have no value in a column that "
    "is needed (to predict, of groups, weights, balance, split or folds), or have a word for a "
    "missing value, such as 'not applicable': stop (error), or leave these samples out (ignore)."
)


def _infos(configs) -> dict[str, OptionInfo]:
    return {name: info for config in configs for name, info in option_infos(config).items()}


def _qiime_type(info: OptionInfo):
    if info.choices is not None:
        return Str % Choices(*info.choices)
    if info.type is bool:
        return Bool
    if info.type is str:
        return Str
    primitive = Int if info.type is int else Float
    if info.low is None and info.high is None:
        return primitive
    return primitive % Range(info.low, info.high, inclusive_end=info.high is not None)


def parameter_types(configs) -> dict:
    """Return the QIIME 2 type of each option of these configuration classes."""
    return {name: _qiime_type(info) for name, info in _infos(configs).items()}


def parameter_help(configs) -> dict[str, str]:
    """Return the help text of each option of these configuration classes."""
    return {name: info.help for name, info in _infos(configs).items()}


def pipeline_types(configs) -> dict:
    """Return the QIIME 2 type of each option that a pipeline takes."""
    return {n: kind for n, kind in parameter_types(configs).items() if n not in LEFT_TO_STEPS}


def pipeline_help(configs) -> dict[str, str]:
    """Return the help text of each option that a pipeline takes."""
    return {n: said for n, said in parameter_help(configs).items() if n not in LEFT_TO_STEPS}


def prediction_types() -> dict:
    """Return the QIIME 2 types of the options of prediction."""
    return {name: parameter_types([TrainConfig])[name] for name in PREDICTION}


def prediction_help() -> dict[str, str]:
    """Return the help texts of the options of prediction."""
    return {name: parameter_help([TrainConfig])[name] for name in PREDICTION}


def takes_options(configs):
    """Give an action a parameter for each option of these configuration classes.

    The action is written with ``**options``; QIIME 2 reads signatures, so there they are spelt
    out.
    """
    either = inspect.Parameter.POSITIONAL_OR_KEYWORD
    spelt_out = [
        inspect.Parameter(name, either, default=info.default, annotation=info.type)
        for name, info in _infos(configs).items()
    ]

    def decorate(action):
        action.__signature__ = inspect.signature(action).replace(
            parameters=in_order(_own_parameters(action), spelt_out)
        )
        action.__annotations__ |= {p.name: p.annotation for p in spelt_out}
        del action.__annotations__["options"]
        return action

    return decorate


def pipeline_takes_options(configs):
    """Give a pipeline a parameter for each option of these configuration classes.

    As `takes_options`, without annotations, which pipelines must not have. The pipeline is written
    with ``given``, which is spelt out too: it is made of what all pipelines are given. QIIME 2
    takes the context out of a pipeline's signature, which works only with one that was written as
    such.
    """
    options = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=info.default)
        for name, info in _infos(configs).items()
        if name not in LEFT_TO_STEPS
    ]

    def decorate(pipeline):
        given, (context, _, *own) = parameters_given(), _own_parameters(pipeline)
        # What must be given comes first.
        needed = sorted([*given, *own], key=lambda p: p.default is not p.empty)
        parameters = in_order([context, *needed], options)
        put_together = _as_keywords(p.name for p in given)
        others = _as_keywords(p.name for p in [context, *own, *options])
        spelt_out = FunctionMaker.create(
            f"{pipeline.__name__}({', '.join(p.name for p in parameters)})",
            f"return _pipeline_({others}, given=_Given_({put_together}))",
            {"_pipeline_": reports_as_one(pipeline), "_Given_": Given},
            defaults=tuple(p.default for p in parameters if p.default is not p.empty),
            doc=pipeline.__doc__,
            module=pipeline.__module__,
        )
        # QIIME 2 shows the source of actions: that of the pipeline, not of this detour.
        written = pipeline.__code__
        spelt_out.__code__ = spelt_out.__code__.replace(
            co_filename=written.co_filename, co_firstlineno=written.co_firstlineno
        )
        return spelt_out

    return decorate


def _as_keywords(names) -> str:
    return ", ".join(f"{name}={name}" for name in names)


def _own_parameters(action) -> list[inspect.Parameter]:
    parameters = inspect.signature(action).parameters.values()
    return [p for p in parameters if p.kind is not p.VAR_KEYWORD]
