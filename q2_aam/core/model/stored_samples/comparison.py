"""The training samples that a model keeps, to compare new samples with.

They are at their places in the spaces that the networks learnt. Beside the networks, two parts
predict that nothing is learnt for by gradients: kernel ridge regression, from how alike a sample
is to each sample kept in its ASVs, their abundances and its embedding, and trees that were grown
on the ASVs of these samples.

Shapes: B samples in a batch, U distinct ASVs in it, N samples kept, V ASVs of these, C codes of
the target, D embedding width, M networks, Z width of a place, K numbers of covariates, T trees, P
nodes of them.
"""

from dataclasses import dataclass, fields, replace

import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from q2_aam.core.data import nucleotides, progress
from q2_aam.core.data.mini_batches import Batch
from q2_aam.core.data.sample_table import SampleTable, stack
from q2_aam.core.model.specification import PARTS, Part, StoredSamplesSpec
from q2_aam.core.model.stored_samples import kernel_ridge as regression
from q2_aam.core.model.stored_samples.ensemble_weights import EVEN
from q2_aam.core.model.stored_samples.extra_trees import TREES_OF_EACH, Trees, grow, side_by_side
from q2_aam.core.model.stored_samples.mean_similarity import Seen, distances, mean_similarity
from q2_aam.core.model.stored_samples.similarity import Composition, Vocabulary, median_distance
from q2_aam.core.model.tensor_shapes import N_SCALES, n_scales


