"""The options of a run, checked before anything else is read or loaded (torch-free)."""

import logging
from dataclasses import replace

import numpy as np

from q2_aam.core.data.rarefaction import suitable_depth
from q2_aam.core.model.specification import FINE_TUNING, ModelSpec
from q2_aam.core.options.config import ModelConfig, Settings
from q2_aam.core.options.option import OptionError

log = logging.getLogger(__name__)

ARCHITECTURE = ("embedding_dim", "attention_heads", "attention_layers", "max_bp", "patch_size")
MOST_READS = 5000
"""Rarefaction depth where nothing is said and the samples have as many reads."""


def settings_of(kind: str, options: dict, encoder=None, *, ships: bool = False) -> Settings:
    """Check the options of a run; the architecture of a given encoder stands.

    Parameters
    ----------
    kind : {'SequenceEncoder', 'SequenceRegressor', 'SequenceClassifier'}
        What the run makes.
    options : dict
        Values by name.
    encoder : TrainedModel or SavedConfig, optional
        A model of any kind whose encoder is continued.
    ships : bool
        Whether the encoder is that which ships with q2-aam; without an encoder, whether that may
        be taken.

    Returns
    -------
    Settings
        `freeze_base` is settled, unless the encoder is still to be chosen.

    Raises
    ------
    OptionError
        With everything that is wrong, options that contradict the encoder included.
    """
    spec = None if encoder is None else encoder.spec
    problems = list(_contradictions_of_encoder(options, spec, ships))
    try:
        settings = Settings.from_options(options, FINE_TUNING.get(kind))
    except OptionError as error:
        raise OptionError(error.problems + problems) from None
    if problems:
        raise OptionError(problems)
    if settings.fine_tuning is not None and (spec is not None or not ships):
        settings = _with_freezing(settings, ships)
    if spec is None:
        return settings
    return replace(settings, model=replace(spec.model, dropout=settings.model.dropout))


def _with_freezing(settings: Settings, default: bool) -> Settings:
    tuning = settings.fine_tuning
    if tuning.freeze_base is None:
        tuning = replace(tuning, freeze_base=default)
    return replace(settings, fine_tuning=tuning)


def with_depth(settings: Settings, depths: np.ndarray) -> Settings:
    """Choose the rarefaction depth for samples with these numbers of reads, if none is asked for.

    Parameters
    ----------
    settings : Settings
    depths : ndarray of shape (n_samples,)
    """
    if settings.data.rarefy_depth is not None:
        return settings
    depth = usual_depth(depths)
    log.info("Samples are rarefied to %d reads (rarefy_depth).", depth)
    return replace(settings, data=replace(settings.data, rarefy_depth=depth))


def usual_depth(depths: np.ndarray) -> int:
    """Choose a depth: `MOST_READS`, or what nine of ten samples have if that is less.

    It has one digit that is not zero, since a few reads more are not worth the samples that they
    cost.
    """
    depth = max(1, min(MOST_READS, suitable_depth(np.asarray(depths))))
    step = 10 ** (len(str(depth)) - 1)
    return depth // step * step


def _contradictions_of_encoder(options, spec: ModelSpec | None, ships: bool):
    if spec is None:
        if options.get("freeze_base") is True and (not ships or options.get("from_scratch")):
            yield "freeze_base keeps an encoder as it is, so an encoder must be given"
        return
    if options.get("from_scratch") is True:
        yield "from_scratch starts from random weights, so leave the encoder out"
    for name, mine in other_architecture(options, spec.model).items():
        yield f"{name} is {mine}, but the encoder's is {getattr(spec.model, name)}: leave it out"


def other_architecture(options: dict, its: ModelConfig) -> dict:
    """Return the options that ask for another architecture than an encoder has, by name."""
    default = ModelConfig()
    asked = {name: options.get(name, getattr(default, name)) for name in ARCHITECTURE}
    return {
        name: value
        for name, value in asked.items()
        if value not in (getattr(default, name), getattr(its, name))
    }
