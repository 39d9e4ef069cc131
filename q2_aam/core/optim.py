"""The optimizer, and the course of the learning rate."""

import logging
import math

import torch
from torch import nn
from torch.optim import lr_scheduler

from q2_aam.core.config import TrainConfig

log = logging.getLogger(__name__)

OPTIMIZERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Divide the trainable parameters: only matrices of linear layers decay.

    That which embeds nucleotides does not: it is applied to their identities, as a table would be.
    """
    decaying = {
        id(module.weight)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and not name.endswith("asv_encoder.nucleotide")
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


def make_scheduler(
    optimizer, config: TrainConfig, total_steps: int, monitor: str = "val/total_loss"
) -> dict:
    """Make the schedule, in the form that Lightning takes.

    Parameters
    ----------
    optimizer : Optimizer
    config : TrainConfig
    total_steps : int
        Steps of the optimizer in the whole run.
    monitor : str
        Logged name of the loss that plateau follows.
    """
    if config.scheduler == "plateau":
        # PyTorch acts one epoch after as many as its patience have brought nothing.
        patience = max(config.patience // 2 - 1, 0)
        plateau = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=patience)
        return {"scheduler": plateau, "interval": "epoch", "monitor": monitor}
    if config.scheduler == "onecycle":
        cycle = lr_scheduler.OneCycleLR(optimizer, config.lr, total_steps=max(total_steps, 2))
        return {"scheduler": cycle, "interval": "step"}
    rising = 0
    if config.scheduler == "warmup_cosine":
        rising = warmup_steps(config, total_steps)
        if rising < config.warmup_steps:
            log.info(
                "The learning rate rises for %d steps instead of %d, a tenth of this run's %d.",
                rising, config.warmup_steps, total_steps,
            )  # fmt: skip

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(total_steps - rising, 1)))

    return {"scheduler": lr_scheduler.LambdaLR(optimizer, factor), "interval": "step"}
