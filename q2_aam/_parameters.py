"""Parameters that actions share, made from the options of the core.

An option is defined once, in `q2_aam.core.config`. Here it becomes a QIIME 2 parameter: its type
with its range, its help text, and its place in the signature of an action.
"""

import inspect

from qiime2.plugin import Bool, Choices, Float, Int, Range, Str

from q2_aam.core.config import (
    ClassificationConfig,
    DataConfig,
    ModelConfig,
    RegressionConfig,
    TrainConfig,
    UniFracConfig,
)
from q2_aam.core.options import OptionInfo, option_infos

PRETRAINING = (TrainConfig, ModelConfig, DataConfig, UniFracConfig)
REGRESSION = (RegressionConfig, *PRETRAINING)
CLASSIFICATION = (ClassificationConfig, *PRETRAINING)

PREDICTION = ("device",)
"""Options that prediction takes; everything else lies in the model."""

MISSING_SAMPLES = Str % Choices("error", "ignore")
MISSING_SAMPLES_HELP = (
    "What to do with samples of the table that are not in the metadata or have no value: stop "
    "(error), or leave them out (ignore)."
)


def _infos(configs) -> dict[str, OptionInfo]:
    return {name: info for config in configs for name, info in option_infos(config).items()}


def _qiime_type(info: OptionInfo):
    if info.choices is not None:
        return Str % Choices(*info.choices)
    if info.type is bool:
        return Bool
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
        signature = inspect.signature(action)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        action.__signature__ = signature.replace(parameters=own + spelt_out)
        action.__annotations__ |= {p.name: p.annotation for p in spelt_out}
        del action.__annotations__["options"]
        return action

    return decorate
