"""How far the training loop is: a bar on a terminal, and a line at the end of each epoch."""

import logging
import math
import time

from lightning.pytorch.callbacks import Callback

from q2_aam.core.data import progress
from q2_aam.core.training.loop.callbacks import History
from q2_aam.core.training.objective.validation_metrics import monitored

log = logging.getLogger(__name__)

TARGET_LOSS = {"RL": "loss on values", "CL": "loss on classes"}
LOSSES = {
    "train/total_loss": ("TL", "total loss"),
    "train/target_loss": None,
    "train/unifrac_loss": ("UL", "UniFrac loss"),
    "train/nuc_loss": ("NL", "nucleotide loss"),
}
SCORES = {
    "val/mae": "MAE",
    "val/r2": "R2",
    "val/accuracy": "accuracy",
    "val/f1": "F1",
}
"""Scores of an epoch that its line may show beside the loss, and what they are called there."""

OFTEN, SELDOM = 0.2, 300.0
"""Seconds between looks at the losses, and between lines within an epoch without a terminal."""


class ProgressBar(Callback):
    """Shows on the standard error stream how far a run is.

    On a terminal, a bar for each epoch has the time left, the running losses by short names, the
    learning rate and the speed. Everywhere, a line at the end of each epoch has the loss in
    training and the score in validation.

    The time left is that of the whole run, if all its epochs come.

    Parameters
    ----------
    history : History
        Comes before this among the callbacks.
    best_metric : str
        What chooses the best epoch.
    target_name : str, optional
        Short name of the target loss: RL or CL. Without it there is no target.
    """

    def __init__(self, history: History, best_metric: str, target_name: str | None = None):
        target = None if target_name is None else (target_name, TARGET_LOSS[target_name])
        self.losses = {**LOSSES, "train/target_loss": target}
        self.history = history
        self.monitored, self._mode = monitored(best_metric, target is not None)
        self.loss = "target_loss" if target is not None else "total_loss"
        self._run_began = self._epoch_began = self._epochs = self._look = 0.0
        self._first_epoch, self._samples, self._meter = 0, 0, None

    def on_train_start(self, trainer, pl_module):
        """Start the clock of the run, and say what the short names of the bar are."""
        self._run_began, self._first_epoch = time.monotonic(), trainer.current_epoch
        if progress.is_terminal():
            named = [f"{name}: {said}" for name, said in filter(None, self.losses.values())]
            progress.say(f"{', '.join(named)},")
            progress.say("LR: learning rate, /s: samples a second, left: if all epochs come")

    def on_train_epoch_start(self, trainer, pl_module):
        """Start the clock of the epoch."""
        self._close()
        self._epoch_began, self._samples, self._look = time.monotonic(), 0, 0.0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        """Show the bar of the epoch: its batches in training and in validation."""
        if self._meter is not None:
            return
        total = trainer.num_training_batches + sum(trainer.num_val_batches)
        name = _name(trainer)
        if progress.is_terminal():
            self._meter = progress.bar(name, total, f"{name} |{{bar}}|")
        else:
            self._meter = progress.Lines(name, total, SELDOM, SELDOM)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        """Count the samples of a batch, and go on."""
        self._samples += len(trainer.train_dataloader.dataset.plan[batch_idx])
        done = (batch_idx + 1) / trainer.num_training_batches
        self._epochs = trainer.current_epoch - self._first_epoch + done
        now = time.monotonic()
        if now >= self._look and progress.is_terminal():  # to look is to wait for a GPU
            self._look = now + OFTEN
            text = self.text(trainer, pl_module.latest)
            self._meter.bar_format = f"{_name(trainer)} |{{bar}}| {text}"
        self._meter.update(1)

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, *_):
        """Go on."""
        self._meter.update(1)

    def on_train_epoch_end(self, trainer, pl_module):
        """Put a line in the place of the bar."""
        self._close()
        progress.say(self.line(trainer))

    def on_train_end(self, trainer, pl_module):
        """Say why there are no more epochs."""
        if trainer.current_epoch < trainer.max_epochs:
            log.info(
                "Early stopping: the validation score has not become better for long enough "
                "(patience)."
            )

    def on_exception(self, trainer, pl_module, exception):
        """Leave a clean line to what is said next."""
        self._close()

    def _close(self) -> None:
        if self._meter is not None:
            self._meter.close()
        self._meter = None

    def _left(self, trainer) -> str:
        """Return the time left of the run."""
        per_epoch = (time.monotonic() - self._run_began) / self._epochs
        to_come = trainer.max_epochs - self._first_epoch - self._epochs
        return progress.duration(per_epoch * to_come)

    def text(self, trainer, latest: dict) -> str:
        """Write what stands behind the bar: time left, losses, learning rate, speed."""
        shown = {"left": self._left(trainer)}
        for name, named in self.losses.items():
            if named is not None and name in latest:
                shown[named[0]] = _brief(float(latest[name]))
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        shown["LR"] = f"{rate:.0e}"
        speed = self._samples / max(time.monotonic() - self._epoch_began, 1e-9)
        named = " ".join(f"{name}={value}" for name, value in shown.items())
        return f"{named} {speed:.{0 if speed >= 10 else 1}f}/s"

    def line(self, trainer) -> str:
        """Write the line of the last epoch."""
        rows = self.history.rows
        row = rows[-1]
        said = [f"loss {short(row[f'train/{self.loss}'])}"]
        values = {f"val/{self.loss}": f"validation {short(row.get(f'val/{self.loss}', math.nan))}"}
        others = [n for n in SCORES if n in row]
        chosen = self.monitored if self.monitored in others else next(iter(others), None)
        if chosen is not None:
            values[chosen] = f"{SCORES[chosen]} {short(row[chosen])}"
        for name, text in values.items():
            if name in row:
                best = name == self.monitored and self._is_best(rows)
                said.append(f"{text} (best)" if best else text)
        said.append(f"left {self._left(trainer)}")
        return f"{_name(trainer)}: {', '.join(said)}"

    def _is_best(self, rows) -> bool:
        """Tell whether the last epoch is better than all before it."""
        *before, last = (row.get(self.monitored, math.nan) for row in rows)
        if self._mode == "max":
            return all(last > value for value in before)
        return all(last < value for value in before)


def _name(trainer) -> str:
    return f"Epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"


def short(value: float) -> str:
    """Write a number in three digits."""
    return f"{value:#.3g}".rstrip(".") if 0.001 <= abs(value) < 1000 else f"{value:.2g}"


def _brief(value: float) -> str:
    """Write a number in about four characters."""
    if 0.01 <= abs(value) < 10:
        return f"{value:.2f}"
    return f"{value:.3g}" if abs(value) >= 10 or value == 0 else f"{value:.0e}"
