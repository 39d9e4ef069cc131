"""How ranks stop: a signal to one of them ends all after the same step."""

import signal
import threading

from lightning.pytorch.utilities.exceptions import SIGTERMException

from q2_aam.core.training.loop.resume import Interruption

_signalled = threading.Event()


def listen() -> None:
    """Have the signals that ask a process to end set a mark, and nothing else."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _signalled.set())


def forget() -> None:
    """Take the mark away."""
    _signalled.clear()


class CommonInterruption(Interruption):
    """Writes where an epoch was left, by one rank, after a step at which all of them are.

    Ranks learn of each other's signals with the values that they add up in each step: to talk to
    each other within a signal's handler could have them wait for ever.

    Parameters
    ----------
    directory : Path
        Of the run.
    """

    def on_train_epoch_start(self, trainer, pl_module):
        """Stop between two epochs, or begin one."""
        if pl_module.stops:
            raise SIGTERMException
        super().on_train_epoch_start(trainer, pl_module)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        """Put everything back as it was before this step; tell the others of a signal."""
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        pl_module.asked_to_stop = _signalled.is_set()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        """Note what was logged; stop after a step of the optimizer."""
        self._logged.append(pl_module.latest)
        last = batch_idx + 1 == trainer.num_training_batches  # then an epoch is complete soon
        within_step = len(self._logged) % trainer.accumulate_grad_batches
        if pl_module.stops and self._left is None and not within_step and not last:
            if trainer.is_global_zero:
                self._write(trainer, pl_module)
            trainer.strategy.barrier()
            raise SIGTERMException

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        """Tell the others of a signal."""
        pl_module.asked_to_stop = _signalled.is_set()

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, *_):
        """Stop within a validation; the epoch before it is what is kept."""
        if pl_module.stops and batch_idx + 1 < sum(trainer.num_val_batches):
            raise SIGTERMException
