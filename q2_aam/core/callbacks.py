"""What happens beside training: the history, the progress bar, checkpoints written safely."""

import os
import pickle
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, TQDMProgressBar

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


class Checkpoints(ModelCheckpoint):
    """Checkpoints that are found again in a run directory that was moved."""

    def load_state_dict(self, state):
        """Take up what a checkpoint says of the others, wherever they are now."""
        here = Path(self.dirpath)
        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        moved = {name: str(here / Path(state[name]).name) for name in paths if state[name]}
        best = {str(here / Path(path).name): v for path, v in state["best_k_models"].items()}
        super().load_state_dict({**state, **moved, "best_k_models": best, "dirpath": str(here)})


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
        writer = trainer.logger.experiment
        for name, parameter in pl_module.model.named_parameters():
            if parameter.grad is not None:
                writer.add_histogram(f"weights/{name}", parameter.detach(), epoch)
                writer.add_histogram(f"gradients/{name}", parameter.grad, epoch)


class ProgressBar(TQDMProgressBar):
    """A bar an epoch, with the losses under their short names."""

    def __init__(self, target_name: str | None):
        super().__init__(refresh_rate=1, leave=False)
        self.names = {**BAR_NAMES, "train/target_loss": target_name}

    def get_metrics(self, trainer, pl_module):
        """Return the running losses and the learning rate for the end of the bar."""
        shown = {
            short: f"{float(value):.3f}"
            for name, short in self.names.items()
            if short and (value := pl_module.latest.get(name)) is not None
        }
        return shown | {"LR": f"{trainer.optimizers[0].param_groups[0]['lr']:.1e}"}


class SafeCheckpointIO(TorchCheckpointIO):
    """Checkpoints that are either whole and sound or not there.

    They are written aside, flushed, then renamed, and only if all weights are numbers.
    """

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        """Write a checkpoint; the one of the same name stays until this one is complete.

        Raises
        ------
        ValueError
            If a weight is not a finite number.
        OSError
            If it cannot be written.
        """
        _check_weights(checkpoint)
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                _write(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise

    def load_checkpoint(self, path, *arguments, **options):
        """Read a checkpoint.

        Raises
        ------
        ValueError
            If the file is damaged.
        """
        try:
            return super().load_checkpoint(path, *arguments, **options)
        except (RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
            raise ValueError(
                f"The checkpoint {path} is damaged; remove {Path(path).parent} to start the run "
                "afresh."
            ) from error


def _write(checkpoint, file) -> None:
    try:
        torch.save(checkpoint, file)
    except RuntimeError as error:
        # PyTorch closes its archive even if it could not be written, and fails once more.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from error
        raise


def _check_weights(checkpoint) -> None:
    for name, value in checkpoint.get("state_dict", {}).items():
        if not torch.isfinite(value).all():
            rate = checkpoint["optimizer_states"][0]["param_groups"][0]["lr"]
            raise ValueError(
                f"The weights {name} are no longer finite numbers after step "
                f"{checkpoint['global_step']} (epoch {checkpoint['epoch']}, learning rate "
                f"{rate:.2g}); choose a lower lr, or clip the gradient with max_grad_norm. The "
                "last checkpoint before stays as it is."
            )
