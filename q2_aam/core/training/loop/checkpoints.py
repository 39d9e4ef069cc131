"""Checkpoints: whole and sound or not there, and found again where a run directory was moved."""

import os
import pickle
import tempfile
from pathlib import Path

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint


class Checkpoints(ModelCheckpoint):
    """Checkpoints that are found again in a run directory that was moved."""

    def load_state_dict(self, state):
        """Take up what a checkpoint says of the others, wherever they are now."""
        here = Path(self.dirpath)
        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        moved = {name: str(here / Path(state[name]).name) for name in paths if state[name]}
        best = {str(here / Path(path).name): v for path, v in state["best_k_models"].items()}
        super().load_state_dict({**state, **moved, "best_k_models": best, "dirpath": str(here)})


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
                "from the beginning."
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
                f"{checkpoint['global_step']} (epoch {checkpoint['epoch'] + 1}, learning rate "
                f"{rate:.2g}); choose a lower lr or max_grad_norm. The checkpoint before it "
                "is kept."
            )
