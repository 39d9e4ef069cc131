"""What a run is made from, read and checked once, and handed down whole."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from q2_aam.core.data.sample_table import SampleTable
from q2_aam.core.model.specification import ModelSpec
from q2_aam.core.model.trained_model import TrainedModel
from q2_aam.core.options.config import Settings
from q2_aam.core.training.preparation.fingerprint import fingerprint
from q2_aam.core.training.preparation.weighting import Weighting


@dataclass(frozen=True, eq=False)
class RunInput:
    """The options and the data of a run.

    Parameters
    ----------
    kind : {'SequenceEncoder', 'SequenceRegressor', 'SequenceClassifier'}
        What the run makes.
    settings : Settings
    table : SampleTable
        All samples to train on and to validate with, before rarefaction.
    values : pandas.Series, optional
        Numbers or class names by sample id, in the order of the table; absent in pre-training.
    phylogeny : str, optional
        Path of a Newick file.
    encoder : TrainedModel, optional
        Whose encoder is continued.
    reference_ids : sequence of str, optional
        Training samples that UniFrac is compared with, instead of a random choice.
    groups : pandas.Series, optional
        Group by sample id: samples of a group are not divided into training and validation.
    covariates : pandas.DataFrame, optional
        Columns that are read beside the table, by sample id, as from `read_covariates`.
    weighting : Weighting
        How much samples count where the target is learnt.
    left_out : dict of str to str, optional
        Why other samples that the user gave are not in the table, by sample id. It is only kept.
    """

    kind: str
    settings: Settings
    table: SampleTable
    values: pd.Series | None = None
    phylogeny: str | None = None
    encoder: TrainedModel | None = None
    reference_ids: Sequence[str] | None = None
    groups: pd.Series | None = None
    covariates: pd.DataFrame | None = None
    weighting: Weighting = field(default_factory=Weighting)
    left_out: Mapping[str, str] | None = None

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return self.settings.training.random_seed

    def group_numbers(self, sample_ids) -> np.ndarray | None:
        """Number the groups of these samples, (n_samples,) int; None where there are none."""
        if self.groups is None:
            return None
        numbers = pd.Series(pd.factorize(self.groups)[0], self.groups.index)
        return numbers[list(sample_ids)].to_numpy()

    def fingerprint(self, spec: ModelSpec) -> str:
        """Return a digest by which the same run is found again in a run directory."""
        table, counts, values = self.table, self.table.counts, self.values
        weights = {} if self.encoder is None else self.encoder.weights
        return fingerprint(
            asdict(spec),
            table.sample_ids,
            table.feature_ids,
            table.tokens,
            counts.data,
            counts.indices.astype(np.int64),
            counts.indptr.astype(np.int64),
            None if self.phylogeny is None else Path(self.phylogeny),
            None if self.reference_ids is None else sorted(self.reference_ids),
            None if values is None else [[name, str(value)] for name, value in values.items()],
            *(weight.numpy() for _, weight in sorted(weights.items())),
            *([] if self.groups is None else [list(self.groups.items())]),
            *self.weighting.content(),
            *([] if self.covariates is None else [self.covariates.to_csv()]),
        )
