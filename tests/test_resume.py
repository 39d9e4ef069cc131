"""Runs that are killed and taken up again end as runs that nothing happened to."""

import contextlib
import os
import random
import signal
from dataclasses import replace
from itertools import takewhile

import pytest
import torch
from training_process import (
    REFUSED,
    AtFileOperation,
    InHalfPrecision,
    Job,
    SignalAtBatch,
    end_unless,
    same_result,
)

from q2_aam.core.artifact import storage
from q2_aam.core.training.loop.run_directory import INTERRUPTED

KINDS = {
    "pretrain": {},
    "train_regressor": {"dropout": 0.2},
    "train_classifier": {"dropout": 0.2},
}
VARIANTS = {
    "every-draw-at-random": (
        "pretrain",
        {"rarefy_each_epoch": True, "asv_sampling": "random", "token_limit": 5},
    ),
    "pairs": ("pretrain", {"stripe_mode": False, "lazy_unifrac": False}),
    "faith-pd": ("pretrain", {"unifrac_metric": "faith_pd"}),
    "plateau": ("train_regressor", {"scheduler": "plateau", "patience": 2, "lr": 0.05}),
    "onecycle": ("train_classifier", {"scheduler": "onecycle"}),
    "accumulation": ("train_regressor", {"gradient_accumulation_steps": 2, "optimizer": "sgd"}),
    "without-validation": ("pretrain", {"test_size": 0.0}),
    "early-stopping": ("pretrain", {"epochs": 12, "patience": 1, "lr": 0.05}),
}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """Return what trains a model without a fault, once for each action and options."""
    done = {}

    def train(action, options):
        key = repr((action, options))
        if key not in done:
            job = Job(tmp_path_factory.mktemp("unbroken"), action, options)
            assert job.finish() == 0
            done[key] = job.model
        return done[key]

    return train


def written_at(folder) -> dict:
    """Return when each checkpoint was written; a run replaces its own at any moment."""
    times = {}
    for path in folder.rglob("*.ckpt"):
        with contextlib.suppress(FileNotFoundError):
            times[path] = path.stat().st_mtime_ns
    return times


def kill_at_random(job, rng) -> bool:
    """Start a run and kill it at some moment; tell whether it was still at work."""
    before = written_at(job.folder)

    def has_another_checkpoint():
        return bool(written_at(job.folder).items() - before.items())

    moments = [
        (job.folder / "started").exists,
        lambda: any(job.folder.glob("runs/*/.lock")),
        lambda: any(job.folder.glob("runs/*/.*.ckpt.*")),
        has_another_checkpoint,
    ]
    (job.folder / "started").unlink(missing_ok=True)
    process = job.start()
    end_unless(process, rng.choice(moments))
    end_unless(process, iter([False] * rng.randrange(40) + [True]).__next__)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def kill_many_times(job, n, seed):
    """Kill a run until it has been killed n times; a run that ends before is left alone."""
    rng = random.Random(seed)
    return sum(kill_at_random(job, rng) for _ in range(n) if not job.model.exists())


@pytest.mark.parametrize("action", KINDS)
def test_killed_runs_end_like_unbroken_ones(unbroken, tmp_path, action):
    job = Job(tmp_path, action, KINDS[action])
    assert kill_many_times(job, 4, seed=action)
    assert job.model.exists() or job.finish() == 0
    assert not same_result(job.model, unbroken(action, KINDS[action]))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_killed_in_every_epoch_ends_like_an_unbroken_one(unbroken, tmp_path, variant):
    """An epoch has two batches, so each process comes to the first batch of the next epoch."""
    action, options = VARIANTS[variant]
    if variant == "pairs":
        import unifrac  # noqa: F401 - what the run needs, in a process of its own
    job = Job(tmp_path, action, options, SignalAtBatch(3, signal.SIGKILL))
    expected = unbroken(action, options)
    ends = list(takewhile(lambda code: code != 0, (job.finish() for _ in range(12))))
    assert ends == [-signal.SIGKILL] * (len(storage.load(expected).history) - 1)
    assert job.log.count("Resuming the run") == len(ends)
    assert not same_result(job.model, expected)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("action", KINDS)
def test_runs_killed_again_and_again_end_like_unbroken_ones(unbroken, tmp_path, action, seed):
    options = {**KINDS[action], "epochs": 10}
    job = Job(tmp_path, action, options)
    assert kill_many_times(job, 15, seed)
    assert job.model.exists() or job.finish() == 0
    assert not same_result(job.model, unbroken(action, options))


def killed_at_operation(folder, n, unbroken):
    """Kill a run at its n-th change of a file, finish it, and compare; False if it has fewer."""
    options = {"epochs": 3}
    job = Job(folder, "pretrain", options, AtFileOperation(n))
    if job.finish() == 0:
        return False
    assert not job.model.exists()
    assert replace(job, fault=None).finish() == 0
    assert not same_result(job.model, unbroken("pretrain", options))
    return True


@pytest.mark.parametrize("n", [1, 4, 7, 8, 9, 10, 13])
def test_a_run_killed_at_a_file_operation_ends_like_an_unbroken_one(unbroken, tmp_path, n):
    assert killed_at_operation(tmp_path, n, unbroken)


@pytest.mark.slow
def test_a_run_killed_at_each_file_operation_ends_like_an_unbroken_one(unbroken, tmp_path):
    n, more = 0, True
    while more:
        n += 1
        (tmp_path / str(n)).mkdir()
        more = killed_at_operation(tmp_path / str(n), n, unbroken)
    assert n > 15


