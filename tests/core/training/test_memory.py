"""How much memory a step takes by the formula, and how batches are cut by it."""

from dataclasses import replace

import pytest
import torch
from documents import ROOT, rows
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.memory import estimate, table_for_gpus
from q2_aam.core import api
from q2_aam.core.options.config import ModelConfig, TrainConfig
from q2_aam.core.training.loop.lightning_module import TrainingModule
from q2_aam.core.training.memory import (
    FULL,
    MEMORY_VARIABLE,
    MIXED,
    SPARE,
    Cut,
    Layers,
    Size,
    fitting_cut,
    memory_for_a_step,
    step_memory,
)

CPU, GPU = torch.device("cpu"), torch.device("cuda")
PAGE = ROOT / "docs" / "memory.md"


def table_below(head):
    """Return the rows of the table of docs/memory.md whose head begins so."""
    found = rows(PAGE)
    start = next(i for i, row in enumerate(found) if row[: len(head)] == head)
    width = len(found[start])
    body = []
    for row in found[start + 2 :]:
        if len(row) != width or not row[0].isdigit():
            break
        body.append(row)
    return body


def test_step_memory_is_the_formula_of_the_page():
    measured = table_below(["batch_size", "token_limit"])
    assert len(measured) == 7
    for batch_size, token_limit, chunk, checkpointing, parts, _, tensors, said in measured:
        options = {"batch_size": int(batch_size), "token_limit": int(token_limit)}
        options["asv_chunk_size"] = None if chunk == "off" else int(chunk)
        options["gradient_checkpointing"] = checkpointing == "True"
        options["parts"] = 1 if parts == "off" else int(parts)
        assert float(said) == pytest.approx(estimate(options, joining=0), abs=0.00051)
        assert float(tensors) < float(said) - SPARE


def test_batch_sizes_of_the_page_are_those_of_the_formula():
    said = [[int(cell) for cell in row] for row in table_below(["GPU memory, GiB"])]
    assert said == [list(row.values()) for row in table_for_gpus()]


@pytest.fixture
def kept(monkeypatch):
    """Note what each training step keeps for the gradient, in GiB, and what the formula says."""
    seen, original = [], TrainingModule.training_step

    def training_step(self, batch, index):
        own = {p.untyped_storage().data_ptr() for p in self.parameters()}
        storages = {}

        def keep(tensor):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = original(self, batch, index)
        number = FULL if self.trainer.precision == "32-true" else MIXED
        layers = replace(Layers.of_model(self.model), parameters=0)
        formula = step_memory(layers, Size.of(batch), number=number) - SPARE
        size = sum(s.nbytes() for place, s in storages.items() if place not in own)
        seen.append((size / 2**30, formula))
        return loss

    monkeypatch.setattr(TrainingModule, "training_step", training_step)
    return seen


@pytest.mark.parametrize("arithmetic", ["fp32", "bf16"])
@pytest.mark.parametrize("action", ["pretrain", "train", "train-frozen", "train-ensemble"])
def test_a_step_keeps_nearly_what_the_formula_says(kept, simulated, tree_path, action, arithmetic):
    options = {
        "embedding_dim": 64, "epochs": 1, "rarefy_depth": 100, "batch_size": 20,
        "mixed_precision": arithmetic, "device": "cpu",
    }  # fmt: skip
    if action == "pretrain":
        api.pretrain(simulated.table, tree_path, **options)
    else:
        if action == "train-frozen":
            made = api.pretrain(simulated.table, tree_path, **options)
            options |= {"encoder": made, "freeze_base": True}
            kept.clear()
        options["stored_samples"] = 0
        options["ensemble"] = 3 if action == "train-ensemble" else 1
        api.train_regressor(simulated.table, simulated.metadata["age"], **options)
    # The formula does not know that an encoder which is kept as it is has nothing to keep.
    least = 0.0 if action == "train-frozen" else 0.5
    for size, formula in kept:
        assert least * formula < size < formula


LAYERS = Layers.of_config(ModelConfig())
sizes = st.builds(
    Size, st.integers(1, 600), st.integers(1, 2000), st.integers(1, 50_000), st.integers(1, 400)
)
configs = st.builds(
    TrainConfig,
    asv_chunk_size=st.none() | st.integers(1, 5000),
    gradient_checkpointing=st.booleans(),
)


@given(sizes, configs, st.floats(0.2, 100))
def test_fitting_cut_fits_or_is_the_finest(size, config, free):
    cut = fitting_cut(LAYERS, size, config, free)
    recomputes = config.gradient_checkpointing
    needed = step_memory(LAYERS, size, cut, recomputes=recomputes)
    assert 1 <= cut.parts <= size.samples
    if config.asv_chunk_size is not None:
        assert cut.chunk <= config.asv_chunk_size
    if needed > free:
        assert cut.parts == size.samples
    plain = Cut(config.asv_chunk_size)
    if step_memory(LAYERS, size, plain, recomputes=recomputes) <= free:
        assert cut == plain


def test_fitting_cut_divides_asvs_first_and_then_samples():
    size, config = Size(64, 1024, 30_000, 100), TrainConfig()
    cuts = [fitting_cut(LAYERS, size, config, free) for free in (15, 10, 6, 4, 2, 1)]
    assert cuts == [Cut(), Cut(16384), Cut(8192), Cut(2048), Cut(64, 2), Cut(64, 4)]


def test_fitting_cut_of_a_frozen_base_divides_samples_only():
    frozen = replace(LAYERS, nucleotide=0)
    cut = fitting_cut(frozen, Size(64, 1024, 30_000, 100), TrainConfig(), 1.0)
    assert cut.chunk is None
    assert cut.parts > 1


@pytest.fixture
def unset(monkeypatch):
    monkeypatch.delenv(MEMORY_VARIABLE, raising=False)


def test_memory_for_a_step_is_not_known_of_a_cpu(unset):
    assert memory_for_a_step(CPU) is None


@pytest.mark.parametrize(("free", "reserved", "gib"), [(8, 1.5, 8), (39, 1.5, 36), (1, 0.5, 0.5)])
def test_memory_for_a_step_is_what_a_gpu_has_free(monkeypatch, unset, free, reserved, gib):
    """Also what PyTorch has taken of it and does not use; some of it is left, at most half."""
    cuda = {
        "mem_get_info": lambda device: (int(free * 2**30), 80 * 2**30),
        "memory_reserved": lambda device: int(reserved * 2**30),
        "memory_allocated": lambda device: 2**29,
    }
    for name, answer in cuda.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    assert memory_for_a_step(GPU) == gib


def test_memory_for_a_step_is_that_of_the_variable(monkeypatch):
    monkeypatch.setenv(MEMORY_VARIABLE, " 2.5 ")
    assert memory_for_a_step(CPU) == memory_for_a_step(GPU) == 2.5


@pytest.mark.parametrize("given_", ["much", "0", "-1", "inf", "nan", "4 GiB"])
def test_memory_for_a_step_refuses_what_is_no_number(monkeypatch, given_):
    monkeypatch.setenv(MEMORY_VARIABLE, given_)
    with pytest.raises(ValueError, match=rf"^Q2_AAM_MEMORY is '{given_}', which is not a number"):
        memory_for_a_step(CPU)
