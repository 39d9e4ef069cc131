"""Prediction of a target from the ASVs of a sample, on top of the encoder.

Shapes: B samples, S ASVs of the largest of them, U distinct ASVs of the batch, D embedding width,
M networks, Z width of a place, N samples to compare with, C outputs, Q quantiles, K training
samples that are asked as well.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from q2_aam.core.data.mini_batches import Batch, Labels
from q2_aam.core.model.layers import Standardise, Transformer
from q2_aam.core.model.learnt_comparison import (
    LearntComparison,
    Occurrences,
    SideBySide,
    log_shares,
    mean_of_targets,
)
from q2_aam.core.model.output import Output
from q2_aam.core.model.quantile_outputs import in_order, outwards
from q2_aam.core.model.sample_encoder import SequenceEncoder
from q2_aam.core.model.specification import ENCODER, ModelSpec
from q2_aam.core.model.stored_samples.comparison import StoredSamples
from q2_aam.core.model.stored_samples.ensemble_weights import mix
from q2_aam.core.model.stored_samples.similarity import Vocabulary
from q2_aam.core.model.tensor_shapes import place_width
from q2_aam.core.options.config import TrainConfig
from q2_aam.core.options.quantile_levels import MEDIAN


@dataclass(frozen=True)
class Others:
    """Samples of known target that a network compares samples with.

    Parameters
    ----------
    places : Tensor of shape (M, N, Z)
    targets : Tensor of shape (N,)
        Learnt values or numbers of classes.
    """

    places: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Candidates:
    """Training samples that those of a batch are compared with in a step of training.

    Parameters
    ----------
    occurrences : Occurrences
        Of N samples.
    asvs : Tensor of shape (F, D)
        Embeddings of the ASVs that these are numbered by.
    embeddings : Tensor of shape (N, D)
    targets : Tensor of shape (N,)
    left_out : Tensor of shape (B + K, N), bool
        Which must not be asked about a sample of the batch, or about the first K candidates: the
        sample itself, and those of its group.
    n_asked : int
        K.
    weights : Tensor of shape (N,), optional
        How much each counts.
    """

    occurrences: Occurrences
    asvs: Tensor
    embeddings: Tensor
    targets: Tensor
    left_out: Tensor
    n_asked: int
    weights: Tensor | None = None

    @property
    def asked(self) -> Labels:
        """What is known of the K candidates that are asked as well."""
        n = self.n_asked
        return Labels(self.targets[:n], None if self.weights is None else self.weights[:n])


class SequencePredictor(nn.Module):
    """An encoder with networks that predict a number, its quantiles, or classes.

    Parameters
    ----------
    spec : ModelSpec
        Of a model with a target.
    """

    def __init__(self, spec: ModelSpec):
        super().__init__()
        config, members = spec.model, spec.ensemble
        dim = config.embedding_dim
        self.base_model = SequenceEncoder(config)
        self.count_encoder = Transformer(
            dim, config.attention_heads, config.sample_layers, config.dropout
        )
        self.abundance = nn.Linear(dim, 1)
        self.asv_scale, self.sample_scale = Standardise(dim), Standardise(dim)
        self.comparison = LearntComparison(
            config, spec.n_vectors, members, spec.fine_tuning.asv_dropout, spec.covariate_widths
        )
        self.n_classes = spec.n_outputs if spec.n_outputs > 1 else None
        self.median = spec.quantiles.index(MEDIAN) if spec.quantiles else None
        self.readout = None
        if spec.reads_target:
            n_read = len(spec.quantiles) or spec.n_outputs
            self.readout = SideBySide(members, place_width(config), n_read)
            nn.init.zeros_(self.readout.weight)
        if spec.quantiles:  # what samples not trained on tell to add to each quantile
            self.register_buffer("calibration", torch.zeros(len(spec.quantiles)))
        self.stored: StoredSamples | None = None
        if spec.stored is not None:
            self.stored = StoredSamples(
                spec.stored, dim, members * place_width(config), sum(spec.covariate_widths)
            )
        self.vocabulary: Vocabulary | None = None  # of the training, where nothing is stored yet
        self.others: Others | None = None

    def forward(
        self,
        batch: Batch,
        asvs: Tensor | None = None,
        *,
        encoded: Output | None = None,
        candidates: Candidates | None = None,
        vectors: Tensor | None = None,
        with_embedding: bool = True,
        with_abundance: bool = True,
    ) -> Output:
        """Let the networks predict for the samples of a batch.

        Parameters
        ----------
        batch : Batch
        asvs : Tensor of shape (U, D), optional
            Embeddings of the batch's distinct ASVs, if they are at hand.
        encoded : Output, optional
            What `encode` returns, or the embeddings of the samples alone, if they are at hand.
        candidates : Candidates, optional
            Training samples to compare with; otherwise those that are stored.
        vectors : Tensor of shape (U, M · W), optional
            In the place of the vectors that were learnt; see `LearntComparison.forward`.
        with_embedding : bool
            Return the sample embeddings as part of the output; they are always used.
        with_abundance : bool
            Also predict abundances; False saves time where nobody asks.
        """
        if asvs is None:
            asvs = self.base_model.asv_encoder(batch.tokens)
        if encoded is None:
            encoded = self.encode(batch, asvs, with_abundance=with_abundance)
        samples = Occurrences.of(batch, self.numbers_of(batch))
        places = self.places_of(samples, asvs, encoded.embedding, vectors)
        if candidates is not None:
            return self._compare_with_candidates(encoded, places, candidates)
        return self._compare_with_stored(encoded, places)

    def encode(self, batch: Batch, asvs: Tensor, *, with_abundance: bool = True) -> Output:
        """Return what the encoder says of a batch, and abundances; see `forward`."""
        single, context = self.base_model.read(batch, asvs)
        output = self.base_model.summarise(batch, context, True)
        if not with_abundance:
            return output
        return replace(output, abundance=self._abundance(single, batch.mask))

    def numbers_of(self, batch: Batch) -> Tensor:
        """Return which vector each distinct ASV of a batch has, (U,); -1 if none.

        An ASV that was not seen in training has that of the one it stands for.
        """
        vocabulary = self.vocabulary if self.stored is None else self.stored.known_asvs
        if vocabulary is None or self.comparison.vectors is None:
            return torch.full((len(batch.tokens),), -1, device=batch.tokens.device)
        numbers = torch.from_numpy(vocabulary.find(batch.tokens.cpu().numpy()))
        return numbers.masked_fill(numbers >= len(self.comparison.vectors), -1).to(
            batch.tokens.device
        )

    def places_of(
        self, samples: Occurrences, asvs: Tensor, embeddings: Tensor, vectors: Tensor | None = None
    ) -> Tensor:
        """Bring samples to their places; as `LearntComparison.forward`, from plain embeddings."""
        embeddings = self.sample_scale(embeddings)
        return self.comparison(samples, self.asv_scale(asvs), embeddings, vectors)

    def predict(self, batch: Batch, asvs: Tensor | None = None) -> Tensor:
        """Give the final prediction for the samples of a batch, the samples kept included.

        The arguments are those of `forward`.

        Returns
        -------
        Tensor of shape (B, C)
            The learnt value (C = 1), or the probabilities of the classes.
        """
        return self._final(batch, asvs)[0]

    def predict_quantiles(self, batch: Batch, asvs: Tensor | None = None) -> Tensor:
        """Give the calibrated quantiles of the learnt value for the samples of a batch: [B, Q].

        The arguments are those of `forward`. What is predicted by comparison moves all quantiles
        of a sample, so that the prediction stays the median.
        """
        prediction, output = self._final(batch, asvs)
        median = output.quantiles[:, self.median, None]
        return outwards(output.quantiles + (prediction - median) + self.calibration, self.median)

    def answer_at(self, places: Tensor, others: Others) -> Tensor:
        """Give what the networks alone predict at places (M, n, Z), (n, C) as `predict` does."""
        return self._as_answer(self._compare_with(others, Output(), places))

    def adapt(self, batch: Batch, asvs: Tensor) -> None:
        """Set the scale of what the networks see by what these samples have."""
        with torch.no_grad():
            _, context = self.base_model.read(batch, asvs)
            embedding = self.base_model.summarise(batch, context, True).embedding
            self.asv_scale.fit(asvs)
            self.sample_scale.fit(embedding)
            samples = Occurrences.of(batch, self.numbers_of(batch))
            self.comparison.scale.fit(self.comparison.sums(samples, self.asv_scale(asvs)))

    def _final(self, batch: Batch, asvs: Tensor | None) -> tuple[Tensor, Output]:
        """Return the final prediction, and the output of the networks alone."""
        output = self(batch, asvs, with_abundance=False)
        answer = self._as_answer(output)
        if self.stored is None:
            return answer, output
        by_ridge, by_trees, known = self.stored(batch, output.embedding)
        return mix(answer, by_ridge, by_trees, known, self.stored.info.weights), output

    def _as_answer(self, output: Output) -> Tensor:
        return output.target if self.n_classes is None else output.target.softmax(dim=1)

    def _abundance(self, single: Tensor, mask: Tensor | None) -> Tensor:
        logits = self.abundance(self.count_encoder(single, mask)).squeeze(-1)
        return logits if mask is None else logits.masked_fill(~mask, float("-inf"))

    def _compare_with_candidates(self, output, places, candidates: Candidates) -> Output:
        others = self.places_of(candidates.occurrences, candidates.asvs, candidates.embeddings)
        asked = torch.cat([places, others[:, : candidates.n_asked]], dim=1)
        targets = self._columns(candidates.targets)
        compared = mean_of_targets(asked, others, targets, candidates.left_out)
        return self._with_opinions(output, places, compared)

    def _compare_with_stored(self, output: Output, places: Tensor) -> Output:
        others = self.others if self.stored is None else self._stored_places()
        if others is None:
            return self._with_opinions(output, places, None)
        return self._compare_with(others, output, places)

    def _compare_with(self, others: Others, output: Output, places: Tensor) -> Output:
        compared = mean_of_targets(places, others.places, self._columns(others.targets))
        return self._with_opinions(output, places, compared)

    def _stored_places(self) -> Others:
        stored = self.stored
        places = stored.places.unflatten(1, (self.comparison.members, -1)).transpose(0, 1)
        return Others(places, stored.target)

    def _columns(self, targets: Tensor) -> Tensor:
        """Return targets (N,) as what is averaged, (N, C)."""
        if self.n_classes is None:
            return targets.float()[:, None]
        return F.one_hot(targets.long().clamp(0, self.n_classes - 1), self.n_classes).float()

    def _with_opinions(self, output: Output, places: Tensor, compared: Tensor | None) -> Output:
        """Add what each network says [M, B + K, C], and their mean."""
        if self.readout is not None:
            # What is read beside a comparison must not change the space of the comparison.
            read = self.readout(places if compared is None else places.detach()).float()
            if self.median is not None:
                read = in_order(read, self.median)
                output = replace(output, quantiles=read.mean(dim=0))
            output = replace(output, read=tuple(read))
        if compared is None:
            return replace(output, target=self._mean_of(output))
        own = compared[:, : places.shape[1]].mean(dim=0)
        if self.n_classes is None:
            return replace(output, target=own, compared=tuple(compared))
        logits = tuple(log_shares(compared))
        return replace(output, target=log_shares(own), compared=logits)

    def _mean_of(self, output: Output) -> Tensor:
        if self.median is not None:
            return output.quantiles[:, self.median, None]
        if self.n_classes is None:
            return torch.stack(output.read).mean(dim=0)
        return log_shares(torch.stack(output.read).softmax(dim=2).mean(dim=0))


def build(spec: ModelSpec) -> nn.Module:
    """Make the model of a specification, with random weights."""
    return SequenceEncoder(spec.model) if spec.kind == ENCODER else SequencePredictor(spec)


def save_memory(model: nn.Module, config: TrainConfig) -> None:
    """Set how much of the activations a model keeps in training; its results stay the same."""
    for module in model.modules():
        if isinstance(module, Transformer):
            module.recompute = config.gradient_checkpointing
    reader = model.base_model.asv_encoder
    reader.chunk_size = config.asv_chunk_size
    # A chunk is recomputed as a whole; to recompute its layers within that would keep more.
    reader.transformer.recompute &= config.asv_chunk_size is None
