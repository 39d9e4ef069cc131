"""What can be asked of a model, checked before anything else is loaded (torch-free)."""

from q2_aam.core.model.specification import CLASSIFIER, ENCODER, ModelSpec


def class_asked_about(spec: ModelSpec, target_class: str | None) -> int | None:
    """Return the number of the class that is to be explained.

    Parameters
    ----------
    spec : ModelSpec
    target_class : str, optional
        A class of the model; without it, the predicted class of each sample is explained.

    Returns
    -------
    int, optional
        None without a class, as for a numeric column.

    Raises
    ------
    ValueError
        If the model predicts nothing, or has no such class.
    """
    if spec.kind == ENCODER:
        raise ValueError(
            "The model is a SequenceEncoder, which predicts no metadata: train it on a column "
            "first (train-regressor, train-classifier)."
        )
    if target_class is None:
        return None
    if spec.kind != CLASSIFIER:
        raise ValueError(
            f"target_class is {target_class!r}, but the model predicts a number "
            f"('{spec.target.column}'): leave it out."
        )
    if target_class not in spec.target.classes:
        raise ValueError(
            f"target_class {target_class!r} is not one of the model's classes: "
            f"{', '.join(spec.target.classes)}."
        )
    return spec.target.classes.index(target_class)


def check_quantiles(spec: ModelSpec) -> None:
    """Refuse a model that has learnt no quantiles.

    Raises
    ------
    ValueError
        If it has none.
    """
    if not spec.quantiles:
        raise ValueError(
            f"The model predicts column '{spec.target.column}' without quantiles (its loss_type "
            f"is {spec.fine_tuning.loss_type}), so it has no intervals: train one with loss_type "
            "quantile."
        )
