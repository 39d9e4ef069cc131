"""How much each sample counts where the target is learnt."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from q2_aam.core.data.metadata import check_numbers, with_values
from q2_aam.core.data.splits.grouped_split import with_groups

LARGEST_RATIO = 1_000_000
"""Of two weights; beyond it, the smaller one is lost in the digits of a number."""


@dataclass(frozen=True, eq=False)
class Weighting:
    """Weights of samples, groups of samples that count alike, or both.

    With both, the weights say how much samples count within their group.

    Parameters
    ----------
    weights : pandas.Series, optional
        Weight by sample id, above 0.
    balanced : pandas.Series, optional
        Group by sample id, such as the study: all groups count equally, whatever their sizes.
    """

    weights: pd.Series | None = None
    balanced: pd.Series | None = None

    def of(self, training, validation=None) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return the weights of training and of validation samples, each (n,) float32.

        They are relative to each other, as all of these samples are stored in the end. The mean of
        those of training is 1, so that the size of a loss does not depend on them. None where all
        samples count the same.
        """
        if self.weights is None and self.balanced is None:
            return None, None
        n, ids = len(training), [*training, *(validation or ())]
        weights = pd.Series(1.0, ids) if self.weights is None else self.weights[ids]
        if self.balanced is not None:
            weights = weights / weights.groupby(self.balanced[ids].to_numpy()).transform("sum")
        both = (weights / weights.iloc[:n].mean()).to_numpy(dtype=np.float32)
        return both[:n], None if validation is None else both[n:]

    def content(self) -> list:
        """Return what a digest of a run must know; nothing where all samples count the same."""
        columns = (self.weights, self.balanced)
        if all(column is None for column in columns):
            return []
        return [None if column is None else list(column.items()) for column in columns]


def read_weighting(sample_ids, weights, balanced, missing_samples: str) -> tuple[list, Weighting]:
    """Take the weights of some samples, and see whether they can be used.

    Parameters
    ----------
    sample_ids : sequence of str
    weights : pandas.Series, optional
        Numbers by sample id.
    balanced : pandas.Series, optional
        Group by sample id.
    missing_samples : {'error', 'ignore'}
        What to do when samples have no weight, or no group.

    Returns
    -------
    sample_ids : list of str
        Those that have what was given.
    Weighting

    Raises
    ------
    ValueError
        If samples lack a value and 'error' is chosen, or a weight is not above 0.
    """
    ids = list(sample_ids)
    if weights is not None:
        weights = with_values(ids, weights, missing_samples, numeric=True)
        words = weights[pd.to_numeric(weights, errors="coerce").isna()]
        if len(words):
            raise ValueError(
                f"Weights are numbers, and column '{weights.name}' has text, such as "
                f"'{str(words.iloc[0])[:40]}' of sample '{words.index[0]}': give a column of "
                "numbers as weights, or, so that its groups count alike, this column as balance."
            )
        weights = check_numbers(weights)
        wrong = weights[weights <= 0]
        if len(wrong):
            raise ValueError(
                f"{len(wrong)} weights of column '{weights.name}' are not above 0, such as "
                f"{wrong.iloc[0]:g} of sample '{wrong.index[0]}': a weight says how much a sample "
                "counts; leave samples that are not to count out of the table."
            )
        if weights.max() > LARGEST_RATIO * weights.min():
            raise ValueError(
                f"The largest weight of column '{weights.name}' ({weights.max():g}, sample "
                f"'{weights.idxmax()}') is more than {LARGEST_RATIO:,} times the smallest "
                f"({weights.min():g}, sample '{weights.idxmin()}'): such a sample counts nothing; "
                "leave it out of the table."
            )
        ids = list(weights.index)
    ids, balanced = with_groups(ids, balanced, missing_samples)
    return ids, Weighting(None if weights is None else weights[ids], balanced)
