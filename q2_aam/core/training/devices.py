"""Where to compute, and in what arithmetic."""

import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from q2_aam.core.options.config import TrainConfig

log = logging.getLogger(__name__)

ALLOCATOR = "PYTORCH_CUDA_ALLOC_CONF"
PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
"""Lightning's name of each arithmetic."""


def choose_device(wanted: str) -> torch.device:
    """Return the device to compute on.

    Parameters
    ----------
    wanted : {'auto', 'cpu', 'cuda', 'mps'}
        With auto, a GPU that is there but cannot be used is passed over with a warning. GPUs of
        AMD are cuda, too: PyTorch for ROCm calls them so. An Apple GPU is mps.

    Raises
    ------
    ValueError
        If a GPU is asked for and none can be used.
    """
    if wanted == "cpu":
        return torch.device("cpu")
    look = {"cuda": _gpu_problem, "mps": _apple_problem}
    problems = {}
    for kind in look if wanted == "auto" else [wanted]:
        problems[kind] = look[kind]()
        if problems[kind] is None:
            return torch.device(kind)
    if wanted != "auto":
        raise ValueError(
            f"device is '{wanted}', but no GPU can be used: {problems[wanted]}; choose 'auto' or "
            "'cpu'."
        )
    there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    for kind, problem in problems.items():
        if there[kind]():
            log.warning(
                "There is a GPU, but it cannot be used: %s. The CPU is used instead.", problem
            )
    return torch.device("cpu")


def _gpu_problem() -> str | None:
    if not torch.cuda.is_available():
        return "PyTorch finds no GPU on this machine"
    try:
        torch.zeros(1, device="cuda").add_(1).item()
    except (RuntimeError, AssertionError) as error:  # the latter from a build without CUDA
        return (str(error).splitlines() or [type(error).__name__])[0]
    return None


def _apple_problem() -> str | None:
    if not torch.backends.mps.is_available():
        return "PyTorch finds no Apple GPU on this machine"
    if platform.processor() not in ("arm", "arm64"):
        return "Lightning uses the GPUs of Apple silicon only"
    try:
        _try_operations(torch.device("mps"))
    except (RuntimeError, TypeError) as error:
        return (str(error).splitlines() or [type(error).__name__])[0]
    return None


def _try_operations(device: torch.device) -> None:
    """Do on a device what a model does, with a gradient: not every device has every operation."""
    tokens = torch.arange(8, dtype=torch.uint8, device=device).masked_fill(
        torch.arange(8, device=device) > 5, 0
    )
    table = torch.ones(8, 4, device=device, requires_grad=True)
    x = F.embedding(tokens.int(), table).unfold(0, 4, 2).flatten(1)[None, None]  # [1, 1, 3, 16]
    mask = torch.tensor([True, True, False], device=device)[None, None, None]
    y = F.scaled_dot_product_attention(x, x, x, attn_mask=mask)
    F.gelu(F.layer_norm(y, y.shape[-1:])).amax(dim=2).sum().backward()
    table.grad.sum().item()


def describe(device: torch.device) -> str:
    """Name a device as its owner knows it."""
    if device.type == "cuda":
        kind = "CUDA" if torch.version.hip is None else "ROCm"
        return f"GPU: {torch.cuda.get_device_name(device)} ({kind})"
    if device.type == "mps":
        return "GPU: Apple (mps)"
    threads = torch.get_num_threads()
    return f"CPU: {threads} thread{'s' if threads > 1 else ''}"


def lightning_precision(config: TrainConfig, device: torch.device) -> str:
    """Return Lightning's name of the arithmetic to use.

    Raises
    ------
    ValueError
        If fp16 is asked for where it cannot be.
    """
    wanted = config.mixed_precision
    if wanted == "auto":
        wanted = _fast_arithmetic(device)
    if wanted == "fp16" and device.type != "cuda":
        raise ValueError(
            f"mixed_precision is 'fp16', which needs an NVIDIA or AMD GPU, but this run computes "
            f"on {describe(device)}; choose 'auto', 'fp32' or 'bf16'."
        )
    return PRECISIONS[wanted]


def _fast_arithmetic(device: torch.device) -> str:
    """Return what is fast and safe on a device; a GPU that only emulates bf16 is slow with it."""
    if device.type != "cuda":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def gpu_random_state(device: torch.device) -> Tensor | None:
    """Return the state of a GPU's random numbers; None for a CPU."""
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else None


def set_gpu_random_state(device: torch.device, state: Tensor | None) -> None:
    """Put the state of a GPU's random numbers back, where it is of a GPU of this kind."""
    if state is None:
        return
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    elif device.type == "mps":
        torch.mps.set_rng_state(state)


def prepare_allocator(config: TrainConfig) -> None:
    """Set the GPU allocator's options; has an effect before the first use of the GPU only.

    What the user has set in the environment stays.
    """
    mine = os.environ.get(ALLOCATOR, "")
    if config.use_expandable_segments and "expandable_segments" not in mine:
        os.environ[ALLOCATOR] = ",".join(filter(None, [mine, "expandable_segments:True"]))


@contextmanager
def device_of_run(config: TrainConfig) -> Iterator[None]:
    """Prepare the device that a run is to use; one on the processor sees no GPU meanwhile.

    PyTorch asks a GPU for its state also where nothing is computed on it, in its optimizers for
    example, and one that cannot be used would end the run.

    Raises
    ------
    ValueError
        If a GPU is asked for and none can be used, or an arithmetic that the device has not.
    """
    prepare_allocator(config)
    device = choose_device(config.device)
    lightning_precision(config, device)
    if device.type == "cuda":
        yield
        return
    seen = torch.cuda.is_available, torch.cuda.device_count
    torch.cuda.is_available, torch.cuda.device_count = (lambda: False), (lambda: 0)
    try:
        yield
    finally:
        torch.cuda.is_available, torch.cuda.device_count = seen


@contextmanager
def compiled(model: nn.Module, config: TrainConfig) -> Iterator[None]:
    """Compile the nucleotide level of a model where the options ask for it.

    Raises
    ------
    ValueError
        If it cannot be compiled here, for lack of a compiler for example.
    """
    if not config.compile_model:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException  # takes a while, and few compile

    # It warns of each place where it hands over to Python, which is meant.
    logging.getLogger("torch._dynamo").setLevel(logging.ERROR)
    model.base_model.asv_encoder.compile(dynamic=True)
    try:
        yield
    except TorchDynamoException as error:
        reason = " ".join(str(error).splitlines()[:2]) or type(error).__name__
        raise ValueError(
            f"The model cannot be compiled on this machine ({reason}): leave compile_model out, "
            "or install what is missing."
        ) from error


@contextmanager
def memory_explained(way_out: str) -> Iterator[None]:
    """End with a sentence where memory runs out.

    Parameters
    ----------
    way_out : str
        What the user can do about it, a clause.

    Raises
    ------
    ValueError
        In the place of the error of PyTorch or numpy.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        place = "The GPU" if isinstance(error, torch.cuda.OutOfMemoryError) else "The machine"
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{place} has not enough memory: {way_out} ({reason})") from error


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return "DefaultCPUAllocator" in str(error)  # PyTorch has no class for it on a processor


def less_memory(batch_size: int, token_limit: int) -> str:
    """Name the options of training that take less memory, and what they are now."""
    return (
        f"turn gradient_checkpointing on, set asv_chunk_size (64, for example), or lower "
        f"batch_size (now {batch_size}) or token_limit (now {token_limit}); "
        "gradient_accumulation_steps makes up for smaller batches"
    )
