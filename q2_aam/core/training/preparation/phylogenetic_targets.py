"""Phylogenetic targets of a run: UniFrac distances to reference samples, pairwise, or Faith PD.

Shapes: N samples, B samples of a batch, R reference samples.
"""

import logging
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from q2_aam.core.data.feature_names import shorten
from q2_aam.core.data.mini_batches import References
from q2_aam.core.data.sample_table import SampleTable
from q2_aam.core.options.config import Settings
from q2_aam.core.phylogeny.branches import BranchTable, another_tip, missing_features
from q2_aam.core.phylogeny.unifrac import UniFracTargets, pairwise_matrix
from q2_aam.core.training.objective.unifrac_prediction import (
    DiversityComparison,
    PairComparison,
    StripeComparison,
)
from q2_aam.core.training.preparation.run_input import RunInput
from q2_aam.core.training.preparation.samples import Samples

log = logging.getLogger(__name__)

JOINING_REFERENCES = 8
"""References that join each training batch at most. Of 16 oral samples in a step, 8 references
brought UniFrac further than 4 or 2."""

VARIANCE_SAMPLES = 500
"""Training samples from which the mean and variance of the phylogenetic targets are taken."""


@dataclass(frozen=True)
class LazyTargets:
    """Phylogenetic targets computed when a batch is loaded."""

    targets: UniFracTargets

    def __call__(self, rows, counts) -> np.ndarray:
        """Compute the targets of samples with these counts."""
        return self.targets(counts)

    def against(self, references) -> "LazyTargets":
        """Compare with other counts of the references."""
        known = self.targets
        return LazyTargets(UniFracTargets(known.branches, known.metric, references))


@dataclass(frozen=True)
class StoredTargets:
    """Phylogenetic targets computed before training; `pairs` where columns are samples too."""

    values: np.ndarray
    pairs: bool

    def __call__(self, rows, counts) -> np.ndarray:
        """Look the targets of these rows up."""
        return self.values[np.ix_(rows, rows)] if self.pairs else self.values[rows]


@dataclass(frozen=True)
class PhylogeneticTargets:
    """The phylogenetic targets of a run, and how the model is compared with them.

    Parameters
    ----------
    training, validation : callable
        Targets of a batch.
    comparison : nn.Module
    references : References, optional
    mean, variance : float
        Of the targets among training samples.
    """

    training: LazyTargets | StoredTargets
    validation: LazyTargets | StoredTargets | None
    comparison: nn.Module
    references: References | None
    mean: float
    variance: float


def drop_missing_features(table: SampleTable, tree: str | None, settings: Settings) -> SampleTable:
    """Leave out the features that the phylogeny lacks, if the options ask for it.

    Raises
    ------
    ValueError
        If the phylogeny has none of the features.
    """
    if tree is None or settings.unifrac.missing_features == "error":
        return table
    missing = missing_features(tree, table.feature_ids)
    if len(missing) == len(table.feature_ids):
        raise ValueError(
            f"None of the table's {len(missing)} features, such as '{shorten(missing[0])}', is a "
            f"tip of the phylogeny (a tip is called '{another_tip(tree, missing)}'); give the "
            "phylogeny of this table."
        )
    if missing:
        log.warning(
            "%d of %d features are not tips of the phylogeny and are left out, such as '%s'.",
            len(missing),
            len(table.feature_ids),
            missing[0],
        )
    return table.without(missing)


def prepare_phylogeny(inputs: RunInput, samples: Samples) -> PhylogeneticTargets:
    """Read the phylogeny of a run, and choose the reference samples.

    Raises
    ------
    ValueError
        If the tree cannot be used, or a named reference is not a training sample.
    """
    tree, settings = inputs.phylogeny, inputs.settings
    config, fixed, held = settings.unifrac, samples.fixed, samples.held
    log.info("Reading the phylogeny of %d ASVs.", len(fixed.feature_ids))
    branches = BranchTable.from_newick(tree, fixed.feature_ids, prune=config.prune_tree)
    comparison, references, against = PairComparison(), None, None
    if config.metric == "faith_pd":
        comparison = DiversityComparison()
    elif config.stripe_mode:
        rows = _reference_rows(fixed, settings, inputs.reference_ids)
        references = References(rows, JOINING_REFERENCES, fixed.take(rows))
        comparison = StripeComparison(len(rows), settings.model.embedding_dim)
        against = references.table.counts
    targets = UniFracTargets(branches, config.metric, references=against)
    mean, variance = _moments(targets, fixed, settings)
    if config.lazy_unifrac:
        source = LazyTargets(targets)
        return PhylogeneticTargets(source, source, comparison, references, mean, variance)
    stored = [_stored(targets, part, tree) for part in (fixed, held) if part is not None]
    held_source = stored[1] if held is not None else None
    return PhylogeneticTargets(stored[0], held_source, comparison, references, mean, variance)


def _reference_rows(table: SampleTable, settings: Settings, named) -> np.ndarray:
    if named is None:
        rng = np.random.default_rng([settings.training.random_seed, 0x4EF5])
        n = min(settings.unifrac.reference_samples, table.n_samples)
        return np.sort(rng.permutation(table.n_samples)[:n])
    row_of = {name: i for i, name in enumerate(table.sample_ids)}
    missing = sorted(set(named) - set(row_of))
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(set(named))} reference samples are not among the "
            f"{table.n_samples} training samples: {', '.join(missing)}; they may be absent from "
            "the table, below rarefy_depth, or held out for validation (test_size)."
        )
    return np.array(sorted({row_of[name] for name in named}))


def _moments(targets, table: SampleTable, settings: Settings) -> tuple[float, float]:
    rng = np.random.default_rng([settings.training.random_seed, 0x0A12])
    rows = np.sort(rng.permutation(table.n_samples)[:VARIANCE_SAMPLES])
    values = np.asarray(targets(table.counts[rows]), dtype=float)
    if values.ndim == 2 and values.shape[0] == values.shape[1]:
        values = values[np.triu_indices(len(values), 1)]
    variance = float(values.var())
    return float(values.mean()), variance if variance > 1e-8 else 1.0


def _stored(targets, table: SampleTable, tree) -> StoredTargets:
    pairs = targets.metric != "faith_pd" and targets.references is None
    n, width = table.n_samples, table.n_samples if pairs else 1
    if targets.references is not None:
        width = targets.references.shape[0]
    log.info("The phylogenetic targets of %d samples take %.1f MiB.", n, 4 * n * width / 2**20)
    if not pairs:
        return StoredTargets(targets(table.counts), pairs=False)
    values = pairwise_matrix(
        table.counts, table.feature_ids, tree, targets.metric,
        threads=torch.get_num_threads(),
    )  # fmt: skip
    return StoredTargets(values, pairs=True)
