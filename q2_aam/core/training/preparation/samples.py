"""The samples of a run: rarefied, and divided into training and validation samples."""

from dataclasses import dataclass

import numpy as np

from q2_aam.core.data.rarefaction import rarefy
from q2_aam.core.data.sample_table import SampleTable
from q2_aam.core.data.validation_split import divide, tell_of_groups
from q2_aam.core.model.specification import CLASSIFIER, Reads
from q2_aam.core.training.preparation.run_input import RunInput


@dataclass(frozen=True)
class Samples:
    """Rarefied training and validation samples.

    Parameters
    ----------
    raw, fixed : SampleTable
        Training samples before and after rarefaction.
    held : SampleTable, optional
        Validation samples, rarefied.
    """

    raw: SampleTable
    fixed: SampleTable
    held: SampleTable | None

    @property
    def reads(self) -> Reads:
        """What the model is trained on."""
        lengths = self.fixed.read_lengths[np.unique(self.fixed.counts.indices)]
        return Reads(self.fixed.n_samples, len(lengths), int(lengths.min()), int(lengths.max()))


def prepare_samples(inputs: RunInput) -> Samples:
    """Rarefy the samples of a run, and hold some out for validation: of each class its share.

    Samples of a group stay together.

    Raises
    ------
    ValueError
        If fewer than two samples are left for training, or too few for validation.
    """
    table, settings, seed = inputs.table, inputs.settings, inputs.seed
    data = settings.data
    rarefied = rarefy(table, data.rarefy_depth, seed)
    if not data.rarefy_each_epoch:
        rarefied = rarefied.observed()
    if rarefied.n_samples < 2 + (data.test_size > 0):
        raise ValueError(
            f"Only {rarefied.n_samples} of {table.n_samples} samples can be used, too few to "
            "learn from; check rarefy_depth and the metadata, or give more samples."
        )
    classes, groups = None, None
    if inputs.kind == CLASSIFIER:
        classes = inputs.values[list(rarefied.sample_ids)].to_numpy()
    if inputs.groups is not None:
        groups = inputs.groups[list(rarefied.sample_ids)]
    train, held = divide(rarefied.n_samples, data.test_size, seed, classes, groups)
    if groups is not None:
        tell_of_groups(groups, held, data.test_size)
    if settings.best_metric == "r2" and len(held) < 2:
        raise ValueError(
            f"best_metric r2 needs two or more validation samples, but test_size {data.test_size} "
            f"of {rarefied.n_samples} samples makes {len(held)}: raise test_size, or choose "
            "best_metric mae."
        )
    fixed = rarefied.take(train)
    raw = table.select(fixed.sample_ids) if data.rarefy_each_epoch else fixed
    return Samples(raw, fixed, rarefied.take(held) if len(held) else None)
