"""Which ASVs drive the prediction of a sample.

Shapes: N samples, F features, B samples of a batch, S ASVs of the largest of them, D embedding
width, M · W width of the vectors of all networks, C outputs.

References
----------
Zeiler MD, Fergus R (2014). Visualizing and understanding convolutional networks. ECCV.
Sundararajan M, Taly A, Yan Q (2017). Axiomatic attribution for deep networks. ICML.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.sparse import coo_matrix, csr_matrix, vstack
from torch import Tensor, nn

from q2_aam.core.data import progress
from q2_aam.core.data.mini_batches import (
    EVALUATION_SEED,
    Batch,
    BatchDataset,
    limit_asvs,
    plan_batches,
)
from q2_aam.core.data.sample_table import SampleTable
from q2_aam.core.data.target import NumericTarget
from q2_aam.core.model import inference
from q2_aam.core.options.config import DataConfig

log = logging.getLogger(__name__)

OCCLUSIONS_AT_A_TIME = 512
SAMPLES_AT_A_TIME = 8
LEAST_PROBABILITY = 1e-6
"""Probabilities are cut to this before the logarithm, so that log-odds stay below 14."""


@dataclass(frozen=True)
class Question:
    """What of the prediction is explained.

    Parameters
    ----------
    target : NumericTarget, optional
        A numeric column: explained in its units. Otherwise log-odds of a class are.
    class_index : int, optional
        Which class; without it, for each sample the class that is predicted for it.
    """

    target: NumericTarget | None = None
    class_index: int | None = None

    def chosen(self, answers: Tensor) -> Tensor:
        """Return which column of the answers (N, C) each sample is asked about, (N,)."""
        if self.target is None and self.class_index is None:
            return answers.argmax(dim=1)
        return torch.full((len(answers),), self.class_index or 0, device=answers.device)

    def of_answers(self, answers: Tensor, chosen: Tensor) -> np.ndarray:
        """Turn final answers (N, C) into column units, or log-odds of the chosen class, (N,)."""
        answer = answers.double().gather(1, chosen[:, None]).squeeze(1).numpy()
        if self.target is not None:
            # At a limit, no ASV would have an effect.
            return self.target.to_units_without_limits(answer)
        likely = np.clip(answer, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
        return np.log(likely / (1 - likely))

    def of_outputs(self, outputs: Tensor, chosen: Tensor) -> Tensor:
        """Turn what the network says (B, C) into the same, differentiably, (B,)."""
        said = outputs.gather(1, chosen[:, None]).squeeze(1)
        if self.target is None:
            others = outputs.scatter(1, chosen[:, None], float("-inf"))
            return said - others.logsumexp(dim=1)
        values = said * self.target.scale + self.target.shift
        return torch.expm1(values) if self.target.transform.startswith("log-") else values


def occlude(
    model: nn.Module,
    table: SampleTable,
    data: DataConfig,
    question: Question,
    max_features: int,
) -> csr_matrix:
    """Measure how the prediction of a sample changes when it loses an ASV.

    The count of the ASV becomes zero and the others stay as they are. Everything that the
    prediction is made from takes part, the training samples kept in the model included.

    Parameters
    ----------
    model : SequencePredictor
    table : SampleTable
    data : DataConfig
    question : Question
    max_features : int
        Only this many ASVs of each sample are removed, the most abundant ones; each costs a
        prediction. 0 is all of them.

    Returns
    -------
    csr_matrix of shape (N, F)
        Prediction with the ASV minus that without it. ASVs that were not removed have no entry;
        nor has an ASV that is the only one of its sample.
    """
    counts = limit_asvs(table, np.arange(table.n_samples), data, EVALUATION_SEED)
    predict = _predictor(model, table, data)
    answers = predict(counts, np.arange(table.n_samples))
    chosen = question.chosen(answers)
    whole = question.of_answers(answers, chosen)
    row, feature = _occlusions(counts, max_features)
    effects = np.zeros(len(row))
    with progress.part("Removing ASVs one by one", len(row)) as done:
        for start in range(0, len(row), OCCLUSIONS_AT_A_TIME):
            part = slice(start, start + OCCLUSIONS_AT_A_TIME)
            without = predict(_without(counts, row[part], feature[part]), row[part])
            asked = chosen[torch.from_numpy(row[part])]
            effects[part] = whole[row[part]] - question.of_answers(without, asked)
            done(len(asked))
    return csr_matrix(coo_matrix((effects, (row, feature)), shape=counts.shape))


def _predictor(model, table, data) -> Callable[[csr_matrix, np.ndarray], Tensor]:
    """Return a function that predicts (n, C) from counts (n, F) of samples at rows (n,).

    ASVs are encoded once.
    """
    asvs = inference.encode_asvs(model, table)

    def predict(counts: csr_matrix, rows: np.ndarray) -> Tensor:
        samples = replace(table.take(rows), counts=counts, sample_ids=("",) * len(rows))
        plan = plan_batches(samples.richness, inference.SAMPLES_AT_A_TIME)
        answers = [None] * len(plan)
        with inference.evaluation_mode(model):
            for i, batch in enumerate(BatchDataset(samples, plan, data)):
                batch = batch.to(asvs.device)
                answers[i] = model.predict(batch, asvs[batch.asvs]).float().cpu()
        return torch.cat(answers)[torch.from_numpy(np.concatenate(plan).argsort())]

    return predict


def _occlusions(counts: csr_matrix, max_features: int) -> tuple[np.ndarray, np.ndarray]:
    """List the pairs of sample and ASV that are to be tried."""
    rows, features = [], []
    richness = np.diff(counts.indptr)
    for i in np.flatnonzero(richness > 1):
        span = slice(counts.indptr[i], counts.indptr[i + 1])
        order = np.argsort(-counts.data[span], kind="stable")[: max_features or None]
        features.append(counts.indices[span][order])
        rows.append(np.full(len(order), i))
    if (richness == 1).any():
        log.warning(
            "%d samples have a single ASV, which cannot be taken away; they count as not changed.",
            int((richness == 1).sum()),
        )
    empty = np.zeros(0, dtype=np.int64)
    return np.concatenate([empty, *rows]), np.concatenate([empty, *features])


def _without(counts: csr_matrix, row: np.ndarray, feature: np.ndarray) -> csr_matrix:
    """Copy samples, each without one of its ASVs."""
    rest = counts[row].tocoo()
    kept = rest.col != feature[rest.row]
    entries = rest.data[kept], (rest.row[kept], rest.col[kept])
    rest = csr_matrix(entries, shape=rest.shape)
    rest.sort_indices()
    return rest


def integrate_gradients(
    model: nn.Module, table: SampleTable, data: DataConfig, question: Question, steps: int
) -> csr_matrix:
    """Share the prediction of a sample out among its ASVs, by integrated gradients.

    All ASV embeddings of a sample go in a straight line from the mean embedding of the table's
    ASVs to their own, and their vectors from zero to what was learnt for them, while counts stay.
    The gradient of the networks' output along the way, times the way, adds up to what the output
    changes by: this is what the identities of the ASVs contribute. Kernel ridge regression and
    trees cannot be differentiated and take no part.

    Parameters
    ----------
    model : SequencePredictor
        Its parameters should not require gradients, or memory is wasted.
    table : SampleTable
    data : DataConfig
    question : Question
    steps : int
        Points of the midpoint rule.

    Returns
    -------
    csr_matrix of shape (N, F)
        Attributions, in the units of the question.
    """
    asvs = inference.encode_asvs(model, table)
    seen = torch.from_numpy(np.unique(table.counts.indices)).long().to(asvs.device)
    start = asvs[seen].mean(dim=0)
    plan = plan_batches(table.richness, SAMPLES_AT_A_TIME)
    parts, order = [], np.concatenate(plan).argsort()
    with (
        inference.evaluation_mode(model),
        progress.part("Integrating gradients", table.n_samples) as done,
    ):
        for batch in BatchDataset(table, plan, data):
            batch = batch.to(asvs.device)
            own, alone = asvs[batch.asvs][batch.asv_index].flatten(0, 1), _apart(batch)
            vectors = model.comparison.vectors_of(model.numbers_of(batch))
            vectors = vectors[batch.asv_index].flatten(0, 1)
            begin = torch.cat([start.expand_as(own), torch.zeros_like(vectors)], dim=1)
            end = torch.cat([own, vectors], dim=1)
            shares = _attributions(model, alone, begin, end, question, steps)
            parts.append(_as_rows(batch, shares.view_as(batch.counts), len(table.feature_ids)))
            done(len(batch))
    return csr_matrix(vstack(parts))[order]


def _apart(batch: Batch) -> Batch:
    """Give each sample of a batch its own copy of its ASVs: (B S) distinct ones."""
    places = batch.asv_index.flatten()
    own = torch.arange(len(places), device=places.device).view_as(batch.asv_index)
    return replace(batch, asvs=batch.asvs[places], tokens=batch.tokens[places], asv_index=own)


def _attributions(model, batch, start, end, question, steps) -> Tensor:
    """Integrate gradients from start to end, both (B S, D + M · W), and return (B S,)."""
    outputs = _said(model, batch, end)
    chosen = question.chosen(outputs)
    total = torch.zeros_like(end)
    for k in range(steps):
        point = start + (k + 0.5) / steps * (end - start)
        with torch.enable_grad():
            point.requires_grad_()
            value = question.of_outputs(_said(model, batch, point), chosen).sum()
        total += torch.autograd.grad(value, point)[0]
    return ((end - start) * total / steps).sum(dim=1)


def _said(model, batch, identities) -> Tensor:
    """Let the networks predict from embeddings and vectors of ASVs, (B S, D + M · W)."""
    dim = model.base_model.asv_encoder.position.shape[1]
    asvs, vectors = identities[:, :dim], identities[:, dim:]
    return model(batch, asvs, vectors=vectors, with_abundance=False).target


def _as_rows(batch: Batch, values: Tensor, n_features: int) -> csr_matrix:
    """Lay values (B, S) out as rows of a table (B, F)."""
    row, place = torch.nonzero(batch.counts > 0, as_tuple=True)
    feature = batch.asvs[batch.asv_index[row, place]]
    entries = values[row, place].cpu().double().numpy(), (row.cpu().numpy(), feature.cpu().numpy())
    return csr_matrix(coo_matrix(entries, shape=(len(batch), n_features)))
