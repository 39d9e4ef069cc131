"""What a training starts from where the user gives nothing: the encoder that ships, or scratch."""

import logging
from dataclasses import replace

from q2_aam.core.artifact.shipped import encoder
from q2_aam.core.data.sample_table import SampleTable, sample_table
from q2_aam.core.data.sequences import Sequences
from q2_aam.core.explain.likeness import why_unlike
from q2_aam.core.training.preparation.run_settings import other_architecture

log = logging.getLogger(__name__)


def fitting_samples(table, sequences: Sequences, options: dict) -> SampleTable | None:
    """Read samples for the encoder that ships, if it is for reads like theirs; say what is done.

    Parameters
    ----------
    table : biom.Table
    sequences : mapping or path, optional
    options : dict
        Options of the training by name.

    Returns
    -------
    SampleTable or None
        None if training starts from scratch: because `from_scratch` asks for it, or an option asks
        for another architecture, or the reads are of another kind.
    """
    if options.get("from_scratch"):
        return None
    spec = encoder.spec()
    other = other_architecture(options, spec.model)
    if other:
        log.info(
            "Training starts from scratch, as the encoder that ships with q2-aam has another %s.",
            ", ".join(other),
        )
        return None
    most = spec.model.max_bp
    samples = sample_table(table, sequences, most + 1, quiet=True)
    n_longer, n_asvs = int((samples.read_lengths > most).sum()), len(samples.feature_ids)
    samples = replace(samples, tokens=samples.tokens[:, :most])
    reason = why_unlike(samples, encoder.sketch(), spec.reads.shortest)
    if reason is not None:
        log.warning(
            "Training starts from scratch, and not from the encoder that ships with q2-aam. That "
            "is for 16S reads from the primer 515F on (V4). %s If you have a phylogeny, pre-train "
            "an encoder on your own samples.",
            reason,
        )
        return None
    log.info("Training starts from the encoder that ships with q2-aam (%s).", encoder.NAME)
    if n_longer:
        log.warning(
            "The encoder that ships with q2-aam reads the first %d nt of a sequence, and %d of %d "
            "sequences are longer. To use them whole, give a phylogeny and pre-train an encoder "
            "on your own samples.",
            most, n_longer, n_asvs,
        )  # fmt: skip
    return samples
