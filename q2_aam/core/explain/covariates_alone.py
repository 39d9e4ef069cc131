"""What a model's covariates say by themselves, so that nobody takes them for the microbiome."""

import pandas as pd
import torch

from q2_aam.core.data.sequences import Sequences
from q2_aam.core.explain.prediction_input import check_covariates, covariates_for, samples_for
from q2_aam.core.model.specification import CLASSIFIER
from q2_aam.core.model.stored_samples.covariates_alone import Known, predict_from_covariates
from q2_aam.core.model.trained_model import TrainedModel


def learnt_from_covariates(
    model: TrainedModel, table, sequences: Sequences, covariates: pd.DataFrame | None
) -> tuple[tuple[str, ...], torch.Tensor]:
    """Predict from the covariates alone, as they are learnt of the samples that a model stores.

    Parameters
    ----------
    model : TrainedModel
        Of kind SequenceRegressor or SequenceClassifier.
    table : biom.Table
        It says which samples to predict: those with reads.
    sequences : mapping or path, optional
    covariates : pandas.DataFrame

    Returns
    -------
    sample_ids : tuple of str
    Tensor of shape (n_samples, C)
        Learnt values (C = 1), or probabilities of the classes.

    Raises
    ------
    ValueError
        If the model has no covariates, or stores no samples.
    """
    spec = model.spec
    if spec.covariates is None:
        raise ValueError(
            "The model was trained without covariates, so nothing can be predicted from them."
        )
    if spec.stored is None:
        raise ValueError(
            "The model was trained with stored_samples 0, so it stores no samples whose "
            "covariates could be compared: train it with stored samples."
        )
    check_covariates(model, covariates)
    samples = samples_for(model, table, sequences)
    names = ("covariates", "target", "value", "groups", "weights")
    stored = {name: model.weights[f"stored.{name}"].numpy() for name in names}
    target, factors = stored["target"], None
    if spec.kind == CLASSIFIER:  # of a class, `value` is what its share is multiplied with
        target, factors = target.astype(int), stored["value"].astype(float)
    known = Known(stored["covariates"], target, stored["groups"], stored["weights"])
    others = covariates_for(model, samples, covariates).covariates
    said = predict_from_covariates(known, others, factors)
    return samples.sample_ids, torch.from_numpy(said)
