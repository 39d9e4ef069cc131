"""What is said of the machine in the environment, and what is refused."""

import importlib.util
import logging
import re
import subprocess

import pytest
from documents import ROOT

from q2_aam.core.options.config import TrainConfig
from q2_aam.core.training.ranks import launch
from q2_aam.core.training.ranks.layout import Layout


def test_nothing_said_is_one_host_with_what_it_has():
    assert Layout.from_environment({}) == Layout()
    assert Layout.from_environment({"Q2_AAM_DEVICES": " ", "Q2_AAM_HOSTS": ""}) == Layout()


def test_what_is_said_is_read():
    said = {"Q2_AAM_DEVICES": "4", "Q2_AAM_HOSTS": "2", "Q2_AAM_MEET_AT": "node1:29400"}
    assert Layout.from_environment(said) == Layout(4, 2, "node1:29400")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"Q2_AAM_DEVICES": "0"}, "Q2_AAM_DEVICES is '0'; give a whole number from 1 to 4096"),
        ({"Q2_AAM_DEVICES": "all"}, "Q2_AAM_DEVICES is 'all'; give a whole number"),
        ({"Q2_AAM_DEVICES": "-1"}, "Q2_AAM_DEVICES is '-1'; give a whole number"),
        ({"Q2_AAM_HOSTS": "1.5"}, "Q2_AAM_HOSTS is '1.5'; give a whole number"),
        ({"Q2_AAM_HOSTS": "2"}, "Q2_AAM_HOSTS is 2, but Q2_AAM_MEET_AT is not set"),
        ({"Q2_AAM_MEET_AT": "node1"}, "Q2_AAM_MEET_AT is 'node1'; give the name or address"),
    ],
)
def test_what_cannot_be_used_is_refused(said, message):
    with pytest.raises(ValueError, match=message):
        Layout.from_environment(said)


def test_a_layout_is_checked_in_python_too():
    with pytest.raises(ValueError, match="Q2_AAM_DEVICES is 0; give a whole number"):
        Layout(devices=0)


@pytest.fixture
def gpus(monkeypatch):
    """Return what makes this machine one with some GPUs."""

    def make(n):
        monkeypatch.setattr(launch, "choose_device", lambda wanted: launch.torch.device("cuda"))
        monkeypatch.setattr(launch.torch.cuda, "device_count", lambda: n)
        monkeypatch.setattr(launch.torch.cuda, "get_device_name", lambda: "NVIDIA H100")

    return make


@pytest.mark.parametrize(
    ("found", "asked", "batch_size", "used"),
    [(1, None, 16, 1), (4, None, 16, 4), (4, 2, 16, 2), (8, None, 4, 4), (8, None, 1, 1)],
)
def test_all_gpus_are_used_unless_told_otherwise(gpus, caplog, found, asked, batch_size, used):
    gpus(found)
    caplog.set_level(logging.INFO)
    ranks = launch.ranks_of_run(Layout(asked), TrainConfig(batch_size=batch_size))
    assert (ranks.n, ranks.device) == (used, "cuda")
    assert f"GPUs found: {found} (NVIDIA H100). GPUs used: {used}." in caplog.text


def test_an_apple_gpu_trains_alone(monkeypatch):
    monkeypatch.setattr(launch, "choose_device", lambda wanted: launch.torch.device("mps"))
    assert launch.ranks_of_run(Layout(), TrainConfig()).n == 1
    assert launch.ranks_of_run(Layout(1), TrainConfig()).n == 1
    for layout in (Layout(2), Layout(None, 2, "node1:29400")):
        with pytest.raises(ValueError, match="An Apple GPU trains alone: unset Q2_AAM_DEVICES"):
            launch.ranks_of_run(layout, TrainConfig())


def test_more_gpus_than_there_are_are_refused(gpus):
    gpus(2)
    with pytest.raises(ValueError, match="Q2_AAM_DEVICES is 3, but this process sees 2 GPUs"):
        launch.ranks_of_run(Layout(3), TrainConfig())


def test_the_processor_is_one_rank_unless_told_otherwise(caplog, monkeypatch):
    monkeypatch.setattr(launch.torch, "get_num_threads", lambda: 5)
    caplog.set_level(logging.INFO)
    assert launch.ranks_of_run(Layout(), TrainConfig(device="cpu")).n == 1
    assert caplog.text == ""
    ranks = launch.ranks_of_run(Layout(2), TrainConfig(device="cpu"))
    assert (ranks.n, ranks.threads) == (2, 2)
    assert "Processor threads found: 5. Processes: 2, of 2 threads each." in caplog.text


def code_of(language):
    text = (ROOT / "docs" / "clusters.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("script", code_of("bash"))
def test_scripts_of_the_document_can_be_read_by_a_shell(script):
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_document_names_variables_and_commands_that_there_are():
    text = (ROOT / "docs" / "clusters.md").read_text(encoding="utf-8")
    source = "".join(path.read_text() for path in (ROOT / "q2_aam").rglob("*.py"))
    for name in set(re.findall(r"Q2_AAM_\w+", text)):
        assert f'"{name}"' in source
    for module in set(re.findall(r"python -m ([\w.]+)", text)):
        assert importlib.util.find_spec(module) is not None
