"""What a prediction starts from: samples as a model reads them, and a model that is ready.

And whether these go together.
"""

import logging
from dataclasses import replace

import pandas as pd
import torch

from q2_aam.core.data.rarefaction import rarefy
from q2_aam.core.data.sample_table import SampleTable, sample_table, warn_of_other_lengths
from q2_aam.core.data.sequences import Sequences
from q2_aam.core.explain.known_reads import in_frame, known_shares, warn_of_unknown_reads
from q2_aam.core.model.covariates import read_covariates
from q2_aam.core.model.predictor import build
from q2_aam.core.model.specification import ENCODER
from q2_aam.core.model.trained_model import TrainedModel
from q2_aam.core.training.devices import choose_device, describe

log = logging.getLogger(__name__)


def samples_for(model: TrainedModel, table, sequences: Sequences) -> SampleTable:
    """Bring a table into the form in which a model reads it; empty samples are left out."""
    spec = model.spec
    samples = sample_table(table, sequences, spec.model.max_bp)
    warn_of_other_lengths(samples, spec.reads.shortest, spec.reads.longest)
    seed = spec.training.random_seed
    return rarefy(samples, spec.data.rarefy_depth, seed, keep_shallow=True)


def module_of(model: TrainedModel, device: str) -> torch.nn.Module:
    """Build a model for prediction on a device, and say which that is."""
    module = build(model.spec)
    module.load_state_dict(model.weights)
    place = choose_device(device)
    log.info("Computing on %s.", describe(place))
    return module.to(place).eval()


def prediction_input(
    model: TrainedModel,
    table,
    sequences: Sequences,
    device: str,
    covariates: pd.DataFrame | None = None,
) -> tuple[SampleTable, torch.nn.Module]:
    """Return what a prediction starts from: `input_of_encoder`, and the covariates of the samples.

    Raises
    ------
    ValueError
        If the model was trained with other covariates than are given.
    """
    check_covariates(model, covariates)
    samples, module = input_of_encoder(model, table, sequences, device)
    return covariates_for(model, samples, covariates), module


def covariates_for(
    model: TrainedModel, samples: SampleTable, covariates: pd.DataFrame | None
) -> SampleTable:
    """Add the covariates that a model was trained with to samples; there may be none."""
    if covariates is None:
        return samples
    learnt = model.spec.covariates
    wanted = covariates[[name for name in learnt.names if name in covariates]]
    found = read_covariates(wanted, samples.sample_ids, learnt=True)
    return replace(samples, covariates=learnt.encode(found))


def check_covariates(model: TrainedModel, covariates: pd.DataFrame | None) -> None:
    """Refuse covariates that a model was not trained with, and to do without those that it was.

    Raises
    ------
    ValueError
    """
    learnt = model.spec.covariates
    if learnt is None and covariates is not None:
        raise ValueError(
            "The model was trained without covariates, so they would have no effect: leave the "
            "metadata of covariates out."
        )
    if learnt is not None and covariates is None:
        raise ValueError(
            f"The model was trained with covariates ({', '.join(learnt.names)}): give the "
            "metadata of the samples with these columns as covariates "
            "(--m-covariates-file)."
        )


def input_of_encoder(
    model: TrainedModel, table, sequences: Sequences, device: str
) -> tuple[SampleTable, torch.nn.Module]:
    """Return `samples_for` and `module_of`, and warn of reads that the model does not know.

    Only a model that stores samples tells which reads it has learnt. For such a model, ASVs
    that are near to stored ones but for insertions and deletions are read as these.
    """
    samples, module = samples_for(model, table, sequences), module_of(model, device)
    if model.spec.stored is not None:
        warn_of_unknown_reads(module.stored.known_asvs, samples)
        samples = in_frame(module.stored.known_asvs, samples)
    return samples, module


def known_reads(table, model: TrainedModel, *, sequences: Sequences = None) -> pd.Series:
    """Say how much of each sample a model knows.

    A read is known if its ASV is one of the samples that the model stores, or nearly the same.

    Parameters
    ----------
    table : biom.Table
        Counts of ASVs in samples. The ASVs may be new to the model.
    model : TrainedModel
        Of kind SequenceRegressor or SequenceClassifier.
    sequences : mapping or path, optional
        As in training.

    Returns
    -------
    pandas.Series
        Share of the reads that are known by sample id, from 0 to 1; named 'known_reads'. Samples
        without reads are left out, with a warning.

    Raises
    ------
    ValueError
        If the model stores no samples.
    """
    if model.spec.stored is None:
        is_encoder = model.spec.kind == ENCODER
        why = "is an encoder" if is_encoder else "was trained with stored_samples 0"
        raise ValueError(
            f"The model {why}, so it stores no samples and cannot tell which reads it has learnt: "
            "give a model of train-regressor or train-classifier that stores samples."
        )
    samples = samples_for(model, table, sequences)
    shares = known_shares(module_of(model, "cpu").stored.known_asvs, samples)
    index = pd.Index(samples.sample_ids, name="sample-id")
    return pd.Series(shares, index=index, name="known_reads")
