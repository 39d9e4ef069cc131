"""An action uses no more cores than its process may, and does not keep them busy in vain."""

import inspect
import os
import subprocess
import sys
from types import SimpleNamespace

import biom
import numpy as np
import pandas as pd
import pytest
import qiime2
import torch
from threadpoolctl import threadpool_info

from q2_aam.actions import explain, methods
from q2_aam.actions.threads import within_slots
from q2_aam.core import api
from q2_aam.core.model.specification import CLASSIFIER
from q2_aam.core.training import processors
from q2_aam.core.training.processors import THREADS_VARIABLE, number_of_threads


@pytest.fixture
def four_threads():
    """Let PyTorch use four threads; as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def counts():
    return [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()]


@pytest.fixture
def many_cores(monkeypatch):
    """Let this process use eight cores, whatever the machine has."""
    monkeypatch.setattr(processors, "_cpu_set", lambda: 8)
    monkeypatch.setattr(processors, "_quota", lambda: processors.UNLIMITED)
    for name in (*processors.SHARES, THREADS_VARIABLE):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("many_cores")
def test_threads_are_limited_and_given_back(four_threads, monkeypatch):
    monkeypatch.setenv("GALAXY_SLOTS", "2")
    before = counts()
    with within_slots():
        assert torch.get_num_threads() == 2
        assert max(n for _, n in counts()) <= 2
    assert torch.get_num_threads() == 4
    assert counts() == before


@pytest.mark.usefixtures("many_cores")
def test_what_a_job_may_use_raises_no_number(four_threads, monkeypatch):
    monkeypatch.setenv("GALAXY_SLOTS", "64")
    before = counts()
    with within_slots():
        assert torch.get_num_threads() == 4
        assert all(n <= dict(before).get(path, n) for path, n in counts())


@pytest.mark.usefixtures("many_cores")
def test_nothing_changes_where_nothing_is_set(four_threads):
    with within_slots():
        assert torch.get_num_threads() == 4


@pytest.mark.usefixtures("many_cores")
def test_threads_are_given_back_after_an_error(four_threads, monkeypatch):
    monkeypatch.setenv("GALAXY_SLOTS", "1")
    with pytest.raises(KeyError, match="x"), within_slots():
        raise KeyError("x")
    assert torch.get_num_threads() == 4


@pytest.mark.usefixtures("many_cores")
@pytest.mark.parametrize("wanted", [1, 3, 6])
def test_own_variable_counts_more_than_that_of_openmp(wanted, four_threads, monkeypatch):
    """PyTorch has taken its number from OMP_NUM_THREADS when it was loaded."""
    monkeypatch.setenv(THREADS_VARIABLE, str(wanted))
    with within_slots():
        assert torch.get_num_threads() == wanted
    assert torch.get_num_threads() == 4


@pytest.mark.usefixtures("many_cores")
def test_own_variable_gives_no_core_that_is_not_there(monkeypatch, caplog):
    monkeypatch.setenv(THREADS_VARIABLE, "6")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    assert number_of_threads(4) == 3
    assert "Q2_AAM_THREADS is 6, but this process may use only 3 processor cores" in caplog.text


@pytest.mark.usefixtures("many_cores")
def test_own_variable_that_is_no_number_is_ignored_with_a_warning(monkeypatch, caplog):
    monkeypatch.setenv(THREADS_VARIABLE, "all of them")
    assert number_of_threads(4) == 4
    assert "Q2_AAM_THREADS is 'all of them', which is not a whole number from 1" in caplog.text


FRESH = """
import os, sys
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import q2_aam.plugin_setup
from q2_aam.actions import methods
from q2_aam.actions.reports import reporting
with reporting():
    import torch, sklearn.ensemble, unifrac
    from threadpoolctl import threadpool_info
    print(torch.get_num_threads(), torch.get_num_interop_threads(), os.environ["OMP_WAIT_POLICY"],
          max(pool["num_threads"] for pool in threadpool_info()))
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="there are no CPU sets here")
@pytest.mark.parametrize(("policy", "found"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_a_new_process_keeps_to_its_cores_and_waits_without_computing(policy, found):
    names = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", THREADS_VARIABLE)
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {"OMP_WAIT_POLICY": policy} if policy else {}
    done = subprocess.run(
        [sys.executable, "-c", FRESH], env=environment, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1:] == [f"1 1 {found} 1"], done.stderr


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


@pytest.mark.usefixtures("many_cores")
@pytest.mark.parametrize("action", WORK, ids=lambda action: action.__name__)
def test_actions_work_within_the_slots(action, four_threads, monkeypatch):
    def work(*arguments, **options):
        raise Reached(torch.get_num_threads())

    spec = SimpleNamespace(kind=CLASSIFIER, target=SimpleNamespace(column="site", classes="xy"))
    for name in ("saved", "load_model"):
        for module in (methods, explain):
            monkeypatch.setattr(module, name, lambda _: SimpleNamespace(spec=spec))
    monkeypatch.setattr(methods, "check_quantiles", lambda _: None)
    monkeypatch.setattr(methods, "check_options", lambda *_, **__: None)
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
