"""One run of the training loop, from a module and its data to the best epoch's weights."""

import logging
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import pandas as pd
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.precision import MixedPrecision

from q2_aam.core.data.batch_loader import lost_processes_explained
from q2_aam.core.data.temporary_files import temporary_directory
from q2_aam.core.options.config import Settings
from q2_aam.core.training.devices import (
    choose_device,
    describe,
    less_memory,
    lightning_precision,
    memory_explained,
    prepare_allocator,
)
from q2_aam.core.training.loop.callbacks import (
    Histograms,
    History,
    HyperParameters,
    Patience,
)
from q2_aam.core.training.loop.checkpoints import Checkpoints, SafeCheckpointIO
from q2_aam.core.training.loop.environment import single_process
from q2_aam.core.training.loop.lightning_module import DataModule, TrainingModule
from q2_aam.core.training.loop.optimizer import Plateau
from q2_aam.core.training.loop.progress_bar import ProgressBar
from q2_aam.core.training.loop.resume import Interruption
from q2_aam.core.training.objective.validation_metrics import monitored

log = logging.getLogger(__name__)

LAST = "last.ckpt"
ARITHMETIC = {
    "32-true": "single precision (fp32)",
    "bf16-mixed": "mixed precision (bf16)",
    "16-mixed": "mixed precision (fp16)",
}
QUIET = (
    ".*does not have many workers.*",
    ".*number of training batches.*",
    ".*GPU available but not used.*",
    ".*isinstance.treespec, LeafSpec.*",
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*dirpath was changed.*",
    ".*Found .* module.s. in eval mode.*",
    ".*training_step. returned .None.*",
    ".*srun. command is available.*",
    # fp16 leaves out the first steps until it has found the scale of the loss.
    ".*Detected call of .lr_scheduler.step... before .optimizer.step.*",
    ".*sync_dist=True.*",  # ranks log the same values
    ".*broadcast_buffers. is deprecated.*",
    ".*find_unused_parameters=True was specified.*",
)


@dataclass(frozen=True)
class Placement:
    """How the processes of a run take part in it; by default there is one, on one device.

    Parameters
    ----------
    data : callable
        Makes the data module.
    interruption : callable
        Makes the callback that leaves an epoch, and takes it up again.
    writes : bool
        Whether this process writes the files of TensorBoard.
    devices : int or list of int
        Those of this host, as Lightning takes them.
    n_hosts : int
    strategy : str or Strategy
        As Lightning takes it.
    plugins : tuple
        More plugins of Lightning.
    """

    data: Callable = DataModule
    interruption: Callable = Interruption
    writes: bool = True
    devices: int | list[int] = 1
    n_hosts: int = 1
    strategy: object = "auto"
    plugins: tuple = ()


ALONE = Placement()


@dataclass(frozen=True)
class FitResult:
    """What a run leaves beside the weights.

    Parameters
    ----------
    history : pandas.DataFrame
        One row an epoch.
    event_files : dict of str to bytes
        TensorBoard's files by name.
    """

    history: pd.DataFrame
    event_files: dict[str, bytes]


def fit(
    module: TrainingModule,
    settings: Settings,
    run_dir: str | Path | None = None,
    *,
    bar_name: str | None = None,
    progress: bool = True,
    placement: Placement = ALONE,
) -> FitResult:
    """Train a model until it stops improving, and leave it with the weights of the best epoch.

    Parameters
    ----------
    module : TrainingModule
    settings : Settings
    run_dir : path, optional
        Where checkpoints and TensorBoard's files are written as they come, and where a broken
        run of the same name is taken up again. Without it they are in a temporary directory.
    bar_name : str, optional
        Short name of the target loss in the progress bar: RL or CL.
    progress : bool
        Show on the standard error stream how far the run is.
    placement : Placement

    Returns
    -------
    FitResult
    """
    with ExitStack() as stack:
        if run_dir is None:
            run_dir = stack.enter_context(temporary_directory())
        run_dir = Path(run_dir)
        stack.enter_context(warnings.catch_warnings())
        for message in QUIET:
            warnings.filterwarnings("ignore", message=message)
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
        limits = settings.training.batch_size, settings.data.token_limit
        stack.enter_context(memory_explained(less_memory(*limits)))
        stack.enter_context(lost_processes_explained(settings.training.num_workers))
        return _fit(module, settings, run_dir, bar_name, progress, placement)


