"""Validation metrics, in the target's own units, over all validation samples."""

import torch
from torch import Tensor, nn
from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection, R2Score
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from q2_aam.core.target import CategoricalTarget, NumericTarget

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
    """Mean absolute error, mean squared error and R² in the units of the column."""

    def __init__(self, target: NumericTarget):
        super().__init__()
        self.target = target
        self.metrics = MetricCollection(
            {"mae": MeanAbsoluteError(), "mse": MeanSquaredError(), "r2": R2Score()}
        )

    def update(self, output: Tensor, true: Tensor) -> None:
        """Add a batch: outputs (B, 1) and learnt values (B,)."""
        self.metrics.update(self._in_units(output.squeeze(-1)), self._in_units(true))

    def _in_units(self, learnt: Tensor) -> Tensor:
        units = self.target.to_units(learnt.float().cpu().numpy())
        return torch.as_tensor(units, dtype=torch.float32, device=learnt.device)

    def compute(self) -> dict[str, Tensor]:
        """Return the metrics of all batches and start anew; R² needs two samples."""
        if self.metrics["r2"].total < 2:
            values = {name: self.metrics[name].compute() for name in ("mae", "mse")}
        else:
            values = self.metrics.compute()
        self.metrics.reset()
        return values


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
