"""Validation metrics, in the target's own units, over all validation samples."""

import numpy as np
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from q2_aam.core.data.target import CategoricalTarget, NumericTarget

MODE_OF_METRIC = {"val_loss": "min", "mae": "min", "r2": "max", "accuracy": "max", "f1": "max"}


def monitored(best_metric: str, has_target: bool) -> tuple[str, str]:
    """Return the logged name of a ``best_metric``, and whether 'min' or 'max' is best.

    The validation loss is that of the target, if there is one: what else is learnt beside it helps
    the target, or is of no use.
    """
    loss = "target_loss" if has_target else "total_loss"
    name = loss if best_metric == "val_loss" else best_metric
    return f"val/{name}", MODE_OF_METRIC[best_metric]


class RegressionMetrics(nn.Module):
    """Mean absolute error, mean squared error and R² in the units of the column.

    Values are kept, in double precision: sums of squares would lose the spread of a column such as
    years beside its size, or that of tiny units beside a tolerance.
    """

    def __init__(self, target: NumericTarget):
        super().__init__()
        self.target = target
        self._batches: list[tuple[np.ndarray, np.ndarray]] = []

    def update(self, output: Tensor, true: Tensor) -> None:
        """Add a batch: outputs (B, 1) and learnt values (B,)."""
        pair = output.squeeze(-1), true
        self._batches.append(tuple(self.target.to_units(v.cpu().double().numpy()) for v in pair))

    def compute(self) -> dict[str, float]:
        """Return the metrics of all batches and start anew; R² needs two samples.

        Where the true values are all the same, R² is 1 for a perfect prediction and 0 otherwise.
        """
        predicted, true = (np.concatenate(parts) for parts in zip(*self._batches, strict=True))
        self._batches.clear()
        squares = (predicted - true) ** 2
        values = {"mae": np.abs(predicted - true).mean(), "mse": squares.mean()}
        if len(true) > 1:
            spread = ((true - true.mean()) ** 2).sum()
            perfect = float(squares.sum() == 0)
            values["r2"] = 1 - squares.sum() / spread if spread > 0 else perfect
        return {name: float(value) for name, value in values.items()}


class ClassificationMetrics(nn.Module):
    """Accuracy, and macro precision, recall and F1 over the classes that occur."""

    def __init__(self, target: CategoricalTarget):
        super().__init__()
        n = len(target.classes)
        self.metrics = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(n, average="micro"),
                "precision": MulticlassPrecision(n, average="macro"),
                "recall": MulticlassRecall(n, average="macro"),
                "f1": MulticlassF1Score(n, average="macro"),
            }
        )

    def update(self, output: Tensor, true: Tensor) -> None:
        """Add a batch: logits (B, C) and classes (B,)."""
        self.metrics.update(output.argmax(dim=-1), true)

    def compute(self) -> dict[str, Tensor]:
        """Return the metrics of all batches and start anew."""
        values = self.metrics.compute()
        self.metrics.reset()
        return values
