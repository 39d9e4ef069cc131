"""A batch that is cut learns as one that is not."""

import logging
import re

import pytest
import torch

from q2_aam.core import api
from q2_aam.core.training.loop import batch_parts
from q2_aam.core.training.memory import MEMORY_VARIABLE, Cut

CUTS = [Cut(parts=3), Cut(chunk=7), Cut(chunk=64, parts=2), Cut(chunk=5, parts=7)]


@pytest.fixture
def cutting(monkeypatch):
    """Return what has every batch cut in a given way, and notes how many samples a part has."""
    monkeypatch.setenv(MEMORY_VARIABLE, "1")
    parts, original = [], batch_parts.part_of

    def part_of(batch, samples):
        parts.append(len(samples))
        return original(batch, samples)

    def cut_in(cut):
        monkeypatch.setattr(batch_parts, "fitting_cut", lambda *arguments: cut)
        parts.clear()
        return parts

    monkeypatch.setattr(batch_parts, "part_of", part_of)
    return cut_in


@pytest.fixture
def train(simulated, tree_path, quick):
    """Return what trains in a way in which nothing but the cut could make a difference."""

    def of(kind, **options):
        # Adam makes steps of the rounding errors of gradients that are zero, as of the keys' bias.
        options = {
            **quick,
            "optimizer": "sgd",
            "lr": 0.1,
            "batch_size": 11,
            "epochs": 1,
            **options,
        }
        if kind == "encoder":
            return api.pretrain(simulated.table, tree_path, **options)
        options = {"stored_samples": 0, "dropout": 0.0, **options}
        action = api.train_regressor if kind == "age" else api.train_classifier
        return action(simulated.table, simulated.metadata[kind], **options)

    return of


KINDS = {
    "stripe": ("encoder", {"reference_samples": 5}, CUTS),
    "pairs": ("encoder", {"stripe_mode": False}, CUTS[:1]),
    "faith": (
        "encoder",
        {"unifrac_metric": "faith_pd", "gradient_checkpointing": True},
        CUTS[2:3],
    ),
    "regressor": ("age", {"gradient_accumulation_steps": 2}, CUTS[2:3]),
    "quantiles": ("age", {"loss_type": "quantile", "ensemble": 2}, CUTS[3:]),
    "classifier": ("site", {"class_weights": "balanced"}, CUTS[:1]),
    "frozen": ("site", {"freeze_base": True}, CUTS[:1]),
}


def assert_same(a, b):
    for name, value in a.weights.items():
        torch.testing.assert_close(value, b.weights[name], atol=1e-5, rtol=1e-4)
    for name, values in a.history.drop(columns="seconds").items():
        assert values.tolist() == pytest.approx(b.history[name].tolist(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_a_cut_batch_learns_as_a_whole_one(cutting, train, tree_path, name):
    """Samples, masks, losses, metrics: all as without the cut, also in batches of odd size."""
    kind, options, cuts = KINDS[name]
    if name == "regressor":
        options = {**options, "phylogeny": tree_path}
    if name == "frozen":
        options = {**options, "encoder": train("encoder")}
    seen = cutting(Cut())
    whole = train(kind, **options)
    assert not seen
    for cut in cuts:
        seen = cutting(cut)
        assert_same(whole, train(kind, **options))
        assert bool(seen) == (cut.parts > 1)


def test_dropout_is_the_same_when_a_part_is_computed_again(cutting, train):
    """Otherwise the gradient would be of other activations; here it is compared with itself."""
    cutting(Cut(parts=3))
    a, b = (train("age", dropout=0.3, gradient_checkpointing=on) for on in (False, True))
    assert_same(a, b)


def test_a_cut_keeps_less(cutting, train):
    def kept_with(cut):
        cutting(cut)
        kept = []

        def keep(tensor):
            kept.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            train("encoder")
        return sum(kept)

    whole, chunks, both = map(kept_with, (Cut(), Cut(chunk=7), Cut(chunk=7, parts=4)))
    assert both < 0.5 * chunks < 0.5 * whole


def test_the_free_memory_chooses_the_cut_and_the_log_says_which(monkeypatch, train, caplog):
    caplog.set_level(logging.INFO)
    options = {"embedding_dim": 64, "attention_layers": 2, "batch_size": 40}
    monkeypatch.setenv(MEMORY_VARIABLE, "8")
    whole = train("encoder", **options)
    assert "in parts" not in caplog.text
    monkeypatch.setenv(MEMORY_VARIABLE, "0.13")
    assert_same(whole, train("encoder", **options))
    (said,) = re.findall(r"A mini-batch of .*", caplog.text)
    assert re.fullmatch(
        r"A mini-batch of \d+ samples and \d+ ASVs would take about 0\.\d GiB of memory, and 0\.1 "
        r"GiB are free\. So it is computed in parts: .* at a time\. It then takes about 0\.1 GiB, "
        r"and the result is the same\.",
        said,
    )
    caplog.clear()
    monkeypatch.setenv(MEMORY_VARIABLE, "0.001")
    assert_same(whole, train("encoder", **options))
    assert (
        "1 samples at a time. It then takes about 0.1 GiB, which is still too much." in caplog.text
    )


def test_a_wrong_amount_of_memory_ends_in_a_sentence(monkeypatch, train):
    monkeypatch.setenv(MEMORY_VARIABLE, "much")
    with pytest.raises(ValueError, match=r"^Q2_AAM_MEMORY is 'much'"):
        train("encoder")
