"""All that a run trains on and validates with, epoch by epoch."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from q2_aam.core.data.mini_batches import References
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
    """

    table: SampleTable
    targets: np.ndarray | None = None
    unifrac: UniFracSource | None = None
    groups: np.ndarray | None = None


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