class StoredSamples(nn.Module):
    """The samples kept, and how a prediction follows from them.

    All of it is fitted after the training of the model, and has no parameters that a gradient
    could change.

    Parameters
    ----------
    info : StoredSamplesSpec
        Sizes, and how the codes are combined.
    embedding_dim : int
        D.
    place_width : int
        M · Z.
    n_covariates : int
        K.
    """

    def __init__(
        self, info: StoredSamplesSpec, embedding_dim: int, place_width: int, n_covariates: int = 0
    ):
        super().__init__()
        self.info = info
        n, codes = info.n_samples, sum(code.n_outputs for code in info.codes)
        shapes = {
            "vocabulary": ((info.n_features, info.read_length), torch.uint8),
            "richness": ((n,), torch.int32),
            "features": ((info.n_entries,), torch.int32),
            "roots": ((info.n_entries,), torch.float32),
            "embeddings": ((n, embedding_dim), torch.float32),
            "places": ((n, place_width), torch.float32),
            "target": ((n,), torch.float32),
            "scales": ((n_scales(n_covariates),), torch.float32),
            "dual": ((n, codes), torch.float32),
            "intercept": ((codes,), torch.float32),
            "value": ((codes,), torch.float32),
            "tree_feature": ((info.n_nodes,), torch.int32),
            "tree_threshold": ((info.n_nodes,), torch.float32),
            "tree_skip": ((info.n_nodes,), torch.int32),
            "tree_value": ((info.n_nodes,), torch.float32),
            "tree_sizes": ((info.n_trees,), torch.int32),
        }
        if n_covariates:
            # Groups and weights are for what the covariates alone predict.
            shapes["covariates"] = ((n, n_covariates), torch.float32)
            shapes["groups"] = ((n,), torch.int32)
            shapes["weights"] = ((n,), torch.float32)
        for name, (shape, dtype) in shapes.items():
            self.register_buffer(name, torch.zeros(shape, dtype=dtype))
        self._ready: tuple | None = None

    @property
    def known_asvs(self) -> Vocabulary:
        """The ASVs of the samples kept."""
        return self._prepared()[0]

    def load_state_dict(self, *args, **kwargs):
        """Load as any module does; what was derived from the former content is forgotten."""
        self._ready = None
        return super().load_state_dict(*args, **kwargs)

    def forward(self, batch: Batch, embedding: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Predict from the samples kept.

        Parameters
        ----------
        batch : Batch
        embedding : Tensor of shape (B, D)

        Returns
        -------
        by_ridge, by_trees : Tensor of shape (B, C)
            The learnt value (C = 1) or the probabilities of the classes.
        known : Tensor of shape (B,)
            Share of the reads whose ASVs the samples kept have, or nearly so.
        """
        tokens, other = batch.tokens.cpu().numpy(), embedding.detach().cpu().numpy()
        covariates = None if batch.covariates is None else batch.covariates.cpu().numpy()
        found = self._predict(_counts(batch), tokens, other, covariates)
        return tuple(torch.from_numpy(said).to(embedding) for said in found)

    def predict_separately(
        self, samples: "LabelledSamples"
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Predict for samples (n) whose target need not be known, in each way by itself.

        Returns
        -------
        by_ridge, by_trees : ndarray of shape (n, C)
            What follows from similarities, and what trees say; see `forward`.
        known : ndarray of shape (n,)
        """
        table = samples.table
        return self._predict(table.counts, table.tokens, samples.embeddings, table.covariates)

    def _predict(self, counts, tokens, embeddings, covariates) -> tuple[np.ndarray, ...]:
        vocabulary, kept, fitted, trees = self._prepared()
        composition = Composition.of(counts, vocabulary.find(tokens), len(vocabulary.tokens))
        asked = Seen.of(composition, embeddings, covariates)
        similarities = mean_similarity(asked, kept, self.scales.cpu().double().numpy())
        seen = side_by_side(composition.roots, covariates)
        if self.info.classes:
            said = fitted.shares(similarities), trees.shares(seen, fitted.value)
        else:
            said = fitted.numbers(similarities)[:, None], trees.numbers(seen)[:, None]
        return *said, composition.known

    def _prepared(self):
        if self._ready is None:
            arrays = {name: value.cpu().numpy() for name, value in self.named_buffers()}
            indptr = np.concatenate([[0], np.cumsum(arrays["richness"], dtype=np.int64)])
            roots = csr_matrix(
                (arrays["roots"].astype(float), arrays["features"], indptr),
                shape=(self.info.n_samples, self.info.n_features),
            )
            kept = Seen.of(
                Composition.inside(roots), arrays["embeddings"], arrays.get("covariates")
            )
            columns = (arrays[name].astype(float) for name in ("dual", "intercept", "value"))
            fitted = regression.Regression(*columns, self.info.codes)
            names = ("feature", "threshold", "skip", "value", "sizes")
            trees = Trees(*(arrays[f"tree_{name}"] for name in names))
            self._ready = Vocabulary(arrays["vocabulary"]), kept, fitted, trees
        return self._ready


def _counts(batch: Batch) -> csr_matrix:
    """Return the counts of a batch, (B, U)."""
    counts, index = batch.counts.cpu().numpy(), batch.asv_index.cpu().numpy()
    row, place = np.nonzero(counts)
    shape = (len(counts), len(batch.tokens))
    return csr_matrix((counts[row, place], (row, index[row, place])), shape=shape)


@dataclass(frozen=True, eq=False)
class LabelledSamples:
    """Samples whose target is known.

    Parameters
    ----------
    table : SampleTable
        N samples.
    embeddings : ndarray of shape (N, D)
    target : ndarray of shape (N,)
        Learnt values, or numbers of classes.
    places : ndarray of shape (N, M · Z)
        Where the networks place them.
    groups : ndarray of shape (N,), optional
        Number of the group of each sample. Samples of a group do not predict each other where it
        is found out how well samples predict others.
    weights : ndarray of shape (N,), optional
        How much each sample counts; 1 on average.
    """

    table: SampleTable
    embeddings: np.ndarray
    target: np.ndarray
    places: np.ndarray
    groups: np.ndarray | None = None
    weights: np.ndarray | None = None

    def take(self, rows) -> "LabelledSamples":
        """Keep these rows."""
        kept = {name: value if value is None else value[rows] for name, value in self._arrays()}
        return replace(self, table=self.table.take(rows), **kept)

    def and_also(self, others: "LabelledSamples") -> "LabelledSamples":
        """Add samples of a table of the same features."""
        both = {
            name: value if value is None else np.concatenate([value, getattr(others, name)])
            for name, value in self._arrays()
        }
        return replace(self, table=stack(self.table, others.table), **both)

    def _arrays(self):
        return [(f.name, getattr(self, f.name)) for f in fields(self) if f.name != "table"]


def fit_stored_samples(
    known: LabelledSamples,
    class_factors: np.ndarray | None,
    *,
    first: np.ndarray | None = None,
    parts: dict[str, Part] | None = None,
    score: float | None = None,
    trees_of_each: int = TREES_OF_EACH,
    seed: int = 0,
) -> StoredSamples:
    """Fit the comparison with samples whose target is known.

    Parameters
    ----------
    known : LabelledSamples
    class_factors : ndarray of shape (n_classes,), optional
        What the share of each class is multiplied with; None for a numeric target.
    first : ndarray of shape (V', L), uint8, optional
        Sequences that the ASVs of the samples are numbered after: those that have vectors.
    parts : dict of str to Part, optional
        How much network, regression and trees count; by default evenly.
    score : float, optional
        Of their mixture on the validation samples.
    trees_of_each : int
        How many trees to grow; see `grow`.
    seed : int
        Of the trees.
    """
    if known.weights is not None:
        known = replace(known, weights=known.weights / known.weights.mean())
    table = known.table.observed()
    vocabulary, column = _numbered(table.tokens, first)
    kept = Composition.of(table.counts, column, len(vocabulary))
    seen = Seen.of(kept, known.embeddings, table.covariates)
    scales, fitted = _fit_ridge(seen, known, class_factors)
    trees = grow(
        kept.roots, known.target, covariates=table.covariates, weights=known.weights,
        classes=class_factors is not None,
        trees_of_each=trees_of_each, seed=seed, threads=torch.get_num_threads(),
    )  # fmt: skip
    info = StoredSamplesSpec(
        n_samples=table.n_samples,
        n_features=len(vocabulary),
        n_entries=kept.roots.nnz,
        read_length=vocabulary.shape[1],
        classes=class_factors is not None,
        n_trees=len(trees.sizes),
        n_nodes=len(trees.skip),
        parts=parts or {name: Part(share) for name, share in zip(PARTS, EVEN, strict=True)},
        score=score,
        codes=fitted.codes,
    )
    n_covariates = 0 if table.covariates is None else table.covariates.shape[1]
    widths = known.embeddings.shape[1], known.places.shape[1], n_covariates
    module = StoredSamples(info, *widths)
    content = {
        "vocabulary": vocabulary,
        "richness": np.diff(kept.roots.indptr),
        "features": kept.roots.indices,
        "roots": kept.roots.data,
        "embeddings": known.embeddings,
        "places": known.places,
        "target": known.target.astype(np.float32),
        "scales": scales,
        "dual": fitted.dual,
        "intercept": fitted.intercept,
        "value": fitted.value,
    } | {f"tree_{name}": array for name, array in vars(trees).items()}
    if n_covariates:
        n = table.n_samples
        groups = np.arange(n) if known.groups is None else pd.factorize(known.groups)[0]
        weights = np.ones(n) if known.weights is None else known.weights
        content |= {"covariates": table.covariates, "groups": groups, "weights": weights}
    for name, array in content.items():
        getattr(module, name).copy_(torch.from_numpy(np.ascontiguousarray(array)))
    return module


def _numbered(tokens: np.ndarray, first: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """List distinct sequences, given ones first; return them and the number of each sequence."""
    if first is None:
        first = tokens[:0]
    width = max(tokens.shape[1], first.shape[1])
    both = np.concatenate([nucleotides.padded(t, width) for t in (first, tokens)])
    _, found, number = np.unique(both, axis=0, return_index=True, return_inverse=True)
    rank = found.argsort().argsort()  # in the order of where each is first
    return both[np.sort(found)], rank[number.ravel()][len(first) :]


def _fit_ridge(
    seen: Seen, known: LabelledSamples, class_factors
) -> tuple[np.ndarray, regression.Regression]:
    """Compare samples with each other, and fit the regression; return the scales too.

    Covariates that tell nothing would spoil the similarities. So they are left out of these where
    samples are predicted better by others without them.
    """
    counted = n_scales(0 if seen.covariates is None else 1)
    tried, fitted = 1 + (counted > N_SCALES), []
    with progress.part("Fitting kernel ridge regression", counted + 2 * tried) as done:
        scales = np.zeros(counted)
        for i, distance in enumerate(distances(seen, seen)):
            scales[i] = median_distance(distance)
            done(1)
        for n_used in {N_SCALES, counted}:
            used = np.where(np.arange(counted) < n_used, scales, 0.0)
            similarities = mean_similarity(seen, seen, used)
            done(1)
            fitted.append((used, _regression(similarities, known, class_factors)))
            done(1)
    return min(fitted, key=lambda pair: pair[1].error)


def _regression(similarities, known: LabelledSamples, class_factors) -> regression.Regression:
    if class_factors is None:
        target = known.target.astype(float)
        return regression.fit_numbers(similarities, target, known.groups, known.weights)
    return regression.fit_classes(
        similarities, known.target, class_factors, known.groups, known.weights
    )