def test_a_finished_run_stays_finished_where_it_is_moved(tmp_path):
    job = Job(tmp_path)
    assert job.finish() == 0
    again = replace(job, folder=tmp_path / "again")
    again.folder.mkdir()
    job.runs.rename(again.runs)
    assert again.finish() == 0
    assert "Resuming the run" in (again.folder / "log.txt").read_text()
    assert not same_result(job.model, again.model)


def test_sigterm_ends_the_run_with_a_way_to_go_on(unbroken, tmp_path):
    options = {"epochs": 12}
    job = Job(tmp_path, options=options)
    process = job.start()
    end_unless(process, lambda: any(job.runs.glob("*/last.ckpt")))
    os.kill(process.pid, signal.SIGTERM)
    process.join()
    assert process.exitcode == REFUSED
    assert f"kept in {job.run} as it was after its last" in job.refusal
    assert "the same command with the same Q2_AAM_RUN_DIR" in job.refusal
    assert job.finish() == 0
    assert not same_result(job.model, unbroken("pretrain", options))


@pytest.mark.parametrize("test_size", [0.0, 0.2])
def test_every_epoch_can_be_gone_on_from_even_if_it_is_no_better(tmp_path, test_size):
    """With a learning rate of next to nothing the first epoch stays the best."""
    job = Job(tmp_path, options={"lr": 1e-12, "epochs": 3, "test_size": test_size})
    assert job.finish() == 0
    last = torch.load(job.run / "last.ckpt", weights_only=True)
    assert last["epoch"] == 2
    kept = sorted(path.name for path in job.run.glob("*.ckpt"))
    assert kept == (["best-epoch=0.ckpt", "last.ckpt"] if test_size else ["last.ckpt"])


INTERRUPTED_AT = {
    "in-the-first-epoch": ("pretrain", {}, (4,)),
    "in-a-later-epoch": ("pretrain", {}, (13,)),
    "again-and-again": ("train_regressor", {"dropout": 0.2}, (3, 7, 4, 12)),
    "within-a-step": ("train_regressor", {"gradient_accumulation_steps": 3}, (4,)),
    "after-a-step": ("train_classifier", {"gradient_accumulation_steps": 3}, (8,)),
    "momentum": ("pretrain", {"optimizer": "sgd", "scheduler": "onecycle"}, (13,)),
    "every-draw-at-random": ("train_classifier", {"rarefy_each_epoch": True}, (14,)),
    "without-validation": ("pretrain", {"test_size": 0.0}, (15,)),
}


@pytest.mark.parametrize("case", INTERRUPTED_AT)
def test_sigterm_within_an_epoch_loses_no_step(unbroken, tmp_path, case):
    action, options, batches = INTERRUPTED_AT[case]
    options = {**options, "batch_size": 4}
    job = Job(tmp_path, action, options)
    for batch in batches:
        asked = replace(job, fault=SignalAtBatch(batch))
        assert asked.finish() == REFUSED
        assert f"kept in {job.run} as it was after its last step" in job.refusal
    assert job.finish() == 0
    assert "Resuming after" in job.log
    assert not (job.run / INTERRUPTED).exists()
    assert not same_result(job.model, unbroken(action, options))


@pytest.mark.parametrize("batches", [(2, 3, 9), (14,)], ids=["while-the-scale-falls", "later"])
def test_sigterm_in_fp16_keeps_the_scale_of_the_loss(tmp_path, batches):
    """Of the step, of gathered gradients and of the epochs before."""
    options = {"batch_size": 4, "gradient_accumulation_steps": 2, "epochs": 3}
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    whole = Job(tmp_path / "whole", options=options, fault=InHalfPrecision())
    assert whole.finish() == 0
    job = replace(whole, folder=tmp_path / "broken")
    for batch in batches:
        assert replace(job, fault=InHalfPrecision(SignalAtBatch(batch))).finish() == REFUSED
    assert job.finish() == 0
    assert "mixed precision (fp16)" in job.log
    assert "Resuming after" in job.log
    assert not same_result(job.model, whole.model)


def test_a_run_goes_on_in_other_arithmetic(tmp_path):
    """On another GPU than before, auto may choose otherwise: bf16 has no scale to go on with."""
    job = Job(tmp_path, options={"batch_size": 4, "mixed_precision": "bf16"})
    assert replace(job, fault=SignalAtBatch(14)).finish() == REFUSED
    assert replace(job, fault=InHalfPrecision()).finish() == 0
    assert "Resuming after" in job.log


def test_a_run_killed_after_sigterm_goes_on_from_there_again(unbroken, tmp_path):
    options = {"batch_size": 4}
    job = Job(tmp_path, options=options)
    assert replace(job, fault=SignalAtBatch(14)).finish() == REFUSED
    left = (job.run / INTERRUPTED).read_bytes()
    process = job.start()
    end_unless(process, lambda: "Resuming after" in job.log)
    process.kill()
    process.join()
    assert not (job.run / INTERRUPTED).exists() or (job.run / INTERRUPTED).read_bytes() == left
    assert job.model.exists() or job.finish() == 0
    assert not same_result(job.model, unbroken("pretrain", options))


def test_changed_options_start_afresh_and_say_so(unbroken, tmp_path):
    job = Job(tmp_path, options={"epochs": 2}, fault=SignalAtBatch(3, signal.SIGKILL))
    assert job.finish() == -signal.SIGKILL
    first = job.run
    other = Job(tmp_path / "other", options={"epochs": 2, "lr": 2e-3})
    other.folder.mkdir()
    job.runs.rename(other.runs)
    assert other.finish() == 0
    assert "Inputs or options differ from those of the unfinished run in" in other.log
    assert first.name in other.log
    assert "Resuming the run" not in other.log
    assert not same_result(other.model, unbroken("pretrain", other.options))
