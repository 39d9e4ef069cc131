"""A run that is asked to end within an epoch, and is taken up again at the same step."""

import logging
from pathlib import Path

import torch
from lightning.pytorch.callbacks import Callback

from q2_aam.core.training.devices import gpu_random_state, set_gpu_random_state
from q2_aam.core.training.loop.run_directory import INTERRUPTED

log = logging.getLogger(__name__)


class Interruption(Callback):
    """Writes where an epoch was left at SIGTERM, and goes on from there.

    The epoch then begins as it did, from the checkpoint of the one before. Its steps up to the
    interruption are passed over: only what was logged of them is logged again. After that the
    weights, the optimizer, gathered gradients and the state of the random numbers are put back.

    Parameters
    ----------
    directory : Path
        Of the run.
    """

    def __init__(self, directory: Path):
        self.path = directory / INTERRUPTED
        self._left: dict | None = None
        self._logged: list[dict] = []

    def on_train_epoch_start(self, trainer, pl_module):
        """See whether this is the epoch that was left."""
        self._left, self._logged = None, []
        if self.path.exists():
            left = trainer.strategy.checkpoint_io.load_checkpoint(self.path, weights_only=True)
            if left["epoch"] == trainer.current_epoch:
                log.info(
                    "Resuming after %d steps of epoch %d.", len(left["logged"]), left["epoch"] + 1
                )
                self._left = left
        pl_module.passed_over = self._left["logged"] if self._left else []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        """Put everything back as it was before this step."""
        if self._left is None or batch_idx < len(self._left["logged"]):
            return
        left, self._left = self._left, None
        pl_module.load_state_dict(left["state_dict"])
        trainer.optimizers[0].load_state_dict(left["optimizer_states"][0])
        for name, parameter in pl_module.named_parameters():
            if name in left["gradients"]:
                parameter.grad = left["gradients"][name].to(parameter.device)
        torch.set_rng_state(left["random"])
        set_gpu_random_state(pl_module.device, left["random_of_gpu"])
        trainer.precision_plugin.load_state_dict(left["loss_scale"])

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        """Note what was logged; if the run was asked to end, write where it is."""
        self._logged.append(pl_module.latest)
        last = batch_idx + 1 == trainer.num_training_batches  # then an epoch is complete soon
        if trainer.received_sigterm and self._left is None and not last:
            self._write(trainer, pl_module)

    def _write(self, trainer, pl_module) -> None:
        state = _state(trainer, pl_module, self._logged)
        trainer.strategy.checkpoint_io.save_checkpoint(state, self.path)

    def on_train_epoch_end(self, trainer, pl_module):
        """Forget what this epoch was left with."""
        self.path.unlink(missing_ok=True)


def _state(trainer, module, logged) -> dict:
    within_step = len(logged) % trainer.accumulate_grad_batches
    return {
        "epoch": trainer.current_epoch,
        "global_step": trainer.global_step,
        "logged": [{name: value.cpu() for name, value in step.items()} for step in logged],
        "state_dict": module.state_dict(),
        "optimizer_states": [trainer.optimizers[0].state_dict()],
        "gradients": {
            name: parameter.grad
            for name, parameter in module.named_parameters()
            if within_step and parameter.grad is not None
        },
        "random": torch.get_rng_state(),
        "random_of_gpu": gpu_random_state(module.device),
        "loss_scale": trainer.precision_plugin.state_dict(),  # of fp16; the gradients have it
    }
