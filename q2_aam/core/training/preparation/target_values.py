"""Whether the values of the target column go with the options, checked for all of them at once."""

import pandas as pd

from q2_aam.core.options.config import ClassificationConfig, RegressionConfig, TargetConfig


def check_values(values: pd.Series, options: TargetConfig) -> None:
    """Refuse values beyond the limits of a numeric target, and weights of classes that are none.

    Parameters
    ----------
    values : pandas.Series
        Of all samples, also of those that are held out: a part of them may lack a class.
    options : RegressionConfig or ClassificationConfig

    Raises
    ------
    ValueError
        Naming a sample, or a class.
    """
    if isinstance(options, ClassificationConfig):
        _check_class_weights(values, options.weights_of_classes or {})
    elif isinstance(options, RegressionConfig):
        if options.target_minimum is not None:
            _check_limit(values, values < options.target_minimum, "minimum", options)
        if options.target_maximum is not None:
            _check_limit(values, values > options.target_maximum, "maximum", options)


def _check_class_weights(values: pd.Series, weights: dict[str, float]) -> None:
    classes = sorted(set(values))
    unknown = [name for name in weights if name not in classes]
    if unknown:
        listed = ", ".join(map(repr, classes[:10])) + (", …" if len(classes) > 10 else "")
        raise ValueError(
            f"class_weights names '{unknown[0]}', which is no class of metadata column "
            f"'{values.name}'; its classes are {listed}."
        )


def _check_limit(values: pd.Series, wrong: pd.Series, which: str, options) -> None:
    if not wrong.any():
        return
    where, name = {"minimum": "below", "maximum": "above"}[which], values.index[wrong][0]
    raise ValueError(
        f"Metadata column '{values.name}' has {int(wrong.sum())} values {where} target_{which} "
        f"({getattr(options, f'target_{which}'):g}), such as {values[name]:g} of sample '{name}': "
        "choose another limit, or correct these values."
    )
