"""The options of what a model keeps of the run that made it; none of them is part of the model."""

from dataclasses import dataclass

from q2_aam.core.options.option import Config, option


@dataclass(frozen=True)
class RecordConfig(Config):
    """What a model keeps of its run."""

    keep_sample_ids: bool = option(
        True,
        "Keep in the model the ids of the samples that trained it, of its validation samples, and "
        "of the samples that were left out. Whoever gets the model can read them. Otherwise, the "
        "model keeps no ids, and no warnings, because warnings may name samples. The provenance "
        "of an artifact has the metadata that was given in any case.",
    )
