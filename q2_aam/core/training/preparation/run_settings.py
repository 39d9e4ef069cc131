"""The options of a run, checked before anything else is read or loaded (torch-free)."""

from dataclasses import replace

from q2_aam.core.model.specification import FINE_TUNING, ModelSpec
from q2_aam.core.options.config import ModelConfig, Settings
from q2_aam.core.options.option import OptionError


def settings_of(kind: str, options: dict, encoder=None) -> Settings:
    """Check the options of a run; the architecture of a given encoder stands.

    Parameters
    ----------
    kind : {'SequenceEncoder', 'SequenceRegressor', 'SequenceClassifier'}
        What the run makes.
    options : dict
        Values by name.
    encoder : TrainedModel or SavedConfig, optional
        A model of any kind whose encoder is continued.

    Raises
    ------
    OptionError
        With everything that is wrong, options that contradict the encoder included.
    """
    spec = None if encoder is None else encoder.spec
    problems = list(_contradictions_of_encoder(options, spec))
    try:
        settings = Settings.from_options(options, FINE_TUNING.get(kind))
    except OptionError as error:
        raise OptionError(error.problems + problems) from None
    if problems:
        raise OptionError(problems)
    if spec is None:
        return settings
    return replace(settings, model=replace(spec.model, dropout=settings.model.dropout))


def _contradictions_of_encoder(options, spec: ModelSpec | None):
    if spec is None:
        if options.get("freeze_base") is True:
            yield "freeze_base keeps an encoder as it is, so an encoder must be given"
        return
    given, default = spec.model, ModelConfig()
    for name in ("embedding_dim", "attention_heads", "attention_layers", "max_bp", "patch_size"):
        mine, its = options.get(name, getattr(default, name)), getattr(given, name)
        if mine not in (getattr(default, name), its):
            yield f"{name} is {mine}, but the encoder's is {its}: leave it out"
