"""The optimizers by their first step, the schedules by their whole course."""

import logging
import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from q2_aam.core.data.target import NumericTarget
from q2_aam.core.model.predictor import build
from q2_aam.core.model.specification import REGRESSOR, ModelSpec, Reads
from q2_aam.core.options.config import (
    DataConfig,
    ModelConfig,
    RegressionConfig,
    Settings,
    TrainConfig,
)
from q2_aam.core.training.loop.optimizer import (
    Plateau,
    make_optimizer,
    make_scheduler,
    parameter_groups,
    warmup_steps,
)


def first_step(lr=0.1, **options):
    """Return a layer's weight and bias before and after a step, and their gradients."""
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    optimizer = make_optimizer(layer, TrainConfig(lr=lr, **options))
    before = [p.detach().clone() for p in layer.parameters()]
    (layer(torch.tensor([[1.0, -2.0, 3.0]])) * torch.tensor([[2.0, -1.0]])).sum().backward()
    gradients = [p.grad.clone() for p in layer.parameters()]
    optimizer.step()
    return before, list(layer.parameters()), gradients


def test_make_optimizer_sgd_steps_along_the_gradient():
    before, after, gradients = first_step(optimizer="sgd", weight_decay=0.0)
    for old, new, gradient in zip(before, after, gradients, strict=True):
        torch.testing.assert_close(new, old - 0.1 * gradient)


def test_make_optimizer_sgd_has_momentum():
    layer = nn.Linear(1, 1, bias=False)
    start = layer.weight.item()
    optimizer = make_optimizer(layer, TrainConfig(lr=1.0, optimizer="sgd", weight_decay=0.0))
    for _ in range(2):
        layer.weight.grad = torch.ones(1, 1)
        optimizer.step()
    assert layer.weight.item() == pytest.approx(start - 1 - 1.9, rel=1e-6)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_make_optimizer_adam_steps_by_the_sign_of_the_gradient(optimizer):
    before, after, gradients = first_step(optimizer=optimizer, weight_decay=0.0)
    for old, new, gradient in zip(before, after, gradients, strict=True):
        torch.testing.assert_close(new, old - 0.1 * gradient.sign())


def test_make_optimizer_adamw_decays_apart_from_the_gradient():
    (weight, bias), (new_weight, new_bias), gradients = first_step(
        optimizer="adamw", weight_decay=0.5
    )
    torch.testing.assert_close(new_weight, weight * (1 - 0.1 * 0.5) - 0.1 * gradients[0].sign())
    torch.testing.assert_close(new_bias, bias - 0.1 * gradients[1].sign())


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_make_optimizer_decay_is_part_of_the_gradient(optimizer):
    (weight, bias), (new_weight, new_bias), gradients = first_step(
        optimizer=optimizer, weight_decay=100.0
    )
    with_decay = gradients[0] + 100 * weight
    steps = [with_decay, gradients[1]]
    if optimizer == "adam":
        steps = [step.sign() for step in steps]
    torch.testing.assert_close(new_weight, weight - 0.1 * steps[0])
    torch.testing.assert_close(new_bias, bias - 0.1 * steps[1])


@pytest.fixture
def predictor():
    settings = Settings(
        ModelConfig(embedding_dim=16, attention_heads=2),
        DataConfig(rarefy_depth=0),
        fine_tuning=RegressionConfig(),
    )
    target, reads = NumericTarget("age"), Reads(1, 1, 40, 40)
    return build(ModelSpec.of(REGRESSOR, settings, reads, target, n_vectors=7))


def test_parameter_groups_spare_norms_biases_embeddings_and_positions(predictor):
    """Each parameter by its name and shape, which the code does not look at."""
    decaying, spared = parameter_groups(predictor, 0.01)
    assert (decaying["weight_decay"], spared["weight_decay"]) == (0.01, 0.0)
    groups = [{id(p) for p in group["params"]} for group in (decaying, spared)]
    for name, parameter in predictor.named_parameters():
        embeds = name.endswith(("asv_encoder.patch.weight", "asv_encoder.position"))
        embeds |= name in ("comparison.vectors", "comparison.sample_gate")
        spare = embeds or parameter.ndim < 2 or "norm" in name or name.endswith("bias")
        assert [id(parameter) in group for group in groups] == [not spare, spare], name


