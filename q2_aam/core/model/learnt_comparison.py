"""What predicts a target: samples are compared in spaces that networks learn.

A network sums up the ASVs of a sample, each by the square root of its relative abundance: what its
sequence says, and a vector that is learnt for this very ASV. To this it adds what the encoder says
of the whole sample, and brings the sum to a place in a space of its own. The prediction is the
mean of the targets of other samples, weighted by softmax(-distance) to their places [1]_ [2]_.

Shapes: n samples, E ASVs of all of them, one after the other, U distinct ASVs, V ASVs that have a
vector, K numbers of covariates, M networks side by side, D embedding width, W width of a sum, Z
width of a place, N samples to compare with, C outputs.

References
----------
.. [1] Goldberger J, Roweis S, Hinton G, Salakhutdinov R (2004). Neighbourhood components analysis.
   NeurIPS.
.. [2] Ye HJ, Yin HH, Zhan DC, Chao WL (2024). Revisiting nearest neighbor for tabular data.
   arXiv:2407.03257.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from q2_aam.core.data.mini_batches import Batch
from q2_aam.core.model.layers import Standardise
from q2_aam.core.model.tensor_shapes import HIDDEN_RATIO, place_width, sum_width
from q2_aam.core.options.config import ModelConfig

FIRST_VECTORS = 2.0
"""Standard deviation of the numbers of the vectors before training."""

FIRST_COVARIATES = 0.5
"""Standard deviation of the weights of covariates before training."""

LEAST_SHARE = 1e-6
"""Share of a class at least, before the logarithm."""


@dataclass(frozen=True)
class Occurrences:
    """The ASVs of samples, one sample after the other.

    Parameters
    ----------
    asv : Tensor of shape (E,), int64
        Which of the U distinct ASVs it is.
    known : Tensor of shape (E,), int64
        Which of the V ASVs with a vector it is, or is nearly; -1 if none.
    root : Tensor of shape (E,), float32
        Square root of its relative abundance in the sample.
    start : Tensor of shape (n,), int64
        Where each sample begins.
    covariates : Tensor of shape (n, K), float32, optional
        What else is known of the samples.
    """

    asv: Tensor
    known: Tensor
    root: Tensor
    start: Tensor
    covariates: Tensor | None = None

    @classmethod
    def of(cls, batch: Batch, numbers: Tensor) -> "Occurrences":
        """List the ASVs of a batch, whose distinct ASVs have these numbers of vectors (U,)."""
        row, place = torch.nonzero(batch.counts > 0, as_tuple=True)
        share = batch.counts / batch.counts.sum(dim=1, keepdim=True)
        asv = batch.asv_index[row, place]
        richness = torch.bincount(row, minlength=len(batch.counts))
        start = richness.cumsum(dim=0) - richness
        return cls(asv, numbers[asv], share[row, place].sqrt(), start, batch.covariates)

    def without_some(self, share: float) -> "Occurrences":
        """Leave out this share of the ASVs at random; the others count for them."""
        return replace(self, root=F.dropout(self.root, share))

    def sum_up(self, table: Tensor, which: Tensor, weights: Tensor) -> Tensor:
        """Sum rows of a table over the ASVs of each sample, by weights (E,)."""
        return F.embedding_bag(
            which, table, self.start, mode="sum", per_sample_weights=weights.to(table.dtype)
        )


class SideBySide(nn.Module):
    """M linear layers, each applied to numbers of its own."""

    def __init__(self, members: int, n_in: int, n_out: int):
        super().__init__()
        bound = 1 / math.sqrt(n_in)
        self.weight = nn.Parameter(torch.empty(members, n_in, n_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(members, 1, n_out))

    def forward(self, x: Tensor) -> Tensor:
        """Transform x [M, n, in] into [M, n, out]."""
        return torch.baddbmm(self.bias, x, self.weight)


class LearntComparison(nn.Module):
    """M networks side by side, each of which brings samples to places in a space.

    Parameters
    ----------
    config : ModelConfig
    n_vectors : int
        V; 0 where the sequence alone is to tell what an ASV is.
    members : int
        M.
    asv_dropout : float
        Share of the ASVs of a sample that are left out in training.
    covariates : tuple of int
        Numbers of each covariate; their sum is K.
    """

    def __init__(
        self,
        config: ModelConfig,
        n_vectors: int,
        members: int,
        asv_dropout: float,
        covariates: tuple[int, ...] = (),
    ):
        super().__init__()
        dim, width = config.embedding_dim, sum_width(config)
        hidden = HIDDEN_RATIO * width
        self.members, self.dropout, self.asv_dropout = members, config.dropout, asv_dropout
        self.sequence = SideBySide(members, dim, width)
        # Large from the start, so that samples that share no ASV begin far apart.
        self.vectors = None
        if n_vectors:
            first = FIRST_VECTORS * torch.randn(n_vectors, members * width)
            self.vectors = nn.Parameter(first)
        self.sample = SideBySide(members, dim, width)
        self.sample_gate = nn.Parameter(torch.zeros(members, 1, width))
        self.scale = Standardise(members * width)
        self.expand = SideBySide(members, width, hidden)
        self.contract = SideBySide(members, hidden, width)
        self.norm_weight = nn.Parameter(torch.ones(members, 1, width))
        self.place = SideBySide(members, width, place_width(config))
        self.covariates = None
        if covariates:
            self.covariates = SideBySide(members, sum(covariates), width)
            # As large as what the ASVs say, so that samples begin apart by covariates too.
            nn.init.normal_(self.covariates.weight, std=FIRST_COVARIATES)
            self.register_buffer("widths", torch.tensor(covariates), persistent=False)

    def forward(
        self, samples: Occurrences, asvs: Tensor, embeddings: Tensor, vectors: Tensor | None = None
    ) -> Tensor:
        """Bring samples to their places.

        Parameters
        ----------
        samples : Occurrences
        asvs : Tensor of shape (U, D)
            Standardised embeddings of the distinct ASVs.
        embeddings : Tensor of shape (n, D)
            Standardised embeddings of the samples.
        vectors : Tensor of shape (U, M · W), optional
            In the place of the vectors that were learnt.

        Returns
        -------
        Tensor of shape (M, n, Z)
        """
        if self.training and self.asv_dropout:
            samples = samples.without_some(self.asv_dropout)
        x = self._side_by_side(self.scale(self.sums(samples, asvs, vectors)))
        x = x + self.sample_gate * self.sample(embeddings.expand(self.members, -1, -1))
        if self.covariates is not None:
            x = x + self.covariates(self._some_of(samples.covariates).expand(self.members, -1, -1))
        hidden = F.dropout(F.gelu(self.expand(x)), self.dropout, self.training)
        x = x + F.dropout(self.contract(hidden), self.dropout, self.training)
        return self.place(F.layer_norm(x, x.shape[-1:]) * self.norm_weight)

    def sums(self, samples: Occurrences, asvs: Tensor, vectors: Tensor | None = None) -> Tensor:
        """Sum up the ASVs of samples, (n, M · W); the arguments are those of `forward`."""
        by_sequence = samples.sum_up(asvs, samples.asv, samples.root)
        x = self.sequence(by_sequence.expand(self.members, -1, -1))
        total = x.transpose(0, 1).flatten(1)
        if vectors is not None:
            return total + samples.sum_up(vectors, samples.asv, samples.root)
        if self.vectors is None:
            return total
        there = samples.known >= 0
        weights = samples.root * there
        return total + samples.sum_up(self.vectors, samples.known.clamp(min=0), weights)

    def vectors_of(self, numbers: Tensor) -> Tensor:
        """Return the vectors of ASVs with these numbers (U,), (U, M · W); zeros for -1."""
        if self.vectors is None:
            width = len(self.scale.mean)
            return self.scale.mean.new_zeros(len(numbers), width)
        return self.vectors[numbers.clamp(min=0)] * (numbers >= 0)[:, None]

    def _some_of(self, covariates: Tensor) -> Tensor:
        """Make some covariates unknown in training, so that the networks learn what that means."""
        if not self.training or not self.dropout:
            return covariates
        shape = len(covariates), len(self.widths)
        known = torch.rand(shape, device=covariates.device) >= self.dropout
        n = covariates.shape[1]
        return covariates * known.repeat_interleave(self.widths, dim=1, output_size=n)

    def _side_by_side(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (self.members, -1)).transpose(0, 1)


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Return the Euclidean distances of places a [M, n, Z] and b [M, N, Z] as [M, n, N]."""
    a, b = a.float(), b.float()
    squares = a.square().sum(2)[:, :, None] + b.square().sum(2)[:, None]
    return ((squares - 2 * a @ b.transpose(1, 2)).clamp(min=0) + 1e-6).sqrt()


def mean_of_targets(
    places: Tensor, others: Tensor, targets: Tensor, left_out: Tensor | None = None
) -> Tensor:
    """Average the targets of others by how near they are.

    Parameters
    ----------
    places : Tensor of shape (M, n, Z)
    others : Tensor of shape (M, N, Z)
    targets : Tensor of shape (N, C)
        Learnt values (C = 1), or 1 for the class of a sample and 0 for the others.
    left_out : Tensor of shape (n, N), bool, optional
        Which of the others are not to be asked.

    Returns
    -------
    Tensor of shape (M, n, C)
        Sample with none to ask: the mean of all.
    """
    nearness = -distances(places, others)
    if left_out is not None:
        nearness = nearness.masked_fill(left_out, torch.finfo(nearness.dtype).min)
    return nearness.softmax(dim=2) @ targets


def log_shares(shares: Tensor) -> Tensor:
    """Return the logarithms of shares of classes, none of them below `LEAST_SHARE`."""
    return shares.clamp(min=LEAST_SHARE).log()
