"""Predicting a metadata column of samples."""

import pandas as pd

from q2_aam.core.api.ensembles import averaged, mean, mean_classes
from q2_aam.core.data.sequences import Sequences
from q2_aam.core.data.target import PREDICTION
from q2_aam.core.explain.covariates_alone import learnt_from_covariates
from q2_aam.core.explain.prediction_input import prediction_input
from q2_aam.core.explain.questions import check_quantiles
from q2_aam.core.model import inference
from q2_aam.core.model.specification import CLASSIFIER, REGRESSOR
from q2_aam.core.model.trained_model import Ensemble, TrainedModel, check_kind
from q2_aam.core.options import quantile_levels


@averaged(mean)
def predict_regression(
    table,
    model: TrainedModel | Ensemble,
    *,
    sequences: Sequences = None,
    covariates: pd.DataFrame | None = None,
    only_covariates: bool = False,
    device: str = "auto",
) -> pd.Series:
    """Predict a numeric column for samples.

    Parameters
    ----------
    table : biom.Table
        Counts of ASVs in samples. The ASVs may be new to the model.
    model : TrainedModel or Ensemble
        Of kind SequenceRegressor. An ensemble predicts the mean of what its members predict.
    sequences : mapping or path, optional
        As in training.
    covariates : pandas.DataFrame, optional
        By sample id, the columns that the model was trained with; not needed if there were none.
    only_covariates : bool
        Predict from the covariates alone, to see what they say without the ASVs.
    device : {'auto', 'cpu', 'cuda', 'mps'}

    Returns
    -------
    pandas.Series
        Predictions by sample id, in the units of the column; named 'prediction'. Samples without
        reads are left out, with a warning.
    """
    check_kind(model, REGRESSOR, "predict-classification")
    ids, learnt = _learnt(model, table, sequences, covariates, only_covariates, device)
    values = model.spec.target.to_units(learnt.numpy()[:, 0])
    return pd.Series(values, index=ids, name=PREDICTION)


@averaged(mean)
def predict_quantiles(
    table,
    model: TrainedModel | Ensemble,
    *,
    sequences: Sequences = None,
    covariates: pd.DataFrame | None = None,
    device: str = "auto",
) -> pd.DataFrame:
    """Predict quantiles of a numeric column for samples.

    The arguments are those of `predict_regression`, with a model that was trained with
    ``loss_type='quantile'``.

    Returns
    -------
    pandas.DataFrame
        A column for each quantile, such as 'quantile-0.05', in increasing order and in the units
        of the column. 'quantile-0.5' is the prediction of `predict_regression`. A row for each
        sample.

    Raises
    ------
    ValueError
        If the model has learnt no quantiles.
    """
    check_kind(model, REGRESSOR, "predict-classification")
    spec = model.spec
    check_quantiles(spec)
    samples, module = prediction_input(model, table, sequences, device, covariates)
    learnt = inference.predict_quantiles(module, samples, spec.data).numpy()
    values, columns = spec.target.to_units(learnt), quantile_levels.names(spec.quantiles)
    return pd.DataFrame(values, index=_index(samples.sample_ids), columns=columns)


@averaged(mean_classes)
def predict_classification(
    table,
    model: TrainedModel | Ensemble,
    *,
    sequences: Sequences = None,
    covariates: pd.DataFrame | None = None,
    only_covariates: bool = False,
    device: str = "auto",
) -> tuple[pd.Series, pd.DataFrame]:
    """Predict a categorical column for samples.

    The arguments are those of `predict_regression`, with a model of kind SequenceClassifier.

    Returns
    -------
    predictions : pandas.Series
        The most probable class by sample id; named 'prediction'.
    probabilities : pandas.DataFrame
        A column for each class. Rows sum to one. An ensemble gives the mean of its members; a
        member that has not learnt a class does not count in the mean of this class.
    """
    check_kind(model, CLASSIFIER, "predict-regression")
    ids, likely = _learnt(model, table, sequences, covariates, only_covariates, device)
    classes, likely = list(model.spec.target.classes), likely.double()
    likely /= likely.sum(dim=1, keepdim=True)
    probabilities = pd.DataFrame(likely.numpy(), index=ids, columns=classes)
    best = probabilities.to_numpy().argmax(axis=1)
    predictions = pd.Series([classes[i] for i in best], index=ids, name=PREDICTION)
    return predictions, probabilities


def _learnt(model, table, sequences, covariates, only_covariates, device):
    """Return the ids of the samples, and what is predicted of them in the scale of training."""
    if only_covariates:
        ids, learnt = learnt_from_covariates(model, table, sequences, covariates)
        return _index(ids), learnt
    samples, module = prediction_input(model, table, sequences, device, covariates)
    return _index(samples.sample_ids), inference.predict(module, samples, model.spec.data)


def _index(sample_ids) -> pd.Index:
    return pd.Index(sample_ids, name="sample-id")