def test_parameter_groups_leave_out_what_is_frozen(predictor):
    predictor.base_model.requires_grad_(False)
    groups = parameter_groups(predictor, 0.01)
    frozen = {id(p) for p in predictor.base_model.parameters()}
    optimized = {id(p) for group in groups for p in group["params"]}
    assert not optimized & frozen
    assert len(optimized) + len(frozen) == len(list(predictor.parameters()))


def course(total_steps, **options):
    """Return the learning rate of each step of a run."""
    optimizer = make_optimizer(nn.Linear(1, 1), TrainConfig(**options))
    schedule = make_scheduler(optimizer, TrainConfig(**options), total_steps)
    assert schedule["interval"] == "step"
    rates = []
    for _ in range(total_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule["scheduler"].step()
    return rates


def test_make_scheduler_warmup_cosine_rises_then_falls_to_zero():
    rates = course(100, lr=0.5, warmup_steps=9)
    assert rates[:9] == pytest.approx([0.5 * (i + 1) / 10 for i in range(9)])
    assert rates[9] == 0.5
    expected = [0.25 * (1 + math.cos(math.pi * i / 91)) for i in range(91)]
    assert rates[9:] == pytest.approx(expected)
    assert rates[-1] < 0.001 * 0.5


def test_make_scheduler_cosine_begins_at_the_highest():
    rates = course(50, lr=0.5, scheduler="cosine", warmup_steps=20)
    assert rates == pytest.approx([0.25 * (1 + math.cos(math.pi * i / 50)) for i in range(50)])


def test_make_scheduler_onecycle_goes_up_and_down_once():
    rates = course(100, lr=0.5, scheduler="onecycle")
    highest = rates.index(max(rates))
    assert max(rates) == pytest.approx(0.5)
    assert rates[0] == pytest.approx(0.5 / 25)
    assert highest == 29
    assert rates[: highest + 1] == sorted(rates[: highest + 1])
    assert rates[highest:] == sorted(rates[highest:], reverse=True)
    assert rates[-1] < 1e-5


@pytest.mark.parametrize("scheduler", ["warmup_cosine", "cosine", "onecycle"])
@pytest.mark.parametrize("total_steps", [1, 2, 3, 12])
def test_make_scheduler_short_runs_reach_a_useful_rate(scheduler, total_steps):
    """A run of a few steps must not spend itself at a rate of nearly nothing."""
    assert max(course(total_steps, lr=0.5, scheduler=scheduler)) >= 0.4


@given(asked=st.integers(0, 20_000), total=st.integers(1, 200_000))
def test_warmup_steps_are_as_asked_for_but_at_most_a_tenth(asked, total):
    steps = warmup_steps(TrainConfig(warmup_steps=asked), total)
    assert steps <= total / 10
    assert steps == asked or (steps < asked and steps + 1 > total / 10)


@pytest.mark.parametrize(("asked", "lines"), [(10_000, 0), (10, 0), (500, 1)])
def test_make_scheduler_says_that_warmup_is_shorter_only_where_it_was_chosen(caplog, asked, lines):
    """In a small run the default is always shorter, and nothing is wrong with that."""
    caplog.set_level(logging.INFO)
    course(100, warmup_steps=asked)
    said = [m for m in caplog.messages if "is 500, but the learning rate rises for 10" in m]
    assert len(said) == len(caplog.messages) == lines


@pytest.mark.parametrize(("patience", "half"), [(1, 1), (2, 1), (4, 2), (10, 5), (11, 5)])
@pytest.mark.parametrize("taken_up", [False, True], ids=["unbroken", "taken-up-each-epoch"])
def test_plateau_takes_a_tenth_after_half_the_patience(patience, half, taken_up):
    optimizer = make_optimizer(nn.Linear(1, 1), TrainConfig(lr=0.5))
    trainer = SimpleNamespace(optimizers=[optimizer], callback_metrics={})
    plateau, rates = Plateau(patience, "val/target_loss"), []
    plateau.on_train_start(trainer, None)
    for loss in [3.0, 2.0, *[2.5] * (2 * half)]:
        if taken_up:
            state = plateau.state_dict()
            plateau = Plateau(patience, "val/target_loss")
            plateau.load_state_dict(state)
            plateau.on_train_start(trainer, None)
        trainer.callback_metrics["val/target_loss"] = torch.tensor(loss)
        plateau.on_train_epoch_end(trainer, None)
        rates.append(optimizer.param_groups[0]["lr"])
    falls = [0.5] * (2 + half - 1) + [0.05] * half + [0.005]
    assert rates == pytest.approx(falls)
