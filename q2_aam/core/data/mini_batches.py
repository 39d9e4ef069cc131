"""From a table to batches: which samples lie together, what is masked, what is compared.

Shapes: B samples, S ASVs of the largest of them, U distinct ASVs in the batch, M masked copies of
some of them, L nucleotides, R reference samples, K of these that join a batch, Q numbers of
covariates.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor
from torch.utils.data import Dataset

from q2_aam.core.data import nucleotides
from q2_aam.core.data.sample_table import SampleTable
from q2_aam.core.options.config import DataConfig

MASKED_SHARE = 0.25
"""Share of the distinct ASVs of a batch of which a masked copy is made for the nucleotide loss."""

EVALUATION_SEED = (0,)
"""Root of the random draws of a model that is not in training, which are always the same."""

SORTED_BATCHES = 16
"""Batches of a shuffled run of samples within which samples of like size are put together."""


class Labels(NamedTuple):
    """What is known of samples that are learnt from.

    Parameters
    ----------
    true : Tensor of shape (B,)
        Learnt values, or numbers of classes.
    weights : Tensor of shape (B,), optional
        How much each sample counts.
    """

    true: Tensor
    weights: Tensor | None = None


@dataclass(frozen=True)
class Batch:
    """What the model and the losses are given.

    Parameters
    ----------
    rows : Tensor of shape (B,), int64
        Row of each sample in its table.
    asvs : Tensor of shape (U,), int64
        Feature number of each distinct ASV.
    tokens : Tensor of shape (U, L), uint8
        Their nucleotides.
    asv_index : Tensor of shape (B, S), int64
        Which of the U each ASV of a sample is; 0 where padded.
    counts : Tensor of shape (B, S), float32
        Reads; 0 where padded.
    masked_of : Tensor of shape (M,), int64, optional
        Which of the U each masked copy is of.
    masked_at : Tensor of shape (M, L), bool, optional
        Where it is masked.
    unifrac : Tensor of shape (B, R), (B, B) or (B,), float32, optional
        Distances to the references or within the batch, or phylogenetic diversities.
    reference : Tensor of shape (B,), int64, optional
        Which reference each sample is, or -1.
    target : Tensor of shape (B - K,), optional
        Learnt value (float32) or class index (int64) of the samples before those that joined:
        these would count several times in an epoch.
    weight : Tensor of shape (B - K,), float32, optional
        How much each of these counts.
    covariates : Tensor of shape (B, Q), float32, optional
        What else is known of the samples.
    """

    rows: Tensor
    asvs: Tensor
    tokens: Tensor
    asv_index: Tensor
    counts: Tensor
    masked_of: Tensor | None = None
    masked_at: Tensor | None = None
    unifrac: Tensor | None = None
    reference: Tensor | None = None
    target: Tensor | None = None
    weight: Tensor | None = None
    covariates: Tensor | None = None

    @property
    def mask(self) -> Tensor | None:
        """Where there is an ASV, [B, S] bool; None if nothing is padded."""
        present = self.counts > 0
        return None if bool(present.all()) else present

    def __len__(self) -> int:
        return len(self.rows)

    def to(self, device, **kwargs) -> "Batch":
        """Copy the batch to a device."""
        moved = {
            f.name: value.to(device, **kwargs)
            for f in fields(self)
            if (value := getattr(self, f.name)) is not None
        }
        return replace(self, **moved)


def part_of(batch: Batch, samples: Tensor, copies: Tensor | None = None) -> Batch:
    """Take some samples of a batch; all its ASVs stay, so that these can be encoded once for all.

    Parameters
    ----------
    batch : Batch
    samples : Tensor of shape (N,), int64
        Places of the samples in the batch, increasing.
    copies : Tensor of shape (M',), int64, optional
        Places of the masked copies to take. Without it the part has none: parts that are added up
        must share them out.

    Returns
    -------
    Batch
        Of N samples. UniFrac keeps its columns: (N, R) or (N, B).
    """
    taken = {name: getattr(batch, name) for name in ("rows", "asv_index", "counts")}
    taken |= {name: getattr(batch, name) for name in ("unifrac", "reference", "covariates")}
    part = {name: value[samples] for name, value in taken.items() if value is not None}
    for name in ("target", "weight"):  # samples that joined are the last, and have none
        value = getattr(batch, name)
        part[name] = None if value is None else value[samples[samples < len(value)]]
    for name in ("masked_of", "masked_at"):
        value = getattr(batch, name)
        part[name] = None if value is None or copies is None else value[copies]
    return replace(batch, **part)


def plan_batches(richness, batch_size: int, rng=None) -> list[np.ndarray]:
    """Divide samples into batches of like size.

    Parameters
    ----------
    richness : ndarray of shape (n_samples,)
        ASVs of each sample.
    batch_size : int
    rng : numpy.random.Generator, optional
        Shuffles samples and batches, as training needs; without it samples are sorted.

    Returns
    -------
    list of ndarray of int
        Every sample is in exactly one batch; only one batch may be smaller.
    """
    n = len(richness)
    if rng is None:
        order = np.argsort(richness, kind="stable")
        return [order[i : i + batch_size] for i in range(0, n, batch_size)]
    order = rng.permutation(n)
    batches = []
    span = SORTED_BATCHES * batch_size
    for start in range(0, n, span):
        part = order[start : start + span]
        part = part[np.argsort(richness[part], kind="stable")]
        batches += [part[i : i + batch_size] for i in range(0, len(part), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


@dataclass(frozen=True)
class References:
    """The samples that the others are compared with.

    Parameters
    ----------
    rows : ndarray of shape (R,), int64
        Their rows in the table.
    joining : int
        How many at most join each training batch in turn, for its samples to be compared with.
    table : SampleTable
        The references themselves, in the order of `rows`.
    """

    rows: np.ndarray
    joining: int
    table: SampleTable

    def join(self, rows: np.ndarray, step: int) -> np.ndarray:
        """Add to a batch references whose turn it is at this step, at most as many as it has."""
        number = min(self.joining, len(rows))
        turns = np.roll(self.rows, -step * number)
        return np.concatenate([rows, turns[~np.isin(turns, rows)][:number]])


class BatchDataset(Dataset):
    """The batches of one pass over a table; item i is batch i, the same whenever it is asked for.

    Parameters
    ----------
    table : SampleTable
    plan : list of ndarray of int
        Rows of each batch, as from `plan_batches`.
    data : DataConfig
    seed : tuple of int
        Root of the random draws, for example (random_seed, epoch).
    masked : bool
        Make masked copies for the nucleotide loss.
    targets : ndarray of shape (n_samples,), optional
        Learnt value or class index of each sample.
    weights : ndarray of shape (n_samples,), optional
        How much each sample counts.
    unifrac : callable, optional
        Gives the targets of a batch from its rows and counts.
    references : References, optional
        Tells which samples of a batch are references.
    join : bool
        Let references join.
    """

    made = Batch

    def __init__(
        self,
        table: SampleTable,
        plan: list[np.ndarray],
        data: DataConfig,
        *,
        seed: tuple[int, ...] = EVALUATION_SEED,
        masked: bool = False,
        targets: np.ndarray | None = None,
        weights: np.ndarray | None = None,
        unifrac: Callable | None = None,
        references: References | None = None,
        join: bool = False,
    ):
        self.table, self.plan, self.data, self.seed = table, plan, data, seed
        self.masked, self.targets, self.unifrac = masked, targets, unifrac
        self.references, self.join, self.weights = references, join, weights

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, i: int) -> Batch:
        if i >= len(self.plan):
            raise IndexError(i)
        rng = np.random.default_rng([*self.seed, i])
        rows = own = self.plan[i]
        if self.join and self.references is not None:
            epoch = self.seed[-1]
            rows = self.references.join(own, epoch * len(self.plan) + i)
        counts = limit_asvs(self.table, rows, self.data, self.seed)
        batch = collate(self.table, rows, counts)
        if self.masked:
            batch = replace(batch, **mask_nucleotides(batch.tokens.numpy(), self.data, rng))
        return replace(batch, **self._labels(rows, own))

    def _labels(self, rows, own) -> dict[str, Tensor]:
        labels = {}
        if self.targets is not None:
            labels["target"] = torch.as_tensor(self.targets[own])
        if self.weights is not None:
            labels["weight"] = torch.as_tensor(self.weights[own])
        if self.unifrac is not None:
            values = self.unifrac(rows, self.table.counts[rows])
            labels["unifrac"] = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
        if self.references is not None:
            slot_of = {row: slot for slot, row in enumerate(self.references.rows)}
            labels["reference"] = torch.tensor([slot_of.get(row, -1) for row in rows])
        return labels


def limit_asvs(table: SampleTable, rows, data: DataConfig, seed: tuple[int, ...]) -> csr_matrix:
    """Keep at most ``token_limit`` ASVs of each sample, chosen by ``asv_sampling``.

    Parameters
    ----------
    table : SampleTable
    rows : ndarray of shape (B,)
    data : DataConfig
    seed : tuple of int
        Root of random draws. A sample's draw depends on this and its id only, so it is the same
        in whatever batch the sample lies.

    Returns
    -------
    csr_matrix of shape (B, n_features)
    """
    counts = table.counts[rows]
    richness = np.diff(counts.indptr)
    if not len(richness) or richness.max() <= data.token_limit:
        return counts
    keep = np.ones(counts.nnz, dtype=bool)
    for i in np.flatnonzero(richness > data.token_limit):
        span = slice(counts.indptr[i], counts.indptr[i + 1])
        if data.asv_sampling == "abundance":
            order = np.argsort(-counts.data[span], kind="stable")
        elif data.asv_sampling == "first":
            order = np.arange(richness[i])
        else:
            name = zlib.crc32(table.sample_ids[rows[i]].encode())
            order = np.random.default_rng([*seed, name, 0xA5F5]).permutation(richness[i])
        keep[span.start + order[data.token_limit :]] = False
    indptr = np.concatenate([[0], np.cumsum(keep)])[counts.indptr]
    return csr_matrix((counts.data[keep], counts.indices[keep], indptr), shape=counts.shape)


def collate(table: SampleTable, rows: np.ndarray, counts: csr_matrix) -> Batch:
    """Lay out the samples of a batch, each distinct ASV once.

    Parameters
    ----------
    table : SampleTable
    rows : ndarray of shape (B,)
    counts : csr_matrix of shape (B, n_features)
        The counts of these samples that the model is to see.
    """
    asvs, position = np.unique(counts.indices, return_inverse=True)
    richness = np.diff(counts.indptr)
    shape = (len(rows), int(richness.max()))
    occupied = np.arange(shape[1]) < richness[:, None]  # [B, S]
    asv_index = np.zeros(shape, dtype=np.int64)
    asv_index[occupied] = position
    reads = np.zeros(shape, dtype=np.float32)
    reads[occupied] = counts.data
    tokens = table.tokens[asvs]
    longest = int((tokens != nucleotides.PAD).any(axis=0).sum())
    return Batch(
        rows=torch.as_tensor(np.asarray(rows, dtype=np.int64)),
        asvs=torch.from_numpy(asvs.astype(np.int64)),
        tokens=torch.from_numpy(tokens[:, :longest].copy()),
        asv_index=torch.from_numpy(asv_index),
        counts=torch.from_numpy(reads),
        covariates=None if table.covariates is None else torch.from_numpy(table.covariates[rows]),
    )


def mask_nucleotides(tokens: np.ndarray, data: DataConfig, rng) -> dict[str, Tensor]:
    """Choose some of a batch's ASVs and positions to mask in a copy of them.

    Parameters
    ----------
    tokens : ndarray of shape (U, L), uint8
    data : DataConfig
        Its ``nuc_mask_ratio`` is the share of the unambiguous nucleotides of a chosen ASV that is
        masked (at least one); its ``nuc_mask_strategy`` says whether singly or as one run.
    rng : numpy.random.Generator

    Returns
    -------
    dict
        ``masked_of`` (M,) and ``masked_at`` (M, L), see `Batch`.
    """
    chosen = np.sort(rng.permutation(len(tokens))[: max(1, round(MASKED_SHARE * len(tokens)))])
    length = tokens.shape[1]
    known = (tokens[chosen] >= nucleotides.FIRST_BASE) & (tokens[chosen] < nucleotides.MASK)
    n_known = known.sum(axis=1)
    n_masked = np.maximum(1, np.rint(data.nuc_mask_ratio * n_known)).astype(int)
    if data.nuc_mask_strategy == "span":
        start = rng.integers(0, np.maximum(n_known - n_masked, 0) + 1)
        nth = np.cumsum(known, axis=1) - 1
        masked = (nth >= start[:, None]) & (nth < (start + n_masked)[:, None]) & known
    else:
        rank = np.where(known, rng.random(known.shape), 2.0).argsort(axis=1).argsort(axis=1)
        masked = (rank < n_masked[:, None]) & known
    if data.nuc_mask_ratio == 0:
        masked = np.zeros((len(chosen), length), dtype=bool)
    return {"masked_of": torch.from_numpy(chosen), "masked_at": torch.from_numpy(masked)}
