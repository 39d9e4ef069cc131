"""What happens beside training: history, early stopping, histograms, the progress bar."""

import sys
import time

import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from torch.utils.tensorboard.summary import hparams

BAR_NAMES = {
    "train/total_loss": "TL",
    "train/target_loss": None,
    "train/unifrac_loss": "UL",
    "train/nuc_loss": "NL",
    "train/nuc_accuracy": "NA",
}
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
        row = {"epoch": trainer.current_epoch}
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


class ProgressBar(TQDMProgressBar):
    """A bar an epoch on the standard error stream: losses, learning rate, speed and time left.

    The time left is that of the whole run, if all its epochs come.

    Parameters
    ----------
    target_name : str, optional
        Short name of the target loss.
    """

    BAR_FORMAT = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"

    def __init__(self, target_name: str | None):
        super().__init__(refresh_rate=1, leave=False)
        self.names = {**BAR_NAMES, "train/target_loss": target_name}
        self._run_began = self._epoch_began = self._now = 0.0
        self._first_epoch, self._epochs, self._samples = 0, 0.0, 0

    def init_train_tqdm(self):
        """Make the bar of training."""
        return self._bar(self.train_description, position=0, leave=True)

    def init_validation_tqdm(self):
        """Make the bar of validation, below that of training."""
        return self._bar(self.validation_description, position=1, leave=False)

    def _bar(self, description, **options):
        # Lightning's own are on the standard output stream.
        return Tqdm(
            desc=description, disable=self.is_disabled, dynamic_ncols=True, file=sys.stderr,
            smoothing=0, bar_format=self.BAR_FORMAT, **options,
        )  # fmt: skip

    def on_train_start(self, trainer, pl_module):
        """Start the clock of the run."""
        super().on_train_start(trainer, pl_module)
        self._run_began, self._first_epoch = time.monotonic(), trainer.current_epoch

    def on_train_epoch_start(self, trainer, pl_module):
        """Start the clock of the epoch."""
        super().on_train_epoch_start(trainer, pl_module)
        self._epoch_began, self._samples = time.monotonic(), 0

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        """Count the samples of a batch, and show the bar."""
        self._samples += len(trainer.train_dataloader.dataset.plan[batch_idx])
        of_epoch = (batch_idx + 1) / self.total_train_batches
        self._epochs = trainer.current_epoch - self._first_epoch + of_epoch
        self._now = time.monotonic()
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def get_metrics(self, trainer, pl_module):
        """Return the running losses, learning rate, speed and time left for the end of the bar."""
        shown = {
            short: f"{float(value):.3f}"
            for name, short in self.names.items()
            if short and (value := pl_module.latest.get(name)) is not None
        }
        shown["LR"] = f"{trainer.optimizers[0].param_groups[0]['lr']:.1e}"
        if self._samples:
            per_epoch = (self._now - self._run_began) / self._epochs
            left = per_epoch * (trainer.max_epochs - self._first_epoch - self._epochs)
            seconds = max(self._now - self._epoch_began, 1e-9)
            shown["samples/s"] = f"{self._samples / seconds:.3g}"
            shown["left"] = Tqdm.format_interval(left)
        return shown
