"""An action uses no more cores than the slots that Galaxy gives its job."""

import inspect
import logging
from types import SimpleNamespace

import biom
import numpy as np
import pandas as pd
import pytest
import qiime2
import torch
from threadpoolctl import threadpool_info

from q2_aam.actions import explain, methods
from q2_aam.actions.threads import slots, within_slots
from q2_aam.core import api
from q2_aam.core.model.specification import CLASSIFIER


@pytest.fixture
def four_threads():
    """Let PyTorch use four threads; as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def counts():
    return [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()]


@pytest.mark.parametrize(("given", "found"), [("1", 1), (" 12\n", 12), ("", None), (None, None)])
def test_slots_are_those_of_the_job(given, found, monkeypatch, caplog):
    monkeypatch.delenv("GALAXY_SLOTS", raising=False)
    if given is not None:
        monkeypatch.setenv("GALAXY_SLOTS", given)
    assert slots() == found
    assert not caplog.records


@pytest.mark.parametrize("given", ["0", "-2", "2.5", "many", "²", "${SLOTS}"])
def test_slots_that_are_no_number_are_ignored_with_a_warning(given, monkeypatch, caplog):
    monkeypatch.setenv("GALAXY_SLOTS", given)
    with caplog.at_level(logging.WARNING):
        assert slots() is None
    assert f"GALAXY_SLOTS is '{given}'" in caplog.text


def test_within_slots_limits_threads_and_gives_them_back(four_threads, monkeypatch):
    monkeypatch.setenv("GALAXY_SLOTS", "2")
    before = counts()
    with within_slots():
        assert torch.get_num_threads() == 2
        assert max(n for _, n in counts()) <= 2
    assert torch.get_num_threads() == 4
    assert counts() == before


def test_within_slots_raises_no_number(four_threads, monkeypatch):
    monkeypatch.setenv("GALAXY_SLOTS", "64")
    before = counts()
    with within_slots():
        assert torch.get_num_threads() == 4
        assert all(n <= dict(before).get(path, n) for path, n in counts())


def test_within_slots_changes_nothing_outside_of_galaxy(four_threads, monkeypatch):
    monkeypatch.delenv("GALAXY_SLOTS", raising=False)
    with within_slots():
        assert torch.get_num_threads() == 4


def test_within_slots_gives_threads_back_after_an_error(four_threads, monkeypatch):
    monkeypatch.setenv("GALAXY_SLOTS", "1")
    with pytest.raises(KeyError, match="x"), within_slots():
        raise KeyError("x")
    assert torch.get_num_threads() == 4


class Reached(Exception):
    """Raised in the place of the core's work, with the threads that it would use."""


WORK = {
    methods.pretrain: "pretrain",
    methods.train_regressor: "train_regressor",
    methods.train_classifier: "train_classifier",
    methods.predict_regression: "predict_regression",
    methods.predict_intervals: "predict_quantiles",
    methods.predict_classification: "predict_classification",
    explain.embed: "embed",
    explain.embed_features: "embed_features",
    explain.importance: "importance",
}


def inputs_of(action):
    """Return something for what an action must be given; models are absent."""
    ids = pd.Index(["a", "b"], name="sample-id")
    given = {
        "table": biom.Table(np.full((2, 2), 9.0), ["ACGT", "CCCC"], list(ids)),
        "metadata": qiime2.CategoricalMetadataColumn(pd.Series(["x", "y"], ids, name="site"))
        if action is methods.train_classifier
        else qiime2.NumericMetadataColumn(pd.Series([1.0, 2.0], ids, name="age")),
    }
    parameters = inspect.signature(action).parameters.values()
    return {p.name: given.get(p.name) for p in parameters if p.default is p.empty}


@pytest.mark.parametrize("action", WORK, ids=lambda action: action.__name__)
def test_actions_work_within_the_slots(action, four_threads, monkeypatch):
    def work(*arguments, **options):
        raise Reached(torch.get_num_threads())

    spec = SimpleNamespace(kind=CLASSIFIER, target=SimpleNamespace(column="site", classes="xy"))
    for name in ("saved", "load_model"):
        for module in (methods, explain):
            monkeypatch.setattr(module, name, lambda _: SimpleNamespace(spec=spec))
    monkeypatch.setattr(methods, "check_quantiles", lambda _: None)
    monkeypatch.setattr(methods, "check_options", lambda *_: None)
    monkeypatch.setattr(api, WORK[action], work)
    monkeypatch.setenv("GALAXY_SLOTS", "3")
    with pytest.raises(Reached, match=r"^3$"):
        action(**inputs_of(action))
    assert torch.get_num_threads() == 4


def test_every_action_that_computes_with_a_model_is_tried():
    """What takes the option `device` computes with PyTorch."""
    computing = [
        action
        for module in (methods, explain)
        for _, action in inspect.getmembers(module, inspect.isfunction)
        if "device" in inspect.signature(action).parameters
    ]
    assert set(computing) == set(WORK)
