"""All that a run trains on and validates with, epoch by epoch."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from q2_aam.core.data.mini_batches import References
from q2_aam.core.data.rarefaction import rarefy
from q2_aam.core.data.sample_table import SampleTable
from q2_aam.core.options.config import DataConfig

UniFracSource = Callable[[np.ndarray, object], np.ndarray]


@dataclass(frozen=True)
class Pass:
    """The samples of a pass and what is to be learnt of them.

    Parameters
    ----------
    table : SampleTable
    targets : ndarray of shape (n_samples,), optional
        Learnt values or class indices.
    unifrac : callable, optional
        Gives the phylogenetic targets of a batch from its rows and counts.
    groups : ndarray of shape (n_samples,), optional
        Number of the group of each sample.
    weights : ndarray of shape (n_samples,), float32, optional
        How much each sample counts where the target is learnt; 1 on average.
    """

    table: SampleTable
    targets: np.ndarray | None = None
    unifrac: UniFracSource | None = None
    groups: np.ndarray | None = None
    weights: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> "Pass":
        """Keep these samples, which have targets; what is said of the phylogeny is left."""
        kept = {
            name: value[rows]
            for name in ("targets", "groups", "weights")
            if (value := getattr(self, name)) is not None
        }
        return replace(self, table=self.table.take(rows), **kept)


class TrainingPasses:
    """Gives the training pass of an epoch: the first one, or one whose reads are drawn anew.

    Parameters
    ----------
    first : Pass
    raw : SampleTable
        Its samples before rarefaction.
    data : DataConfig
    seed : int
        Of the run.
    references : References, optional
    """

    def __init__(
        self,
        first: Pass,
        raw: SampleTable,
        data: DataConfig,
        seed: int,
        references: References | None = None,
    ):
        self.first, self.raw, self.data, self.seed = first, raw, data, seed
        self.references = references
        self._of = lru_cache(maxsize=1)(self._drawn)

    def __call__(self, epoch: int) -> Pass:
        """Return the pass of an epoch, from 0."""
        return self._of(epoch)

    def _drawn(self, epoch: int) -> Pass:
        if not self.data.rarefy_each_epoch or epoch == 0:
            return self.first
        drawn = rarefy(self.raw, self.data.rarefy_depth, self.seed + epoch * 1_000_003)
        if self.references is None:
            return replace(self.first, table=drawn)
        against = drawn.counts[self.references.rows]  # so are the references that are in a batch
        return replace(self.first, table=drawn, unifrac=self.first.unifrac.against(against))


@dataclass(frozen=True)
class RunData:
    """All that a run trains on.

    Parameters
    ----------
    training : callable
        Gives the pass of an epoch from its number.
    validation : Pass, optional
        Held-out samples.
    data : DataConfig
    references : References, optional
        Rows of the training table that UniFrac is compared with.
    masked : bool
        Whether there is a nucleotide loss.
    with_vectors : ndarray of shape (V, L), uint8, optional
        Sequences of the ASVs that get a vector of their own in the networks of a target, where
        these compare samples.
    """

    training: Callable[[int], Pass]
    validation: Pass | None
    data: DataConfig
    references: References | None = None
    masked: bool = True
    with_vectors: np.ndarray | None = None
