"""From a table, a phylogeny and a column to what the training loop takes."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import nn

from q2_aam.core.data.mini_batches import References
from q2_aam.core.data.sample_table import SampleTable, rarefy, split
from q2_aam.core.model.specification import Reads
from q2_aam.core.options.config import Settings
from q2_aam.core.phylogeny.branches import BranchTable, missing_features
from q2_aam.core.phylogeny.unifrac import UniFracTargets, pairwise_matrix
from q2_aam.core.training.loop.lightning_module import Pass, RunData
from q2_aam.core.training.objective.unifrac_prediction import (
    DiversityComparison,
    PairComparison,
    StripeComparison,
)

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


@dataclass(frozen=True)
class Phylogenetic:
    """The phylogenetic side of a run.

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
            f"None of the table's {len(missing)} features, such as '{missing[0]}', is a tip of "
            "the phylogeny; give the phylogeny of this table."
        )
    if missing:
        log.warning(
            "%d of %d features are not tips of the phylogeny and are left out, such as '%s'.",
            len(missing),
            len(table.feature_ids),
            missing[0],
        )
    return table.without(missing)


def prepare_samples(table: SampleTable, settings: Settings, classes=None) -> Samples:
    """Rarefy, and hold validation samples back.

    Parameters
    ----------
    table : SampleTable
    settings : Settings
    classes : pandas.Series, optional
        Class by sample id, to be divided in proportion.

    Raises
    ------
    ValueError
        If fewer than two samples are left for training, or too few for validation.
    """
    data, seed = settings.data, settings.training.random_seed
    rarefied = rarefy(table, data.rarefy_depth, seed)
    if not data.rarefy_each_epoch:
        rarefied = rarefied.observed()
    if rarefied.n_samples < 2 + (data.test_size > 0):
        raise ValueError(
            f"Only {rarefied.n_samples} of {table.n_samples} samples can be used, too few to "
            "learn from; check rarefy_depth and the metadata, or give more samples."
        )
    groups = None if classes is None else classes[list(rarefied.sample_ids)].to_numpy()
    train, held = split(rarefied.n_samples, data.test_size, seed, groups)
    if data.test_size > 0 and not len(held):
        raise ValueError(
            f"Each of the {len(train)} classes of the metadata column has one sample, so none can "
            "be held back for validation; choose a column of categories that samples share."
        )
    if settings.best_metric == "r2" and len(held) < 2:
        raise ValueError(
            f"best_metric r2 needs two or more validation samples, but test_size {data.test_size} "
            f"of {rarefied.n_samples} samples makes {len(held)}: raise test_size, or choose "
            "best_metric mae."
        )
    fixed = rarefied.take(train)
    raw = table.select(fixed.sample_ids) if data.rarefy_each_epoch else fixed
    return Samples(raw, fixed, rarefied.take(held) if len(held) else None)


def prepare_run(
    samples: Samples,
    settings: Settings,
    *,
    targets: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
    phylogenetic: Phylogenetic | None = None,
    masked: bool,
) -> RunData:
    """Put together what the training loop takes.

    Parameters
    ----------
    samples : Samples
    settings : Settings
    targets : tuple of ndarray
        Learnt values or class indices of training and validation samples.
    phylogenetic : Phylogenetic, optional
    masked : bool
        Whether there is a nucleotide loss.
    """
    data, seed = settings.data, settings.training.random_seed
    targets = tuple(_single_precision(values) for values in targets)
    first = Pass(samples.fixed, targets[0], phylogenetic and phylogenetic.training)
    references = phylogenetic and phylogenetic.references

    @lru_cache(maxsize=1)
    def training(epoch: int) -> Pass:
        if not data.rarefy_each_epoch or epoch == 0:
            return first
        drawn = rarefy(samples.raw, data.rarefy_depth, seed + epoch * 1_000_003)
        if references is None:
            return replace(first, table=drawn)
        against = drawn.counts[references.rows]  # so are the references that are in a batch
        return replace(first, table=drawn, unifrac=phylogenetic.training.against(against))

    held = None
    if samples.held is not None:
        held = Pass(samples.held, targets[1], phylogenetic and phylogenetic.validation)
    return RunData(training, held, data, references, masked)


def _single_precision(values):
    return values.astype(np.float32) if values is not None and values.dtype.kind == "f" else values


def prepare_phylogeny(
    tree: str, samples: Samples, settings: Settings, reference_ids: Sequence[str] | None = None
) -> Phylogenetic:
    """Read the phylogeny, and choose what samples are compared with.

    Parameters
    ----------
    tree : path
        Newick file.
    samples : Samples
    settings : Settings
    reference_ids : sequence of str, optional
        Training samples to compare with, instead of a random choice.

    Raises
    ------
    ValueError
        If the tree cannot be used, or a named reference is not a training sample.
    """
    config, fixed, held = settings.unifrac, samples.fixed, samples.held
    branches = BranchTable.from_newick(tree, fixed.feature_ids, prune=config.prune_tree)
    comparison, references, against = PairComparison(), None, None
    if config.metric == "faith_pd":
        comparison = DiversityComparison()
    elif config.stripe_mode:
        rows = _reference_rows(fixed, settings, reference_ids)
        references = References(rows, JOINING_REFERENCES, fixed.take(rows))
        comparison = StripeComparison(len(rows), settings.model.embedding_dim)
        against = references.table.counts
    targets = UniFracTargets(branches, config.metric, references=against)
    mean, variance = _moments(targets, fixed, settings)
    if config.lazy_unifrac:
        source = LazyTargets(targets)
        return Phylogenetic(source, source, comparison, references, mean, variance)
    stored = [_stored(targets, part, tree) for part in (fixed, held) if part is not None]
    held_source = stored[1] if held is not None else None
    return Phylogenetic(stored[0], held_source, comparison, references, mean, variance)


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
