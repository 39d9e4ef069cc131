"""The options of fine-tuning on a metadata column."""

from dataclasses import dataclass

from q2_aam.core.options import class_weights, quantile_levels
from q2_aam.core.options.option import Config, option


@dataclass(frozen=True)
class TargetConfig(Config):
    """Fine-tuning on a metadata column, of either kind."""

    freeze_base: bool | None = option(
        None,
        "Do not change the encoder. Train only the layers that predict the target. This is far "
        "faster, and each ASV is encoded only once. Needs an encoder. By default, the encoder "
        "that ships with q2-aam is not changed, and any other encoder is trained further.",
    )
    from_scratch: bool = option(
        False,
        "If neither an encoder nor a phylogeny is given, start from random weights. By default, "
        "training then starts from the encoder that ships with q2-aam, unless the reads differ "
        "from those that it is for (16S V4 from the primer 515F on).",
    )
    stored_samples: int = option(
        4000,
        "Maximum number of training and validation samples that the model stores, as ASVs and "
        "abundances. Their ids are in the model as well, unless keep_sample_ids is off. The "
        "networks compare a sample with them; kernel ridge regression and extremely randomized "
        "trees predict from them, too. A prediction is a weighted mean of the three. With 0 the "
        "model stores none, and networks predict from sequences alone.",
        low=0,
        high=20_000,
    )
    ensemble: int = option(
        4,
        "Number of networks that predict the target from the same encoder, side by side. Each "
        "starts from its own random weights. Their predictions are averaged.",
        low=1,
        high=16,
    )
    asv_dropout: float = option(
        0.3,
        "Share of the ASVs of a sample to leave out at random in training, so that the networks "
        "do not rely on single ASVs.",
        low=0.0,
        high=0.9,
    )
    count_penalty: float = option(
        1.0, "Weight of the loss on ASV abundances. 0 leaves it out.", low=0.0
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
        "Scale of the target in training: as it is (none), 0 to 1 (minmax), or mean 0 and "
        "standard deviation 1 (zscore). log-minmax and log-zscore first take log(1 + value), for "
        "values from 0. The training samples set the scale. Predictions are in the units of the "
        "column.",
        choices=("none", "minmax", "zscore", "log-minmax", "log-zscore"),
    )
    target_minimum: float | None = option(
        None,
        "Least value that the target can have, such as 0 for an age or a percentage. Predictions "
        "below it become this value. By default there is no limit.",
    )
    target_maximum: float | None = option(
        None,
        "Greatest value that the target can have, such as 100 for a percentage. Predictions above "
        "it become this value. By default there is no limit.",
    )
    loss_type: str = option(
        "huber",
        "Loss on the target: squared up to one unit of the scale and linear beyond (huber), "
        "squared (mse), absolute (mae), or quantile loss (quantile). predict-intervals needs a "
        "model trained with quantile. It says how far off a prediction may be.",
        choices=("huber", "mse", "mae", "quantile"),
    )
    quantiles: str = option(
        "0.05,0.5,0.95",
        "Quantiles that loss_type quantile learns: increasing and separated by commas. Give 0.5, "
        "which is the prediction, and quantiles on both sides of it. 90 percent of the values lie "
        "between the quantiles 0.05 and 0.95.",
    )
    best_metric: str = option(
        "val_loss",
        "Which score on the validation samples chooses the best epoch: the loss on the target "
        "(val_loss), the mean absolute error (mae) or R squared (r2).",
        choices=("val_loss", "mae", "r2"),
    )

    def _contradictions(self):
        try:
            quantile_levels.parse(self.quantiles)
        except ValueError as error:
            yield str(error)
        limits = self.target_minimum, self.target_maximum
        if None not in limits and limits[0] >= limits[1]:
            yield "target_minimum must be below target_maximum"
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
        "Weigh each sample by the inverse frequency of its class, so that each class counts "
        "equally (balanced), or weigh all samples equally (none), or give the weight of a sample "
        "of each class: 'gut:2,skin:0.5'. A class that is not named has the weight 1. If names "
        'have commas or colons, write JSON: {"gut, left": 2}.',
    )
    best_metric: str = option(
        "val_loss",
        "Which score on the validation samples chooses the best epoch: the loss on the target "
        "(val_loss), accuracy (accuracy) or macro F1 (f1).",
        choices=("val_loss", "accuracy", "f1"),
    )

    def _contradictions(self):
        try:
            class_weights.parse(self.class_weights)
        except ValueError as error:
            yield str(error)

    @property
    def weights_of_classes(self) -> dict[str, float] | None:
        """Weights by class name; None where all classes are to count equally."""
        return class_weights.parse(self.class_weights)
