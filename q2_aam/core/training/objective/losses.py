"""The losses and their weighted sum.

Shapes: B samples, S ASVs, R references, P masked nucleotides, C classes, Q quantiles, D embedding
width.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from q2_aam.core.data import nucleotides
from q2_aam.core.data.mini_batches import Batch, Labels
from q2_aam.core.data.target import NumericTarget
from q2_aam.core.model.output import Output
from q2_aam.core.options.config import ClassificationConfig, Settings

TargetLoss = Callable[[Tensor, Tensor, Tensor | None], Tensor]

ASKED_SHARE = 7 / 8
"""Share of the loss that is about training samples which are asked beside those of a batch. It is
the same for batches of any size, so that several small ones can stand for a large one."""


@dataclass(frozen=True)
class Losses:
    """The terms of the loss, each a scalar tensor or absent, and their weighted sum."""

    total: Tensor
    target: Tensor | None = None
    unifrac: Tensor | None = None
    nuc: Tensor | None = None
    count: Tensor | None = None

    def terms(self) -> dict[str, Tensor]:
        """Return the terms that are there by the names under which they are logged."""
        named = {
            "total_loss": self.total,
            "target_loss": self.target,
            "unifrac_loss": self.unifrac,
            "nuc_loss": self.nuc,
            "count_loss": self.count,
        }
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True)
class Objective:
    """Which losses there are, and how they are weighed; a weight of zero switches one off.

    Parameters
    ----------
    penalty, nuc_penalty, count_penalty, target_penalty : float
        Weights of the UniFrac, nucleotide, abundance and target losses.
    unifrac_variance : float
        Variance of the UniFrac targets in training: the UniFrac loss is the mean squared error in
        units of it, so that 1 is as good as always answering the mean.
    target_loss : callable, optional
        Loss of predictions (B, C), or of quantiles (B, Q), true values (B,), and weights of the
        samples (B,) or None.
    comparison_loss : callable, optional
        Loss of predictions (B, C) by comparison where `target_loss` is one of quantiles.
    own_weight : float
        What the target loss of the samples of the batch is multiplied with, but not that of the
        training samples that are asked beside them. Other than 1 where a batch is a part of one.
    """

    penalty: float = 0.0
    nuc_penalty: float = 0.0
    count_penalty: float = 0.0
    target_penalty: float = 0.0
    unifrac_variance: float = 1.0
    target_loss: TargetLoss | None = None
    comparison_loss: TargetLoss | None = None
    own_weight: float = 1.0

    def __call__(
        self,
        batch: Batch,
        output: Output,
        unifrac: tuple[Tensor, Tensor] | None = None,
        asked: Labels | None = None,
    ) -> Losses:
        """Compute the losses of a batch.

        Parameters
        ----------
        batch : Batch
        output : Output
        unifrac : tuple of two Tensor, optional
            Predicted and true values, of one shape.
        asked : Labels, optional
            Of the K training samples that were asked beside those of the batch.
        """
        target = uni = nuc = count = None
        if self.target_penalty and self.target_loss is not None:
            target = self._target_loss(batch, output, asked)
        if self.penalty and unifrac is not None:
            uni = unifrac_loss(*unifrac) / self.unifrac_variance
        if self.nuc_penalty and output.nucleotides is not None:
            nuc = nucleotide_loss(output.nucleotides, masked_bases(batch))
        if self.count_penalty and output.abundance is not None:
            count = abundance_loss(output.abundance, batch.counts)
        weighted = (
            (self.target_penalty, target),
            (self.penalty, uni),
            (self.nuc_penalty, nuc),
            (self.count_penalty, count),
        )
        total = sum(weight * term for weight, term in weighted if term is not None)
        return Losses(torch.as_tensor(total), target, uni, nuc, count)

    def _target_loss(self, batch: Batch, output: Output, asked: Labels | None) -> Tensor:
        """Average the losses of the networks.

        Each by itself: their average would have them learn each other's mistakes.
        """
        own, losses = self.own_weight if len(batch.target) else 0.0, []
        labels = Labels(batch.target, batch.weight)
        if output.read and own:
            losses.append(own * _mean(self.target_loss, output.read, labels))
        if output.compared:
            of_comparison, share = self.comparison_loss or self.target_loss, 1.0
            if asked is not None:
                others = [said[len(batch) :] for said in output.compared]
                losses.append(ASKED_SHARE * _mean(of_comparison, others, asked))
                share = 1 - ASKED_SHARE
            if own:
                loss = _mean(of_comparison, output.compared, labels)
                losses.append(own * share * loss)
        return sum(losses, start=torch.zeros(()))


def _mean(loss, members, true: Labels) -> Tensor:
    """Average a loss over what several networks say of the first samples of a batch."""
    return torch.stack([loss(said[: len(true.true)], *true) for said in members]).mean()


def _weighed(each: Tensor, weights: Tensor | None) -> Tensor:
    """Average the losses of samples (B,), each multiplied with its weight.

    They are not divided by the weights of the batch: a batch of one sample would not feel them.
    """
    return each.mean() if weights is None else (each * weights.to(each)).mean()


def unifrac_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """Mean squared error over all pairs (or samples); zero where there are none."""
    if predicted.numel() == 0:
        return predicted.sum()
    return F.mse_loss(predicted, true)


def masked_bases(batch: Batch) -> Tensor:
    """Return the nucleotides under the mask as classes 0 to 3, of shape (P,)."""
    return batch.tokens[batch.masked_of][batch.masked_at].long() - nucleotides.FIRST_BASE


def nucleotide_loss(logits: Tensor, bases: Tensor) -> Tensor:
    """Cross-entropy (P, 4) against (P,) of the masked nucleotides; zero where there are none."""
    if len(bases) == 0:
        return logits.sum()
    return F.cross_entropy(logits, bases)


def abundance_loss(logits: Tensor, counts: Tensor) -> Tensor:
    """Kullback-Leibler divergence of predicted from true relative abundances, mean of samples.

    Logits and counts are (B, S); padding has logit minus infinity and count zero.
    """
    share = counts / counts.sum(dim=1, keepdim=True)
    log_predicted = logits.float().log_softmax(dim=1).masked_fill(counts == 0, 0.0)
    return (torch.xlogy(share, share) - share * log_predicted).sum(dim=1).mean()


def regression_loss(kind: str) -> TargetLoss:
    """Return the loss 'huber', 'mse' or 'mae' of predictions (B, 1) and true values (B,)."""
    loss = {"huber": F.huber_loss, "mse": F.mse_loss, "mae": F.l1_loss}[kind]

    def of_single_output(predicted: Tensor, true: Tensor, weights: Tensor | None = None) -> Tensor:
        return _weighed(loss(predicted.squeeze(-1), true, reduction="none"), weights)

    return of_single_output


def quantile_loss(levels: tuple[float, ...]) -> TargetLoss:
    """Return the pinball loss [1]_ of quantiles (B, Q) and true values (B,), summed over them.

    It is a sum, so that the median is learnt as fast whatever other quantiles are asked for.

    References
    ----------
    .. [1] Koenker R, Bassett G. Regression quantiles. Econometrica 46, 33-50 (1978).
    """

    def of_quantiles(predicted: Tensor, true: Tensor, weights: Tensor | None = None) -> Tensor:
        level = torch.tensor(levels, dtype=predicted.dtype, device=predicted.device)
        below = true[:, None] - predicted  # positive where the prediction is too low
        return _weighed(torch.maximum(level * below, (level - 1) * below).sum(dim=1), weights)

    return of_quantiles


def classification_loss(factors: Tensor | None = None) -> TargetLoss:
    """Return the cross-entropy of logits (B, C) and classes (B,), each class weighed (C,).

    It is the mean of the weighted samples, not divided by their weights: then a batch of one class
    would not feel the weights, and the loss would depend on which samples are together.
    """

    def of_logits(logits: Tensor, true: Tensor, weights: Tensor | None = None) -> Tensor:
        each = F.cross_entropy(logits, true, reduction="none")
        return _weighed(each if factors is None else each * factors.to(each)[true], weights)

    return of_logits


def class_factors(config: ClassificationConfig, target: np.ndarray, classes) -> np.ndarray:
    """Weigh classes: as given, or by the inverse of their frequency, or all by one.

    Parameters
    ----------
    config : ClassificationConfig
    target : ndarray of int
        Class numbers of the training samples; each class occurs.
    classes : sequence of str
        Their names.

    Returns
    -------
    ndarray of shape (n_classes,)
        Their mean over the samples is 1.
    """
    given, n = config.weights_of_classes, len(classes)
    if given is None:
        return len(target) / (n * np.bincount(target, minlength=n))
    factors = np.array([given.get(name, 1.0) for name in classes])
    return factors / factors[target].mean()


def pretraining_objective(settings: Settings, unifrac_variance: float) -> Objective:
    """Return the losses of pre-training: UniFrac and masked nucleotides."""
    training = settings.training
    return Objective(
        penalty=training.penalty,
        nuc_penalty=training.nuc_penalty,
        unifrac_variance=unifrac_variance,
    )


def fine_tuning_objective(
    settings: Settings, target, values, unifrac_variance: float | None
) -> Objective:
    """Return the losses of fine-tuning.

    Parameters
    ----------
    settings : Settings
    target : NumericTarget or CategoricalTarget
    values : pandas.Series
        The training samples' values of the column.
    unifrac_variance : float, optional
        Variance of the UniFrac targets; without it there is no UniFrac loss.
    """
    tuning, training = settings.fine_tuning, settings.training
    comparison_loss = None
    if isinstance(target, NumericTarget):
        levels = tuning.levels
        target_loss = quantile_loss(levels) if levels else regression_loss(tuning.loss_type)
        comparison_loss = regression_loss("mae") if levels else None  # that of the median
    else:
        factors = class_factors(tuning, target.to_learnt(values), target.classes)
        target_loss = classification_loss(torch.as_tensor(factors, dtype=torch.float32))
    return Objective(
        penalty=0.0 if unifrac_variance is None else training.penalty,
        # An encoder that is kept as it is learns nothing from these.
        nuc_penalty=0.0 if tuning.freeze_base else training.nuc_penalty,
        count_penalty=0.0 if tuning.freeze_base else tuning.count_penalty,
        target_penalty=tuning.target_penalty,
        unifrac_variance=1.0 if unifrac_variance is None else unifrac_variance,
        target_loss=target_loss,
        comparison_loss=comparison_loss,
    )
