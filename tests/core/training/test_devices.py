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
from q2_aam.core.training.loop import fit

CPU, GPU, APPLE = torch.device("cpu"), torch.device("cuda"), torch.device("mps")


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
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def apple(monkeypatch, no_gpu):
    """Let this be a computer of Apple's, whose GPU works as far as it is tried."""

    def pretend(processor="arm", error=None):
        def try_operations(device):
            assert device == APPLE
            if error is not None:
                raise error

        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
        monkeypatch.setattr(devices.platform, "processor", lambda: processor)
        monkeypatch.setattr(devices, "_try_operations", try_operations)

    return pretend


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


@pytest.mark.parametrize(("wanted", "chosen"), [("auto", APPLE), ("mps", APPLE), ("cpu", CPU)])
def test_choose_device_on_an_apple_computer(apple, caplog, wanted, chosen):
    apple()
    assert choose_device(wanted) == chosen
    assert not caplog.messages


@pytest.mark.parametrize(
    ("pretence", "reason"),
    [
        ({"processor": "i386"}, "Lightning uses the GPUs of Apple silicon only"),
        (
            {"error": NotImplementedError("The operator 'x' is not\nmore")},
            "The operator 'x' is not",
        ),
        ({"error": TypeError("Cannot convert a MPS Tensor to float64")}, "Cannot convert a MPS"),
    ],
)
def test_an_apple_gpu_that_cannot_be_used_is_passed_over(apple, caplog, pretence, reason):
    apple(**pretence)
    assert choose_device("auto") == CPU
    assert f"There is a GPU, but it cannot be used: {reason}" in caplog.text
    with pytest.raises(ValueError, match=f"^device is 'mps', but no GPU can be used: {reason}"):
        choose_device("mps")


def test_choose_device_refuses_an_apple_gpu_that_is_not_there(no_gpu):
    with pytest.raises(ValueError, match=r"'mps', but no GPU can be used: PyTorch finds no Apple"):
        choose_device("mps")


def test_what_is_tried_on_a_gpu_works_on_a_cpu():
    devices._try_operations(CPU)


@pytest.mark.parametrize(("hip", "kind"), [(None, "CUDA"), ("6.4", "ROCm")])
def test_describe_a_gpu(monkeypatch, hip, kind):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Fast One")
    monkeypatch.setattr(torch.version, "hip", hip)
    assert devices.describe(GPU) == f"GPU: Fast One ({kind})"


@pytest.mark.parametrize(("threads", "said"), [(1, "CPU: 1 thread"), (4, "CPU: 4 threads")])
def test_describe_other_devices(monkeypatch, threads, said):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert devices.describe(CPU) == said
    assert devices.describe(APPLE) == "GPU: Apple (mps)"


@pytest.mark.parametrize("device", [GPU, APPLE])
def test_random_numbers_of_a_gpu_are_put_back(monkeypatch, device):
    state = torch.arange(3)
    kept = {"state": state}
    for module in (torch.cuda, torch.mps):
        monkeypatch.setattr(module, "get_rng_state", lambda *device: kept["state"])
        monkeypatch.setattr(module, "set_rng_state", lambda new, *device: kept.update(state=new))
    taken = devices.gpu_random_state(device)
    kept["state"] = None
    devices.set_gpu_random_state(device, None)
    assert kept["state"] is None
    devices.set_gpu_random_state(CPU, taken)
    assert kept["state"] is None
    devices.set_gpu_random_state(device, taken)
    assert kept["state"] is state
    assert devices.gpu_random_state(CPU) is None


@pytest.mark.parametrize(
    ("option", "place", "has_bf16", "precision"),
    [
        ("auto", GPU, True, "bf16-mixed"),
        ("auto", GPU, False, "16-mixed"),
        ("auto", CPU, True, "32-true"),
        ("bf16", CPU, True, "bf16-mixed"),
        ("bf16", GPU, False, "bf16-mixed"),
        ("fp32", GPU, True, "32-true"),
        ("fp16", GPU, True, "16-mixed"),
        ("auto", APPLE, False, "32-true"),
    ],
)
def test_lightning_precision(gpu, option, place, has_bf16, precision):
    gpu(bf16=has_bf16)
    assert lightning_precision(TrainConfig(mixed_precision=option), place) == precision