def _fit(module, settings, run_dir, bar_name, progress, placement) -> FitResult:
    history, validated = History(), module.run.validation is not None
    best, last = _checkpoints(settings, run_dir)
    chooses, _ = monitored(settings.best_metric, settings.fine_tuning is not None)
    metric = chooses if validated else "train/total_loss"
    callbacks = [history]
    if placement.writes:
        callbacks += [HyperParameters(_hyperparameters(settings), metric), Histograms()]
    callbacks.append(placement.interruption(run_dir))
    callbacks += [best, last] if validated else [last]
    if settings.training.scheduler == "plateau":
        loss, _ = monitored("val_loss", settings.fine_tuning is not None)
        callbacks.append(Plateau(settings.training.patience, loss))
    if validated:
        callbacks.append(_early_stopping(settings))
    if progress:
        callbacks.append(ProgressBar(history, settings.best_metric, bar_name))
    trainer = _trainer(settings, run_dir, callbacks, validated, placement)
    before = run_dir / LAST if (run_dir / LAST).exists() else None
    if before is not None:
        log.info("Resuming the run in %s where it stopped.", run_dir)
    data = placement.data(module.run, settings.training)
    trainer.fit(module, data, ckpt_path=before, weights_only=True)
    if placement.writes:
        trainer.logger.finalize("success")
    if best.best_model_path:
        kept = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
        module.load_state_dict(kept["state_dict"])
    module.to("cpu")
    return FitResult(history.frame(), event_files(run_dir))


def event_files(run_dir: Path) -> dict[str, bytes]:
    """Read TensorBoard's files of a run, by name."""
    return {path.name: path.read_bytes() for path in sorted(run_dir.rglob("events.out.*"))}


def _trainer(settings, run_dir, callbacks, validated, placement) -> L.Trainer:
    config = settings.training
    prepare_allocator(config)
    device = choose_device(config.device)
    precision = lightning_precision(config, device)
    mixed = [] if precision == "32-true" else [_Mixed(precision, device.type)]
    log.info("Computing on %s, in %s.", describe(device), ARITHMETIC[precision])
    return L.Trainer(
        max_epochs=config.epochs,
        accelerator=device.type,
        devices=placement.devices,
        num_nodes=placement.n_hosts,
        strategy=placement.strategy,
        use_distributed_sampler=False,  # ranks have parts of each batch
        accumulate_grad_batches=config.gradient_accumulation_steps,
        gradient_clip_val=config.max_grad_norm,
        callbacks=callbacks,
        logger=placement.writes
        and TensorBoardLogger(run_dir, name="", version="tensorboard", default_hp_metric=False),
        plugins=[SafeCheckpointIO(), *(placement.plugins or [single_process()]), *mixed],
        default_root_dir=run_dir,
        limit_val_batches=1.0 if validated else 0,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        enable_progress_bar=False,  # ours is none that Lightning knows
        enable_model_summary=False,
        log_every_n_steps=1,
    )


class _Mixed(MixedPrecision):
    """Mixed precision; for fp16 it scales the loss, and keeps the scale in checkpoints."""

    def load_state_dict(self, state_dict):
        """Take up the scale, unless the run was in other arithmetic before, on another GPU."""
        if state_dict:
            super().load_state_dict(state_dict)

    def optimizer_step(self, *arguments, **options):
        """Take a step, or lower the scale.

        Raises
        ------
        ValueError
            If gradients are too large for fp16 at any scale: no step would be taken any more.
        """
        result = super().optimizer_step(*arguments, **options)
        if self.scaler is not None and self.scaler.get_scale() < 1:
            raise ValueError(
                "The gradients are too large for fp16 with any scale of the loss; set "
                "mixed_precision to fp32, or choose a lower lr."
            )
        return result


def _checkpoints(settings, run_dir) -> tuple[Checkpoints, Checkpoints]:
    """Return what keeps the best epoch and what keeps the last, the best one in its state.

    They are two because one alone would write the last only where it is a new best.
    """
    # At the very end of an epoch, so that its row of the history is in the checkpoint.
    always = {"dirpath": run_dir, "save_on_train_epoch_end": True}
    monitor, mode = monitored(settings.best_metric, settings.fine_tuning is not None)
    best = Checkpoints(filename="best-{epoch}", monitor=monitor, mode=mode, **always)
    last = Checkpoints(filename=Path(LAST).stem, enable_version_counter=False, **always)
    return best, last


def _early_stopping(settings) -> Patience:
    monitor, mode = monitored(settings.best_metric, settings.fine_tuning is not None)
    return Patience(monitor, mode=mode, patience=settings.training.patience)


def _hyperparameters(settings) -> dict:
    parts = [settings.model, settings.data, settings.unifrac, settings.training]
    if settings.fine_tuning is not None:
        parts.append(settings.fine_tuning)
    return {name: value for part in parts for name, value in part.to_dict().items()}
