"""Where to compute, and in what arithmetic."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from q2_aam.core.options.config import TrainConfig

log = logging.getLogger(__name__)

ALLOCATOR = "PYTORCH_CUDA_ALLOC_CONF"


def choose_device(wanted: str) -> torch.device:
    """Return the device to compute on.

    Parameters
    ----------
    wanted : {'auto', 'cpu', 'cuda'}
        With auto, a GPU that is there but cannot be used is passed over with a warning.

    Raises
    ------
    ValueError
        If a GPU is asked for and none can be used.
    """
    if wanted == "cpu":
        return torch.device("cpu")
    problem = _gpu_problem()
    if problem is None:
        return torch.device("cuda")
    if wanted == "cuda":
        raise ValueError(
            f"device is 'cuda', but no GPU can be used: {problem}; choose 'auto' or 'cpu'."
        )
    if torch.cuda.is_available():
        log.warning("There is a GPU, but it cannot be used: %s. The CPU is used instead.", problem)
    return torch.device("cpu")


def _gpu_problem() -> str | None:
    if not torch.cuda.is_available():
        return "PyTorch finds no GPU on this machine"
    try:
        torch.zeros(1, device="cuda").add_(1).item()
    except (RuntimeError, AssertionError) as error:  # the latter from a build without CUDA
        return (str(error).splitlines() or [type(error).__name__])[0]
    return None


def lightning_precision(config: TrainConfig, device: torch.device) -> str:
    """Return Lightning's name of the arithmetic to use."""
    if config.mixed_precision == "auto":
        bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
    else:
        bf16 = config.mixed_precision == "bf16"
    return "bf16-mixed" if bf16 else "32-true"


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
        If a GPU is asked for and none can be used.
    """
    prepare_allocator(config)
    if choose_device(config.device).type == "cuda":
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