def test_fp16_is_refused_where_it_cannot_be(simulated, tree_path, quick):
    said = (
        r"^mixed_precision is 'fp16', which needs an NVIDIA or AMD GPU, but .* on CPU: \d+ thread"
    )
    with pytest.raises(ValueError, match=said):
        api.pretrain(simulated.table, tree_path, mixed_precision="fp16", **quick)
    with pytest.raises(ValueError, match="computes on GPU: Apple"):
        lightning_precision(TrainConfig(mixed_precision="fp16"), APPLE)


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


@pytest.fixture
def half(monkeypatch):
    """Let training compute in fp16 here, as it does on GPUs; note the scales of the loss."""
    monkeypatch.setattr(fit, "lightning_precision", lambda config, device: "16-mixed")
    scales, original = [], torch.amp.GradScaler.update

    def update(self, *arguments):
        before = self.get_scale()
        original(self, *arguments)
        scales.append((before, self.get_scale()))

    monkeypatch.setattr(torch.amp.GradScaler, "update", update)
    return scales


@pytest.mark.filterwarnings("error:.*lr_scheduler.step")
@pytest.mark.parametrize("action", [api.train_regressor, api.train_classifier])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_fp16_learns_nearly_the_same(
    half, arithmetic, simulated, tree_path, quick, optimizer, action, monkeypatch
):
    """Also where the first steps are left out as the loss is scaled too much at first."""
    column = "age" if action is api.train_regressor else "site"
    options = {
        **quick, "phylogeny": tree_path, "optimizer": optimizer, "stored_samples": 0, "epochs": 3,
    }  # fmt: skip
    made = action(simulated.table, simulated.metadata[column], **options)
    assert torch.float16 in arithmetic
    assert half[0] == (65536.0, 32768.0)
    assert half[-1][0] == half[-1][1] >= 4096
    assert {value.dtype for value in made.weights.values()} == {torch.float32}
    monkeypatch.setattr(fit, "lightning_precision", lightning_precision)
    full = action(simulated.table, simulated.metadata[column], **options)
    assert made.history["learning_rate"].equals(full.history["learning_rate"])
    a, b = made.history["val/total_loss"], full.history["val/total_loss"]
    assert a.tolist() == pytest.approx(b.tolist(), rel=0.05)


def test_max_grad_norm_bounds_gradients_without_the_scale_of_fp16(
    half, simulated, tree_path, quick, monkeypatch
):
    """A step of SGD is the learning rate times the norm at the most."""
    options = {**quick, "optimizer": "sgd", "max_grad_norm": 1e-3, "epochs": 1, "test_size": 0.0}
    norms, original = [], torch.optim.SGD.step

    def step(self, *arguments, **named):
        gradients = [p.grad for group in self.param_groups for p in group["params"]]
        norms.append(float(torch.cat([g.flatten() for g in gradients if g is not None]).norm()))
        return original(self, *arguments, **named)

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    api.pretrain(simulated.table, tree_path, batch_size=4, **options)
    assert 0 < len(norms) < len(half)
    assert max(norms) == pytest.approx(1e-3, rel=1e-3)


def test_fp16_with_gradients_that_are_never_finite_ends_in_a_sentence(
    half, simulated, tree_path, quick, monkeypatch
):
    original = SequenceEncoder.distance

    def distance(self, a, b):
        return original(self, a, b) + 0 * (a[:, None] - b[None]).square().sum(-1).sqrt()

    monkeypatch.setattr(SequenceEncoder, "distance", distance)
    with pytest.raises(ValueError, match=r"too large for fp16 with any scale .* to fp32, or"):
        api.pretrain(simulated.table, tree_path, **{**quick, "epochs": 20})


def test_a_loss_that_is_not_finite_in_fp16_names_the_other_arithmetic(
    half, simulated, tree_path, quick, monkeypatch
):
    monkeypatch.setattr(SequenceEncoder, "distance", lambda self, a, b: (a @ b.T) * torch.inf)
    with pytest.raises(ValueError, match=r"max_grad_norm\. Or set mixed_precision to fp32\.$"):
        api.pretrain(simulated.table, tree_path, **quick)


def test_mixed_precision_learns_nearly_the_same(simulated, tree_path, quick):
    half, full = (
        api.pretrain(simulated.table, tree_path, mixed_precision=kind, **quick).history
        for kind in ("bf16", "fp32")
    )
    a, b = half["val/total_loss"], full["val/total_loss"]
    assert not a.equals(b)
    assert a.tolist() == pytest.approx(b.tolist(), rel=0.02)
