"""What an encoder sees of a corpus: mini-batches of reads that are drawn anew each time.

Shapes: B samples of a batch, F features.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.sparse import csr_matrix, vstack
from torch.utils.data import Dataset

from q2_aam.core.data.mini_batches import Batch, collate, mask_nucleotides
from q2_aam.core.data.rarefaction import draw_reads
from q2_aam.core.data.sample_table import SampleTable
from q2_aam.core.options.config import DataConfig
from q2_aam.core.phylogeny.unifrac import UniFracTargets
from recipes.encoder.corpus import Corpus, Part


@dataclass(frozen=True)
class Augmentation:
    """How reads are drawn.

    Parameters
    ----------
    depths : tuple of int
        The smallest and the largest number of reads of a sample. A batch has one, so that all
        numbers of digits are equally likely. Samples with fewer reads keep all of theirs.
    most_asvs : int
        Of the ASVs of a sample that are drawn, so many at most are kept, at random: a batch is as
        wide as its richest sample.
    shortest : int
        Half of the batches have reads that are cut, to this length at least.
    flattened : float
        Share of the batches whose reads are drawn with the root of their abundance, so that rare
        features are seen more often.
    home : float
        Share of the samples of a batch that are of one study. The others are of any.
    """

    depths: tuple[int, int] = (100, 2000)
    most_asvs: int = 256
    shortest: int = 80
    flattened: float = 0.25
    home: float = 2 / 3


class CorpusBatches(Dataset):
    """The mini-batches of an epoch; item i is the same whenever it is asked for.

    Parameters
    ----------
    corpus : Corpus
    part : Part
    data : DataConfig
    seed : tuple of int
        Root of the random draws: the run's seed and the epoch.
    n_batches, batch_size : int
    augmentation : Augmentation
    """

    def __init__(
        self,
        corpus: Corpus,
        part: Part,
        data: DataConfig,
        *,
        seed: tuple[int, ...],
        n_batches: int,
        batch_size: int,
        augmentation: Augmentation,
    ):
        self.corpus, self.part, self.data, self.seed = corpus, part, data, seed
        self.batch_size, self.augmentation = batch_size, augmentation
        self.plan = [range(batch_size)] * n_batches  # only their number is known before
        self.unifrac = UniFracTargets(corpus.branches)

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, i: int) -> Batch:
        if i >= len(self):
            raise IndexError(i)
        rng = np.random.default_rng([*self.seed, i])
        rows = self._rows(rng)
        counts = self._reads(rows, rng)
        batch = cut(collate(self.corpus.table, rows, counts), self._length(rng))
        batch = replace(batch, **mask_nucleotides(batch.tokens.numpy(), self.data, rng))
        return replace(batch, unifrac=torch.from_numpy(self.unifrac(counts)))

    def _rows(self, rng) -> np.ndarray:
        """Draw samples of a study, and samples of any, each sample once."""
        part, wanted = self.part, round(self.augmentation.home * self.batch_size)
        home = part.rows[rng.choice(len(part.rows), p=part.shares)]
        rows = list(rng.permutation(home)[:wanted])
        while len(rows) < self.batch_size:
            of_study = part.rows[rng.choice(len(part.rows), p=part.shares)]
            row = rng.choice(of_study)
            if row not in rows:
                rows.append(row)
        return np.array(rows)

    def _reads(self, rows, rng) -> csr_matrix:
        low, high = self.augmentation.depths
        depth = round(np.exp(rng.uniform(np.log(low), np.log(high))))
        flattened = rng.random() < self.augmentation.flattened
        table = self.corpus.table
        drawn = [draw(table, row, depth, rng, flattened) for row in rows]
        return csr_matrix(vstack([some(each, self.augmentation.most_asvs, rng) for each in drawn]))

    def _length(self, rng) -> int:
        whole = self.corpus.table.tokens.shape[1]
        if rng.random() < 0.5:
            return whole
        return int(rng.integers(self.augmentation.shortest, whole, endpoint=True))


def draw(table: SampleTable, row: int, depth: int, rng, flattened: bool = False) -> csr_matrix:
    """Draw reads of a sample, (1, F).

    Parameters
    ----------
    table : SampleTable
    row : int
    depth : int
        Reads to draw without replacement; a sample with fewer keeps all.
    rng : numpy.random.Generator
    flattened : bool
        Draw with replacement instead, with chances as the root of the counts.
    """
    counts = table.counts[row]
    reads = counts.data
    if flattened:
        chances = np.sqrt(reads)
        drawn = rng.multinomial(min(depth, int(reads.sum())), chances / chances.sum())
    elif reads.sum() <= depth:
        return counts
    else:
        drawn = draw_reads(reads, depth, rng)
    seen = drawn > 0
    pointers = [0, int(seen.sum())]
    return csr_matrix((drawn[seen], counts.indices[seen], pointers), shape=counts.shape)


def some(counts: csr_matrix, most: int, rng) -> csr_matrix:
    """Keep so many features of a sample (1, F) at most, drawn at random."""
    if counts.nnz <= most:
        return counts
    kept = np.sort(rng.permutation(counts.nnz)[:most])
    pointers = [0, most]
    return csr_matrix((counts.data[kept], counts.indices[kept], pointers), shape=counts.shape)


def cut(batch: Batch, length: int) -> Batch:
    """Keep so many nucleotides of each sequence of a batch."""
    return replace(batch, tokens=batch.tokens[:, :length].contiguous())


def drawn_once(
    corpus: Corpus, part: Part, n_batches: int, batch_size: int, depth: int, seed: int
) -> tuple[SampleTable, list[np.ndarray]]:
    """Draw the samples to validate with: a table of them, and the rows of each batch.

    All samples of a batch are of one study, with the same number of reads.

    Returns
    -------
    table : SampleTable
        Its features are those of the corpus. A sample can be there more than once.
    plan : list of ndarray of int
    """
    rng = np.random.default_rng([seed, 0x0E7A1])
    table, counts, rows, plan = corpus.table, [], [], []
    for _ in range(n_batches):
        of_study = part.rows[rng.choice(len(part.rows), p=part.shares)]
        chosen = rng.permutation(of_study)[:batch_size]
        if len(chosen) < 2:
            continue
        plan.append(len(rows) + np.arange(len(chosen)))
        rows += list(chosen)
        counts += [draw(table, row, depth, rng) for row in chosen]
    names = tuple(f"{table.sample_ids[row]} {i}" for i, row in enumerate(rows))
    return replace(table, counts=csr_matrix(vstack(counts)), sample_ids=names), plan
