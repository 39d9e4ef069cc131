"""The options of fine-tuning on a metadata column."""

from dataclasses import dataclass

from q2_aam.core.options import quantile_levels
from q2_aam.core.options.option import Config, option


@dataclass(frozen=True)
class TargetConfig(Config):
    """Fine-tuning on a metadata column, of either kind."""

    freeze_base: bool = option(
        False,
        "Keep the encoder as it is and train only what predicts the target: far faster, and its "
        "ASVs are encoded only once. Needs an encoder.",
    )
    stored_samples: int = option(
        4000,
        "Training samples that the model keeps, as ASVs with abundances and without their names, "
        "to compare new samples with and to grow decision trees on; a prediction rests on the "
        "transformer, on this comparison and on these trees. 0 keeps none.",
        low=0,
        high=20_000,
    )
    ensemble: int = option(
        1,
        "So many networks read the target side by side from the same encoder, each from random "
        "weights of its own, and their answers are averaged; it takes that much longer to train "
        "what is above the encoder.",
        low=1,
        high=16,
    )
    count_penalty: float = option(
        1.0, "Weight of the loss on ASV abundances; 0 leaves it out.", low=0.0
    )
    target_penalty: float = option(1.0, "Weight of the loss on the target.", low=0.0)

    @property
    def levels(self) -> tuple[float, ...]:
        """The quantiles that are learnt; none where one number, or a class, is."""
        return ()


@dataclass(frozen=True)
class RegressionConfig(TargetConfig):
    """Fine-tuning on a numeric column."""

    target_transform: str = option(
        "zscore",
        "Scale in which the target is learnt, undone at prediction: as it is (none), 0 to 1 "
        "(minmax) or mean 0 and standard deviation 1 (zscore) among the training samples, or "
        "these of log(1 + value), for values from 0 (log-minmax, log-zscore).",
        choices=("none", "minmax", "zscore", "log-minmax", "log-zscore"),
    )
    loss_type: str = option(
        "huber",
        "Loss on the target: squared up to one unit of the scale and linear beyond (huber), "
        "squared (mse), absolute (mae), or that of quantiles (quantile), with which "
        "predict-intervals says how far off a prediction may be.",
        choices=("huber", "mse", "mae", "quantile"),
    )
    quantiles: str = option(
        "0.05,0.5,0.95",
        "Quantiles that loss_type quantile learns, increasing and separated by commas: 0.5, which "
        "is the prediction, and others on both sides of it. Between 0.05 and 0.95 lie 90 percent "
        "of the values.",
    )
    best_metric: str = option(
        "val_loss",
        "What chooses the best epoch on the validation samples: the loss of the target "
        "(val_loss), its mean absolute error (mae) or its R squared (r2).",
        choices=("val_loss", "mae", "r2"),
    )

    def _contradictions(self):
        try:
            quantile_levels.parse(self.quantiles)
        except ValueError as error:
            yield str(error)
        if self.loss_type != "quantile" and self.quantiles != type(self).quantiles:
            yield (
                f"quantiles are not learnt by loss_type {self.loss_type}: choose loss_type "
                "quantile, or leave quantiles out"
            )

    @property
    def levels(self) -> tuple[float, ...]:
        """The quantiles that are learnt, increasing; none under another loss."""
        return quantile_levels.parse(self.quantiles) if self.loss_type == "quantile" else ()


@dataclass(frozen=True)
class ClassificationConfig(TargetConfig):
    """Fine-tuning on a categorical column."""

    class_weights: str = option(
        "none",
        "Weigh samples by the inverse of the frequency of their class, so that each class counts "
        "alike (balanced), or not at all (none).",
        choices=("balanced", "none"),
    )
    best_metric: str = option(
        "val_loss",
        "What chooses the best epoch on the validation samples: the loss of the target "
        "(val_loss), accuracy (accuracy) or macro F1 (f1).",
        choices=("val_loss", "accuracy", "f1"),
    )
