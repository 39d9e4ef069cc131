"""The optimizer, and the course of the learning rate."""

import logging
import math

import torch
from lightning.pytorch.callbacks import Callback
from torch import nn
from torch.optim import lr_scheduler

from q2_aam.core.model.learnt_comparison import SideBySide
from q2_aam.core.options.config import TrainConfig

log = logging.getLogger(__name__)

OPTIMIZERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Divide the trainable parameters: only matrices of linear layers decay.

    That which embeds nucleotides does not: it is applied to their identities, as a table would be.
    """
    decaying = {
        id(module.weight)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | SideBySide) and not name.endswith("asv_encoder.patch")
    }
    trainable = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trainable if id(p) in decaying], "weight_decay": weight_decay},
        {"params": [p for p in trainable if id(p) not in decaying], "weight_decay": 0.0},
    ]


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Make the optimizer; SGD has momentum 0.9."""
    groups = parameter_groups(model, config.weight_decay)
    extra = {"momentum": 0.9} if config.optimizer == "sgd" else {}
    return OPTIMIZERS[config.optimizer](groups, lr=config.lr, **extra)


def warmup_steps(config: TrainConfig, total_steps: int) -> int:
    """Steps of warm-up: as asked for, but at most a tenth of the run."""
    return min(config.warmup_steps, total_steps // 10)


def make_scheduler(optimizer, config: TrainConfig, total_steps: int) -> dict:
    """Make a schedule by steps, in the form that Lightning takes; `Plateau` is one by epochs.

    Parameters
    ----------
    optimizer : Optimizer
    config : TrainConfig
    total_steps : int
        Steps of the optimizer in the whole run.
    """
    if config.scheduler == "onecycle":
        cycle = lr_scheduler.OneCycleLR(optimizer, config.lr, total_steps=max(total_steps, 2))
        return {"scheduler": cycle, "interval": "step"}
    rising = 0
    if config.scheduler == "warmup_cosine":
        rising = warmup_steps(config, total_steps)
        if rising < config.warmup_steps != TrainConfig().warmup_steps:
            log.info(
                "warmup_steps is %d, but the learning rate rises for %d steps only: a tenth of "
                "the %d steps of this run.",
                config.warmup_steps, rising, total_steps,
            )  # fmt: skip

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(total_steps - rising, 1)))

    return {"scheduler": lr_scheduler.LambdaLR(optimizer, factor), "interval": "step"}


class Plateau(Callback):
    """Takes a tenth of the learning rate when a loss has not improved for half the patience.

    It looks before the epoch's checkpoint is written. Lightning's own would after it, so that a
    run taken up again would not know of its last epoch.

    Parameters
    ----------
    patience : int
        Epochs after which training stops.
    monitor : str
        Logged name of the loss.
    """

    def __init__(self, patience: int, monitor: str):
        # PyTorch acts one epoch after as many as its patience have brought nothing.
        self.patience, self.monitor = max(patience // 2 - 1, 0), monitor
        self._scheduler: lr_scheduler.ReduceLROnPlateau | None = None
        self._taken_up: dict = {}

    def on_train_start(self, trainer, pl_module):
        """Begin the course, or take it up as a checkpoint has it."""
        self._scheduler = lr_scheduler.ReduceLROnPlateau(
            trainer.optimizers[0], factor=0.1, patience=self.patience
        )
        self._scheduler.load_state_dict(self._taken_up)

    def on_train_epoch_end(self, trainer, pl_module):
        """Look at the loss of this epoch."""
        self._scheduler.step(float(trainer.callback_metrics[self.monitor]))

    def state_dict(self):
        """Return what a checkpoint keeps."""
        return self._scheduler.state_dict()

    def load_state_dict(self, state):
        """Take up the course of a checkpoint."""
        self._taken_up = state
