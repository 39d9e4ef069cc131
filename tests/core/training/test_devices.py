"""Where is computed, and in what arithmetic, on machines with and without a GPU."""

import functools
import logging

import pytest
import torch

from q2_aam.core import api
from q2_aam.core.model.sample_encoder import SequenceEncoder
from q2_aam.core.options.config import TrainConfig
from q2_aam.core.training import devices
from q2_aam.core.training.devices import choose_device, lightning_precision, prepare_allocator

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def gpu(monkeypatch):
    """Let there be a GPU that works, with bfloat16 or without."""

    def pretend(bf16=True):
        monkeypatch.setattr(devices, "_gpu_problem", lambda: None)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(
            torch.cuda,
            "is_bf16_supported",
            lambda including_emulation=True: including_emulation or bf16,
        )

    return pretend


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize(("wanted", "chosen"), [("auto", GPU), ("cuda", GPU), ("cpu", CPU)])
def test_choose_device_with_a_gpu(gpu, wanted, chosen):
    gpu()
    assert choose_device(wanted) == chosen


@pytest.mark.parametrize("wanted", ["auto", "cpu"])
def test_choose_device_without_a_gpu_says_nothing(no_gpu, caplog, wanted):
    caplog.set_level(logging.INFO)
    assert choose_device(wanted) == CPU
    assert not caplog.messages


def test_choose_device_refuses_a_gpu_that_is_not_there(no_gpu):
    with pytest.raises(ValueError, match=r"no GPU can be used: PyTorch finds no GPU .*'auto' or"):
        choose_device("cuda")


def test_training_refuses_a_gpu_that_is_not_there(no_gpu, simulated, tree_path, quick):
    with pytest.raises(ValueError, match="device is 'cuda', but no GPU can be used"):
        api.pretrain(simulated.table, tree_path, **{**quick, "device": "cuda"})


@pytest.mark.parametrize(
    ("option", "place", "has_bf16", "precision"),
    [
        ("auto", GPU, True, "bf16-mixed"),
        ("auto", GPU, False, "16-mixed"),
        ("auto", CPU, True, "32-true"),
        ("bf16", CPU, True, "bf16-mixed"),
        ("bf16", GPU, False, "bf16-mixed"),
        ("fp32", GPU, True, "32-true"),
    ],
)
def test_lightning_precision(gpu, option, place, has_bf16, precision):
    gpu(bf16=has_bf16)
    assert lightning_precision(TrainConfig(mixed_precision=option), place) == precision


@pytest.mark.parametrize(
    ("before", "option", "after"),
    [
        (None, True, "expandable_segments:True"),
        (None, False, None),
        ("max_split_size_mb:64", True, "max_split_size_mb:64,expandable_segments:True"),
        ("max_split_size_mb:64", False, "max_split_size_mb:64"),
        ("expandable_segments:False", True, "expandable_segments:False"),
    ],
)
def test_prepare_allocator_adds_to_what_the_user_has_set(monkeypatch, before, option, after):
    monkeypatch.setenv(devices.ALLOCATOR, before or "")
    if before is None:
        monkeypatch.delenv(devices.ALLOCATOR)
    prepare_allocator(TrainConfig(use_expandable_segments=option))
    assert devices.os.environ.get(devices.ALLOCATOR) == after


def test_training_prepares_the_allocator_before_it_looks_for_a_gpu(
    monkeypatch, simulated, tree_path, quick
):
    """The allocator reads its options when the GPU is first used."""
    monkeypatch.setenv(devices.ALLOCATOR, "")
    seen = []
    original = devices.choose_device

    def choose(wanted):
        seen.append(devices.os.environ[devices.ALLOCATOR])
        return original(wanted)

    monkeypatch.setattr("q2_aam.core.training.loop.fit.choose_device", choose)
    api.pretrain(simulated.table, tree_path, use_expandable_segments=True, **quick)
    assert seen == ["expandable_segments:True"]


@pytest.fixture
def arithmetic(monkeypatch):
    """Note in what arithmetic the encoder computes in training."""
    seen = set()
    original = SequenceEncoder.read

    def read(self, batch, asvs=None):
        single, context = original(self, batch, asvs)
        if self.training:
            seen.add(single.dtype)
        return single, context

    monkeypatch.setattr(SequenceEncoder, "read", read)
    return seen


@pytest.mark.parametrize(
    ("option", "dtype"),
    [("bf16", torch.bfloat16), ("fp32", torch.float32), ("auto", torch.float32)],
)
def test_mixed_precision_is_the_arithmetic_of_training(
    arithmetic, simulated, tree_path, quick, option, dtype
):
    made = api.pretrain(simulated.table, tree_path, mixed_precision=option, **quick)
    assert arithmetic == {dtype}
    assert {value.dtype for value in made.weights.values()} == {torch.float32}


def same_model(a, b):
    return all(torch.equal(value, b.weights[name]) for name, value in a.weights.items())


@pytest.fixture
def traced(monkeypatch):
    """Compile without a compiler: what PyTorch traces runs as it is, so results are equal."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    return torch._dynamo.utils.counters


def test_compile_model_compiles_and_changes_nothing_else(traced, simulated, tree_path, quick):
    plain = api.pretrain(simulated.table, tree_path, **quick)
    assert not traced["frames"]
    made = api.pretrain(simulated.table, tree_path, compile_model=True, **quick)
    assert traced["frames"]["ok"] > 0
    assert same_model(plain, made)


@pytest.mark.slow
def test_compile_model_with_a_compiler_learns_the_same(simulated, tree_path, quick):
    torch._dynamo.reset()
    plain, made = (
        api.pretrain(simulated.table, tree_path, compile_model=compiles, **quick)
        for compiles in (False, True)
    )
    a, b = plain.history["train/total_loss"], made.history["train/total_loss"]
    assert a.tolist() == pytest.approx(b.tolist(), rel=1e-4)


def test_compile_model_without_a_compiler_ends_in_a_sentence(
    monkeypatch, simulated, tree_path, quick
):
    def fail(graph, inputs):
        raise RuntimeError("No working C++ compiler found\nand more")

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=fail))
    torch._dynamo.reset()
    with pytest.raises(ValueError, match=r"cannot be compiled on this machine \(.*No working C\+"):
        api.pretrain(simulated.table, tree_path, compile_model=True, **quick)


def test_mixed_precision_learns_nearly_the_same(simulated, tree_path, quick):
    half, full = (
        api.pretrain(simulated.table, tree_path, mixed_precision=kind, **quick).history
        for kind in ("bf16", "fp32")
    )
    a, b = half["val/total_loss"], full["val/total_loss"]
    assert not a.equals(b)
    assert a.tolist() == pytest.approx(b.tolist(), rel=0.02)
