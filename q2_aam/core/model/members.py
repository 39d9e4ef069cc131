"""Which models can predict together, and what they predict then (torch-free)."""

from collections.abc import Sequence

from q2_aam.core.data.target import CategoricalTarget, NumericTarget
from q2_aam.core.model.specification import ENCODER, ModelSpec

MAX_MEMBERS = 100
"""Models of an ensemble at most: each takes its place on the disk, and its time to predict."""


def check_members(specs: Sequence[ModelSpec]) -> None:
    """Refuse models that cannot be an ensemble.

    Parameters
    ----------
    specs : sequence of ModelSpec
        What each model is.

    Raises
    ------
    ValueError
        If there is none, or more than `MAX_MEMBERS`; if one predicts nothing; or if one predicts
        another column than the first, or other quantiles, or from other covariates.
    """
    if not 0 < len(specs) <= MAX_MEMBERS:
        raise ValueError(f"An ensemble has 1 to {MAX_MEMBERS} models, found {len(specs)}.")
    for number, spec in enumerate(specs, start=1):
        if spec.kind == ENCODER:
            raise ValueError(
                f"Model {number} of the ensemble is a SequenceEncoder, which predicts no "
                "metadata: give models of train-regressor or train-classifier."
            )
        first, this = _predicts(specs[0]), _predicts(spec)
        if this != first:
            raise ValueError(
                f"Model 1 of the ensemble predicts {first}, and model {number} predicts {this}: "
                "give models that predict the same."
            )
    joint_target(specs)  # refuses classes that are too many together


def _predicts(spec: ModelSpec) -> str:
    kind = "numbers" if isinstance(spec.target, NumericTarget) else "classes"
    levels = ", ".join(f"{level:g}" for level in spec.quantiles)
    said = f"{kind} of column '{spec.target.column}'" + f" with quantiles {levels}" * bool(levels)
    if spec.covariates is None:
        return said
    return f"{said} from covariates {', '.join(sorted(spec.covariates.names))} too"


def joint_target(specs: Sequence[ModelSpec]) -> NumericTarget | CategoricalTarget:
    """Return the target that models have together: the first's, or the classes of all, sorted."""
    first = specs[0].target
    if isinstance(first, NumericTarget):
        return first
    classes = {name for spec in specs for name in spec.target.classes}
    return CategoricalTarget(first.column, tuple(sorted(classes)))
