"""Runs in processes of their own, for the tests that kill them.

A fork server imports PyTorch once, so a run that is killed costs little more than its steps.
"""

import logging
import multiprocessing
import os
import resource
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch

from q2_aam.core import api
from q2_aam.core.artifact import storage
from q2_aam.core.data.simulate import SimulationConfig, simulate
from q2_aam.core.training.loop import fit
from q2_aam.core.training.loop.lightning_module import TrainingModule

REFUSED = 3
OPTIONS = {
    "embedding_dim": 8,
    "attention_heads": 2,
    "attention_layers": 1,
    "epochs": 4,
    "rarefy_depth": 100,
    "lr": 1e-3,
    "device": "cpu",
}
FILE_EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate"}

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["q2_aam.core.api", "q2_aam.core.data.simulate"])


@dataclass(frozen=True)
class Job:
    """What a process is to do, and what is to go wrong.

    Parameters
    ----------
    folder : Path
        Where its files are: the run directory, the model, the log, the refusal.
    action : str
        A function of the core's api.
    options : dict
    fault : callable, optional
        Is called in the process before anything else.
    devices : int, optional
        How many ranks train together.
    layout : Layout, optional
        Where they are, instead.
    """

    folder: Path
    action: str = "pretrain"
    options: dict = field(default_factory=dict)
    fault: object = None
    devices: int | None = None
    layout: object = None

    @property
    def runs(self) -> Path:
        """The root of the run directories."""
        return self.folder / "runs"

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def log(self) -> str:
        """What was logged."""
        return (self.folder / "log.txt").read_text()

    @property
    def refusal(self) -> str:
        """Why the run ended with an error."""
        return (self.folder / "refusal.txt").read_text()

    @property
    def run(self) -> Path:
        """The directory of the run, made by it."""
        (found,) = self.runs.glob("*-*")
        return found

    def start(self):
        """Start the process."""
        process = _processes.Process(target=work, args=(self,))
        process.start()
        return process

    def finish(self) -> int:
        """Let the process end by itself; return its exit code."""
        process = self.start()
        process.join()
        return process.exitcode


def work(job: Job) -> None:
    """Do a job, in the process of its own."""
    logging.basicConfig(filename=job.folder / "log.txt", level=logging.INFO, force=True)
    torch.set_num_threads(1)
    (job.folder / "started").touch()
    if job.fault is not None:
        job.fault(job)
    try:
        model = train(job)
    except ValueError as error:
        (job.folder / "refusal.txt").write_text(str(error))
        sys.exit(REFUSED)
    storage.save(model, job.model)


def train(job: Job):
    """Train what a job says, on simulated data."""
    data = simulate(SimulationConfig(n_samples=24, n_features=40, n_bp=40, depth=200, seed=1))
    tree = job.folder / "tree.nwk"
    tree.write_text(data.newick)
    monitor = api.Monitor(run_dir=job.runs, layout=job.layout or api.Layout(job.devices))
    options = {**OPTIONS, **job.options, "monitor": monitor}
    if job.action == "pretrain":
        return api.pretrain(data.table, tree, **options)
    if job.action == "train_regressor":
        column = data.metadata["age"]
        return api.train_regressor(data.table, column, phylogeny=tree, **options)
    return api.train_classifier(data.table, data.metadata["site"], **options)


def die() -> None:
    """End this process as kill -9 does."""
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class AtFileOperation:
    """Do something at the n-th time that a file is opened for writing, renamed or removed.

    Only files of the run count, or of the model. Python tells of each just before it happens.
    """

    n: int
    where: str = "runs"
    then: object = die

    def __call__(self, job: Job) -> None:
        """Wait for it."""
        root, seen = str(job.folder / self.where), [0]

        def watch(event, arguments):
            if event not in FILE_EVENTS or not _changes(event, arguments):
                return
            if root not in str(arguments[0]) and f".{self.where}." not in str(arguments[0]):
                return
            seen[0] += 1
            if seen[0] == self.n:
                self.then()

        sys.addaudithook(watch)


def _changes(event, arguments) -> bool:
    return event != "open" or bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))


@dataclass(frozen=True)
class SignalAtBatch:
    """A signal in the middle of training, at the n-th batch of this process."""

    n: int
    signal: int = signal.SIGTERM

    def __call__(self, job: Job) -> None:
        """Send it to this process when it is there."""
        train_on, seen = TrainingModule.training_step, []

        def training_step(module, batch, index):
            seen.append(index)
            if len(seen) == self.n:
                os.kill(os.getpid(), self.signal)
            return train_on(module, batch, index)

        TrainingModule.training_step = training_step


@dataclass(frozen=True)
class InHalfPrecision:
    """Training computes in fp16, as on GPUs that have no bf16; another fault may come beside."""

    fault: object = None

    def __call__(self, job: Job) -> None:
        """Choose it in this process whatever the options are."""
        fit.lightning_precision = lambda config, device: "16-mixed"
        if self.fault is not None:
            self.fault(job)


def fill_disk() -> None:
    """From now on, no file can grow beyond some bytes, as on a disk that is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))


def end_unless(process, happened, polls: int = 100_000) -> None:
    """Wait until something has happened in a process, or the process has ended."""
    for _ in range(polls):
        if happened() or not process.is_alive():
            return
        process.join(0.002)
    process.kill()
    raise TimeoutError("what was waited for has not happened")


def same_result(a: Path, b: Path) -> list[str]:
    """Name what differs between two saved models: weights bit by bit, and the history."""
    first, second = storage.load(a), storage.load(b)
    differing = [
        name
        for name, value in first.weights.items()
        if not torch.equal(value, second.weights[name])
    ]
    rows = [model.history.drop(columns="seconds") for model in (first, second)]
    return differing + ([] if rows[0].equals(rows[1]) else ["history"])
