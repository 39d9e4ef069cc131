"""The samples of a run: rarefied, and divided into training and validation samples."""

import logging
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from q2_aam.core.data.rarefaction import check_depth, rarefy, suitable_depth
from q2_aam.core.data.sample_table import SampleTable
from q2_aam.core.data.splits.validation_split import divide, tell_of_groups
from q2_aam.core.model.covariates import Covariates
from q2_aam.core.model.specification import CLASSIFIER, Reads
from q2_aam.core.options.config import DataConfig
from q2_aam.core.training.preparation.run_input import RunInput

log = logging.getLogger(__name__)


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
    def sample_ids(self) -> list[str]:
        """The samples of the run, those for validation last."""
        return [*self.fixed.sample_ids, *(self.held.sample_ids if self.held is not None else ())]

    def with_covariates(self, covariates: Covariates, frame: pd.DataFrame) -> "Samples":
        """Add the covariates of the samples, which the columns of a frame have by sample id."""

        def beside(table: SampleTable | None) -> SampleTable | None:
            if table is None:
                return None
            encoded = covariates.encode(frame.loc[list(table.sample_ids)])
            return replace(table, covariates=encoded)

        fixed = beside(self.fixed)
        raw = fixed if self.raw is self.fixed else beside(self.raw)
        return Samples(raw, fixed, beside(self.held))

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
        If rarefaction would leave out most samples and that was not asked for, or fewer than two
        samples are left for training, or too few for validation.
    """
    table, settings, seed = inputs.table, inputs.settings, inputs.seed
    data = settings.data
    if data.shallow_samples == "error":
        check_depth(table.sample_ids, table.depths, data.rarefy_depth)
    rarefied = rarefy(table, data.rarefy_depth, seed)
    if not data.rarefy_each_epoch:
        rarefied = rarefied.observed()
    if rarefied.n_samples < 2 + (data.test_size > 0):
        raise ValueError(_too_few(table, rarefied.n_samples, data.rarefy_depth))
    _warn_of_rich(rarefied, data)
    classes, groups = None, None
    if inputs.kind == CLASSIFIER:
        classes = inputs.values[list(rarefied.sample_ids)].to_numpy()  # noqa: PD011 - no data frame
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


def _warn_of_rich(table: SampleTable, data: DataConfig) -> None:
    """Warn of samples whose rarer ASVs the model does not read."""
    rich = np.flatnonzero(table.richness > data.token_limit)
    if len(rich):
        i = rich[table.richness[rich].argmax()]
        log.warning(
            "%d of %d samples have more than %d ASVs (token_limit), such as '%s' with %d, and the "
            "model does not read all of them (asv_sampling %s).",
            len(rich), table.n_samples, data.token_limit, table.sample_ids[i], table.richness[i],
            data.asv_sampling,
        )  # fmt: skip


def _too_few(table: SampleTable, n: int, depth: int) -> str:
    """Say that too few samples are left, and what left the others out."""
    said, shallow = "", table.n_samples - n
    if shallow:
        proposed = suitable_depth(table.depths)
        said = f": {shallow} have fewer than {max(depth, 1)} reads (rarefy_depth)"
        if 0 < proposed < depth:
            kept = int((table.depths >= proposed).sum())
            said += f", and --p-rarefy-depth {proposed} would keep {kept}"
    return (
        f"Only {n} of {table.n_samples} samples can be used, too few to learn from{said}; check "
        "the metadata, or give more samples."
    )
