"""Training steps outside of the loop, so that their parts can be timed and counted."""

import time
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from q2_aam.core.data.mini_batches import Batch, BatchDataset, plan_batches
from q2_aam.core.data.sample_table import SampleTable
from q2_aam.core.model.predictor import build, save_memory
from q2_aam.core.model.specification import ENCODER
from q2_aam.core.training.loop.batch_parts import in_parts
from q2_aam.core.training.loop.optimizer import make_optimizer
from q2_aam.core.training.preparation.prepared_run import prepare
from q2_aam.core.training.preparation.run_input import RunInput
from q2_aam.core.training.preparation.run_settings import settings_of

LARGE = 2048
"""Rows and columns of the square matrices whose product tells what the machine can do."""


@dataclass
class Steps:
    """Pre-training steps of one table, timed by their parts.

    Parameters
    ----------
    table : SampleTable
    tree : path
    options : dict
        Options of pre-training by name.
    parts : int
        Parts of the samples of a batch that are computed one after another.
    """

    table: SampleTable
    tree: str
    options: dict
    parts: int = 1
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self):
        self.settings = settings_of(ENCODER, {"test_size": 0.0, **self.options})
        inputs = RunInput(ENCODER, self.settings, self.table, phylogeny=str(self.tree))
        torch.manual_seed(inputs.seed)
        run = prepare(inputs)
        self.model = build(run.spec)
        save_memory(self.model, self.settings.training)
        self.comparison, self.objective = run.phylogenetic.comparison, run.objective
        self.optimizer = make_optimizer(self.model, self.settings.training)
        part, seed = run.data.training(0), inputs.seed
        rng = np.random.default_rng(seed)
        plan = plan_batches(part.table.richness, self.settings.training.batch_size, rng)
        self.batches = BatchDataset(
            part.table, plan, self.settings.data, seed=(seed, 0), masked=True,
            unifrac=self._timed_targets(part.unifrac), references=run.data.references, join=True,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.batches)

    def batch(self, i: int) -> Batch:
        """Make a batch, counting its time as data, and that of its targets as UniFrac."""
        before = self.seconds.get("UniFrac", 0.0)
        start = time.perf_counter()
        batch = self.batches[i]
        unifrac = self.seconds.get("UniFrac", 0.0) - before
        self._add("data", time.perf_counter() - start - unifrac)
        return batch

    def step(self, batch: Batch) -> None:
        """Take one step of the optimizer."""
        with self._part("forward"):
            loss = self.loss(batch)
        with self._part("backward"):
            loss.backward()
        with self._part("optimizer"):
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)

    def loss(self, batch: Batch) -> torch.Tensor:
        """Return the loss of a batch."""
        if self.parts == 1:
            output = self.model(batch)
        else:
            output = in_parts(self.model, batch, None, self.parts)
        return self.objective(batch, output, self.comparison(self.model, batch, output)).total

    def flops(self, batch: Batch) -> int:
        """Count the floating-point operations of a step's matrix products."""
        with FlopCounterMode(display=False) as counter:
            self.loss(batch).backward()
        self.optimizer.zero_grad(set_to_none=True)
        return counter.get_total_flops()

    def _timed_targets(self, targets):
        def timed(rows, counts):
            with self._part("UniFrac"):
                return targets(rows, counts)

        return timed

    def _part(self, name):
        return _Stopwatch(self, name)

    def _add(self, name, seconds):
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds


@dataclass
class _Stopwatch:
    steps: Steps
    name: str
    start: float = 0.0

    def __enter__(self):
        self.start = time.perf_counter()

    def __exit__(self, *_):
        self.steps._add(self.name, time.perf_counter() - self.start)


def product_speed(rows: int = LARGE, inner: int = LARGE, columns: int = LARGE) -> float:
    """Return the FLOP/s of a float32 matrix product, timed once after one that is not."""
    a, b = torch.rand(rows, inner), torch.rand(inner, columns)
    a @ b
    start = time.perf_counter()
    a @ b
    return 2 * rows * inner * columns / (time.perf_counter() - start)


def n_parameters(model: nn.Module) -> int:
    """Count the numbers that training changes."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
