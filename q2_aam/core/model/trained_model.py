"""The encoder inside a model that was trained to predict a target."""

from dataclasses import replace

from q2_aam.core.artifact.storage import SavedModel
from q2_aam.core.model.specification import ENCODER

BASE = "base_model."


def encoder_of(model: SavedModel) -> SavedModel:
    """Take the encoder out of a model, without its target and the samples that it stores.

    Parameters
    ----------
    model : SavedModel
        Of any kind; an encoder is returned as it is.

    Returns
    -------
    SavedModel
        Of kind SequenceEncoder, with the history of the model.
    """
    if model.spec.kind == ENCODER:
        return model
    spec = replace(model.spec, kind=ENCODER, fine_tuning=None, target=None, neighbours=None)
    weights = {
        name.removeprefix(BASE): value
        for name, value in model.weights.items()
        if name.startswith(BASE)
    }
    return replace(model, spec=spec, weights=weights)
