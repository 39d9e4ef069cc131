"""The part of each mini-batch that one rank computes.

Each rank makes the whole batch, so that all see the same samples and the same masks, and keeps its
part. What is a mean over the batch is then a weighted mean over the parts.

Shapes: W samples of the whole batch, N of these in the part, U distinct ASVs of the whole batch,
M masked copies, L nucleotides, G ranks.
"""

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from q2_aam.core.data import nucleotides
from q2_aam.core.data.mini_batches import Batch, BatchDataset

HERE = ("whole_rows", "owner", "whole_reference", "sizes")


@dataclass(frozen=True)
class PartOfBatch(Batch):
    """What one rank is given of a batch; its UniFrac has the rows of these samples alone.

    A rank for which no sample is left is given the first one as a guest, which counts for nothing.

    Parameters
    ----------
    whole_rows : Tensor of shape (W,), int64
        Row of each sample of the whole batch in its table.
    owner : Tensor of shape (W,), int64
        The rank that each is given to.
    whole_reference : Tensor of shape (W,), int64, optional
        Which reference each is, or -1.
    sizes : Tensor of shape (6,), int64
        Samples, targets and masked nucleotides: of the part, then of the whole batch.
    """

    whole_rows: Tensor | None = None
    owner: Tensor | None = None
    whole_reference: Tensor | None = None
    sizes: Tensor | None = None

    def to(self, device, **kwargs) -> "PartOfBatch":
        """Copy the part to a device; what tells how the batch was divided stays where it is."""
        kept = {name: getattr(self, name) for name in HERE}
        moved = Batch.to(replace(self, **dict.fromkeys(HERE)), device, **kwargs)
        return replace(moved, **kept)

    @property
    def n_mine(self) -> int:
        """Samples of the part, a guest not counted."""
        return int(self.sizes[0])

    @property
    def shares(self) -> dict[str, float]:
        """The share of the whole batch that the part is: of samples, targets and nucleotides."""
        mine, whole = self.sizes[:3].tolist(), self.sizes[3:].tolist()
        named = zip(("samples", "targets", "nucleotides"), mine, whole, strict=True)
        return {name: n / total if total else 0.0 for name, n, total in named}


def owners(n_samples: int, n_ranks: int) -> np.ndarray:
    """Deal the samples of a batch out to the ranks: (n_samples,) int64.

    Samples of like size lie together, so each rank gets some of each size.
    """
    return np.arange(n_samples) % n_ranks


class PartsOfBatches(Dataset):
    """The part that one rank has of each batch of a pass.

    Parameters
    ----------
    batches : BatchDataset
    rank, n_ranks : int
    """

    made = PartOfBatch

    def __init__(self, batches: BatchDataset, rank: int, n_ranks: int):
        self.batches, self.rank, self.n_ranks = batches, rank, n_ranks
        self.plan = batches.plan
        self._without_unifrac = copy.copy(batches)  # which is costly, so only the part has it
        self._without_unifrac.unifrac = None

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, i: int) -> PartOfBatch:
        whole, n_own = self._without_unifrac[i], len(self.plan[i])
        owner = torch.from_numpy(owners(len(whole), self.n_ranks))
        mine = torch.nonzero(owner == self.rank).squeeze(1)
        rows = mine if len(mine) else torch.zeros(1, dtype=torch.int64)
        own = mine[mine < n_own]
        laid_out, place = _samples(whole, rows)
        masked = {}
        if whole.masked_of is not None:
            masked = _masked(whole, owner, self.rank, place, laid_out["tokens"].shape[1])
        labels, n_targets = {}, (0, 0)
        if whole.target is not None:
            labels["target"], n_targets = whole.target[own], (len(own), n_own)
        if whole.weight is not None:
            labels["weight"] = whole.weight[own]
        if whole.reference is not None:
            labels["reference"] = whole.reference[rows]
        if self.batches.unifrac is not None:
            labels["unifrac"] = self._unifrac(whole, rows)
        n_masked = [_count(b) for b in (masked.get("masked_at"), whole.masked_at)]
        sizes = [len(mine), n_targets[0], n_masked[0], len(whole), n_targets[1], n_masked[1]]
        return PartOfBatch(
            whole.rows[rows], **laid_out, **masked, **labels, whole_rows=whole.rows, owner=owner,
            whole_reference=whole.reference, sizes=torch.tensor(sizes),
        )  # fmt: skip

    def _unifrac(self, whole: Batch, rows: Tensor) -> Tensor:
        """Return distances to the references, or within the whole batch, or diversities."""
        table, unifrac = self.batches.table, self.batches.unifrac
        wanted = whole.rows.numpy()
        if self.batches.references is not None:
            values = unifrac(wanted[rows], table.counts[wanted[rows]])
        else:
            values = unifrac(wanted, table.counts[wanted])[rows.numpy()]
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _count(marks: Tensor | None) -> int:
    return 0 if marks is None else int(marks.sum())


def _samples(whole: Batch, rows: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Lay out some samples of a batch, each of their ASVs once.

    Returns
    -------
    dict
        Fields of the part.
    Tensor of shape (U,), int64
        Where each ASV of the whole batch is in the part, or -1.
    """
    present = whole.counts[rows] > 0
    largest = int(present.sum(dim=1).max())
    present, index = present[:, :largest], whole.asv_index[rows, :largest]
    used = index[present].unique()
    place = torch.full((len(whole.asvs),), -1)
    place[used] = torch.arange(len(used))
    tokens = whole.tokens[used]
    longest = int((tokens != nucleotides.PAD).any(dim=0).sum())
    laid_out = {
        "asvs": whole.asvs[used],
        "tokens": tokens[:, :longest].contiguous(),
        "asv_index": place[index].where(present, 0),
        "counts": whole.counts[rows, :largest].contiguous(),
        "covariates": None if whole.covariates is None else whole.covariates[rows],
    }
    return laid_out, place


def _masked(whole: Batch, owner: Tensor, rank: int, place: Tensor, longest: int) -> dict:
    """Take the masked copies of a rank: each is of one rank among those that have its ASV.

    A rank without any has one in which nothing is masked.
    """
    has = torch.zeros(int(owner.max()) + 1, len(whole.asvs), dtype=torch.bool)
    present = whole.counts > 0
    has[owner[:, None].expand_as(present)[present], whole.asv_index[present]] = True
    holders = has[:, whole.masked_of]  # [G, M]
    turn = torch.arange(len(whole.masked_of)) % holders.sum(dim=0)
    chosen = (holders & (holders.cumsum(dim=0) == turn + 1)).int().argmax(dim=0)
    copies = torch.nonzero(chosen == rank).squeeze(1)
    if not len(copies):
        none = torch.zeros(1, longest, dtype=torch.bool)
        return {"masked_of": torch.zeros(1, dtype=torch.int64), "masked_at": none}
    return {
        "masked_of": place[whole.masked_of[copies]],
        "masked_at": whole.masked_at[copies, :longest].contiguous(),
    }
