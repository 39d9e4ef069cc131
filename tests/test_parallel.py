"""The files of docs/parallel: QIIME 2 reads them, and gives each training its share of a machine.

QIIME 2 runs pipelines in parallel from 2023.7 on. Without that, only what the files say is tested.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import qiime2
from run_inputs import QUICK

FILES = sorted((Path(__file__).parent.parent / "docs" / "parallel").glob("*.toml"))
OF_PIPELINES = {
    "pretrain", "train_regressor", "train_classifier",
    "predict_regression", "predict_classification",
}  # fmt: skip
"""Actions of pipelines that compute with PyTorch."""


def read(path) -> dict:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
    return tomllib.loads(Path(path).read_text(encoding="utf-8"))["parsl"]


def named(path):
    return next(file for file in FILES if file.name == path)


def executors(config) -> dict:
    return {executor["label"]: executor for executor in config["executors"]}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_trainings_have_an_executor_of_their_own(path):
    """In processes: threads of one process would share a GPU, its CPU set and its signals."""
    config = read(path)
    there, mapping = executors(config), config["executor_mapping"]
    assert set(there) == {"default", "trainings"}
    assert there["trainings"]["class"] == "HighThroughputExecutor"
    newer = mapping.pop("aam")
    assert mapping == newer == dict.fromkeys(OF_PIPELINES, "trainings")


def test_what_computes_in_pipelines_is_known():
    methods = qiime2.sdk.PluginManager().plugins["aam"].methods.values()
    computing = {each.id for each in methods if "device" in each.signature.parameters}
    assert computing - OF_PIPELINES == {
        "predict_intervals", "embed", "embed_features", "importance"
    }  # fmt: skip


@pytest.mark.parametrize("name", ["many-cores.toml", "gpus.toml"])
def test_trainings_use_no_more_cores_than_there_are(name):
    trainings = executors(read(named(name)))["trainings"]
    assert trainings["max_workers_per_node"] * trainings["cores_per_worker"] == 32
    assert trainings["cpu_affinity"] == "block"
    assert "32 cores" in named(name).read_text(encoding="utf-8")


def test_a_training_has_a_gpu_to_itself():
    trainings = executors(read(named("gpus.toml")))["trainings"]
    assert len(set(trainings["available_accelerators"])) == trainings["max_workers_per_node"]


def test_a_job_of_slurm_has_one_training_and_its_cores():
    trainings = executors(read(named("slurm.toml")))["trainings"]
    provider = trainings["provider"]
    assert trainings["max_workers_per_node"] == provider["nodes_per_block"] == 1
    assert trainings["cores_per_worker"] == provider["cores_per_node"]


# ---- with Parsl --------------------------------------------------------------------------------


@pytest.fixture
def parallel_config():
    return pytest.importorskip(
        "qiime2.sdk.parallel_config", reason="this QIIME 2 does not run in parallel"
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_qiime2_reads_the_file(path, parallel_config):
    config, mapping = parallel_config.get_config_from_file(str(path))
    assert {executor.label for executor in config.executors} == {"default", "trainings"}
    assert set(mapping) == {*OF_PIPELINES, "aam"}


PROGRAM = """
import json, os, sys
import pandas as pd, parsl, qiime2
from qiime2.plugins import aam
from qiime2.sdk.parallel_config import ParallelConfig, get_config_from_dict
from q2_aam.core.data.simulate import SimulationConfig, simulate

config, options = map(json.loads, sys.argv[1:])
data = simulate(SimulationConfig(n_samples=36, n_features=40, n_bp=40, depth=200, seed=1))
table = qiime2.Artifact.import_data("FeatureTable[Frequency]", data.table)
metadata = qiime2.Metadata(data.metadata)
actions = {"age": aam.pipelines.cross_validate_regression,
           "site": aam.pipelines.cross_validate_classification}

def results(made):
    return made.fold_scores.view(pd.DataFrame), made.predictions.view(pd.Series)

# Only what can be imported anywhere can be asked of another process.
module = "q2_aam.core.training.processors"
see = ("[__import__('os').environ.get('CUDA_VISIBLE_DEVICES'), "
       "len(__import__('os').sched_getaffinity(0)), "
       f"__import__('{module}', fromlist=['cores']).cores()]")
seen, made = [], {}
with ParallelConfig(*get_config_from_dict({"parsl": config})):
    asked = [parsl.python_app(executors=["trainings"])(eval)(see) for _ in range(8)]
    seen = [future.result() for future in asked]
    for name, action in actions.items():
        column = metadata.get_column(name)
        made[name] = results(action.parallel(table, column, **options)._result())
for name, action in actions.items():
    alone = action(table, metadata.get_column(name), **options)
    for together, alone in zip(made[name], results(alone)):
        assert together.equals(alone), (name, together, alone)
print("seen:", json.dumps(seen))
"""


@pytest.mark.slow
@pytest.mark.usefixtures("parallel_config")
@pytest.mark.parametrize("name", ["many-cores.toml", "gpus.toml"])
def test_folds_in_parallel_have_their_share_and_give_the_same_scores(name, tmp_path):
    """Here two at a time, on the cores of this machine; a GPU is seen by its name only."""
    config, own_cores = read(named(name)), len(os.sched_getaffinity(0))
    trainings = executors(config)["trainings"]
    trainings.update(max_workers_per_node=2, cores_per_worker=own_cores / 2)
    gpus = trainings.get("available_accelerators", [])
    if gpus:
        trainings["available_accelerators"] = gpus = gpus[:2]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(config), json.dumps({"n_folds": 2, **QUICK})],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path[1:]))},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("seen: "))
    seen = json.loads(line.removeprefix("seen: "))
    half = max(1, own_cores // 2)
    assert all((in_set, usable) == (half, half) for _, in_set, usable in seen)
    assert {gpu for gpu, *_ in seen} <= (set(gpus) or {os.environ.get("CUDA_VISIBLE_DEVICES")})
