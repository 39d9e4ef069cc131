"""What happens beside training: history, early stopping, options and histograms."""

import time

import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from torch.utils.tensorboard.summary import hparams

HISTOGRAM_EPOCHS = 10


class History(Callback):
    """One row an epoch: every loss term and metric, the learning rate, and the seconds it took.

    The rows are part of each checkpoint, so a resumed run has those of its beginning.
    """

    def __init__(self):
        self.rows: list[dict[str, float]] = []
        self._started = 0.0

    def on_train_epoch_start(self, trainer, pl_module):
        """Start the clock."""
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer, pl_module):
        """Add the row of this epoch, validation included."""
        row = {"epoch": trainer.current_epoch + 1}
        names = [n for n in trainer.callback_metrics if n.startswith(("train/", "val/"))]
        row |= {n: float(trainer.callback_metrics[n]) for n in sorted(names)}
        row["learning_rate"] = float(trainer.callback_metrics["learning_rate"])
        row["seconds"] = time.monotonic() - self._started
        self.rows.append(row)

    def state_dict(self):
        """Return what a checkpoint keeps."""
        return {"rows": self.rows}

    def load_state_dict(self, state):
        """Take up the rows of a checkpoint."""
        self.rows = list(state["rows"])

    def frame(self) -> pd.DataFrame:
        """Return the rows as a table."""
        return pd.DataFrame(self.rows)


class Patience(EarlyStopping):
    """Early stopping that a resumed run remembers: one that was over does not go on."""

    def on_train_start(self, trainer, pl_module):
        """Stop at once if the run had lost patience before it was interrupted."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class HyperParameters(Callback):
    """The options of a run in TensorBoard, beside what chooses its best epoch.

    Parameters
    ----------
    values : dict
        Options by name.
    metric : str
        Logged name of what chooses the best epoch.
    """

    def __init__(self, values: dict, metric: str):
        self.values, self.metric = values, metric

    def on_fit_start(self, trainer, pl_module):
        """Write them, without the chart of a placeholder that loggers add."""
        trainer.logger.log_hyperparams(self.values)
        shown = {name: "none" if value is None else value for name, value in self.values.items()}
        for summary in hparams(shown, {self.metric: 0.0}):
            trainer.logger.experiment.file_writer.add_summary(summary)


class Histograms(Callback):
    """Histograms of weights and gradients in TensorBoard, at one step of every tenth epoch."""

    def __init__(self):
        self._written = -1

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        """Write the histograms at the first step of the epoch."""
        epoch = trainer.current_epoch
        if epoch % HISTOGRAM_EPOCHS or epoch == self._written or trainer.logger is None:
            return
        self._written = epoch
        for name, parameter in pl_module.model.named_parameters():
            if parameter.grad is None:
                continue
            for kind, values in (("weights", parameter.detach()), ("gradients", parameter.grad)):
                # TensorBoard has an error of its own for others; what is said of them comes later.
                if torch.isfinite(values).all():
                    trainer.logger.experiment.add_histogram(f"{kind}/{name}", values, epoch)
