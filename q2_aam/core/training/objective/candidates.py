"""The training samples that the networks compare a batch with, drawn anew for each step.

The samples of a batch are few, and one step should see many comparisons. So some of the candidates
are asked as well: what the others would have predicted for them.

Shapes: n training samples, F features of their table, U distinct ASVs of a batch, D embedding
width, N candidates, K of these that are asked.
"""

import numpy as np
import torch
from torch import Tensor

from q2_aam.core.data.mini_batches import EVALUATION_SEED, limit_asvs
from q2_aam.core.model import inference
from q2_aam.core.model.learnt_comparison import Occurrences
from q2_aam.core.model.predictor import Candidates, Others, SequencePredictor
from q2_aam.core.model.stored_samples.similarity import Vocabulary
from q2_aam.core.options.config import DataConfig
from q2_aam.core.training.preparation.run_data import Pass

SHARE, MOST = 0.6, 1024
"""Share of the training samples that are candidates in a step, and their number at most."""

MOST_OTHERS = 4000
"""Training samples that validation samples are compared with, at most."""

ASKED = 112
"""Candidates that are asked as well, at most."""


class TrainingSamples:
    """The training samples as candidates.

    Parameters
    ----------
    part : Pass
        The training samples of an epoch, with targets.
    data : DataConfig
    vocabulary : Vocabulary, optional
        The ASVs that have a vector.
    """

    def __init__(self, part: Pass, data: DataConfig, vocabulary: Vocabulary | None):
        self.table, self.data, self.groups = part.table, data, part.groups
        rows = np.arange(part.table.n_samples)
        self.counts = limit_asvs(part.table, rows, data, EVALUATION_SEED)
        n_features = len(part.table.feature_ids)
        self.known = np.full(n_features, -1)
        if vocabulary is not None:
            self.known = vocabulary.find_exactly(part.table.tokens)
        self.targets = torch.as_tensor(part.targets)
        self.weights = None if part.weights is None else torch.as_tensor(part.weights)
        self.asvs: Tensor | None = None
        self.embeddings: Tensor | None = None

    def encode(self, model: SequencePredictor, asvs: Tensor | None = None) -> None:
        """See the samples as a model with its present weights does.

        Parameters
        ----------
        model : SequencePredictor
        asvs : Tensor of shape (F, D), optional
            Embeddings of all features, if they are at hand.
        """
        self.asvs = asvs
        if asvs is None:
            self.asvs = inference.encode_asvs(model, self.table, unseen=True)
        self.embeddings = inference.embed(model, self.table, self.data, self.asvs)

    def draw(self, batch_rows: np.ndarray, seed: tuple[int, ...]) -> Candidates:
        """Draw candidates for the samples of a batch.

        Parameters
        ----------
        batch_rows : ndarray of shape (B,)
            Rows of the samples of the batch in the training table.
        seed : tuple of int
            Of the draw.
        """
        n = self.table.n_samples
        rng = np.random.default_rng([*seed, 0xCA4D])
        rows = rng.permutation(n)[: min(max(2, round(SHARE * n)), MOST)]
        asked = np.concatenate([batch_rows, rows[:ASKED]])
        left_out = asked[:, None] == rows
        if self.groups is not None:
            left_out |= self.groups[asked][:, None] == self.groups[rows]
        device, rows_there = self.asvs.device, torch.from_numpy(rows)
        return Candidates(
            self._occurrences(rows, device),
            self.asvs,
            self.embeddings[rows_there.to(self.embeddings.device)].to(device),
            self.targets[rows_there].to(device),
            torch.from_numpy(left_out).to(device),
            len(rows[:ASKED]),
            None if self.weights is None else self.weights[rows_there].to(device),
        )

    def others(self, model: SequencePredictor) -> Others:
        """Place training samples with the present weights, for others to be compared with.

        They are the first `MOST_OTHERS` where there are more.
        """
        rows = np.arange(min(self.table.n_samples, MOST_OTHERS))
        with inference.evaluation_mode(model):
            places = [
                model.places_of(
                    self._occurrences(some, self.asvs.device),
                    self.asvs,
                    self.embeddings_of(torch.from_numpy(some)),
                )
                for some in np.array_split(rows, -(-len(rows) // MOST))
            ]
        targets = self.targets[torch.from_numpy(rows)].to(self.asvs.device)
        return Others(torch.cat(places, dim=1), targets)

    def embeddings_of(self, rows: Tensor) -> Tensor:
        """Return the embeddings of samples by their rows, on the model's device."""
        return self.embeddings[rows.to(self.embeddings.device)].to(self.asvs.device)

    def _occurrences(self, rows: np.ndarray, device) -> Occurrences:
        counts = self.counts[rows]
        richness = np.diff(counts.indptr)
        depth = np.asarray(counts.sum(axis=1)).ravel()
        roots = np.sqrt(counts.data / np.repeat(depth, richness))
        asv = torch.from_numpy(counts.indices.astype(np.int64))
        known = torch.from_numpy(self.known[counts.indices])
        start = torch.from_numpy(counts.indptr[:-1].astype(np.int64))
        parts = [asv, known, torch.from_numpy(roots.astype(np.float32)), start]
        if self.table.covariates is not None:
            parts.append(torch.from_numpy(self.table.covariates[rows]))
        return Occurrences(*(part.to(device) for part in parts))
