"""A run is the same in the job of a scheduler, whatever this sets, as without one."""

import json
import os
import signal
import subprocess
import sys

import pytest

from q2_aam.core.training.loop.environment import single_process

PROGRAM = """
import hashlib, json, os, signal, sys
from pathlib import Path

before = dict(os.environ)
from q2_aam.core import api
from q2_aam.core.data.simulate import SimulationConfig, simulate
from q2_aam.core.training.loop.lightning_module import TrainingModule

handlers, train_on = set(), TrainingModule.training_step

def training_step(module, batch, index):
    handlers.add(str(signal.getsignal(signal.SIGUSR1)))
    return train_on(module, batch, index)

TrainingModule.training_step = training_step
data = simulate(SimulationConfig(n_samples=24, n_features=40, n_bp=40, depth=200, seed=1))
tree = Path("tree.nwk")
tree.write_text(data.newick)
options = dict(embedding_dim=8, attention_heads=2, attention_layers=1, epochs=1, lr=1e-3,
               rarefy_depth=100, device="cpu")
age, site = data.metadata["age"], data.metadata["site"]
encoder = api.pretrain(data.table, tree, **options)
models = {"pretrain": encoder,
          "train_regressor": api.train_regressor(data.table, age, encoder=encoder, **options),
          "train_classifier": api.train_classifier(data.table, site, phylogeny=tree, **options)}

def digest(weights):
    parts = (weights[name].numpy().tobytes() for name in sorted(weights))
    return hashlib.sha256(b"".join(parts)).hexdigest()

made = {name: digest(model.weights) for name, model in models.items()}
made["events"] = {name: sorted(len(b) > 0 for b in model.event_files.values())
                  for name, model in models.items()}
ages = api.predict_regression(data.table, models["train_regressor"])
made["predict_regression"] = [float(value) for value in ages.to_numpy().ravel()]
tree.unlink()
changed = {name for name in {*before, *os.environ} if before.get(name) != os.environ.get(name)}
made["set by schedulers and changed"] = sorted(changed & set(json.loads(sys.argv[1])))
made["handlers"] = sorted(handlers)
print("made:", json.dumps(made))
"""
TASK = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "NODE_RANK": "0"}
MEETING = {"MASTER_ADDR": "10.255.255.1", "MASTER_PORT": "29500"}
JOBS = {
    "slurm": {
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NAME": "age",
        "SLURM_NTASKS": "8",
        "SLURM_NPROCS": "8",
        "SLURM_NTASKS_PER_NODE": "4",
        "SLURM_NNODES": "2",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_PROCID": "1",
        "SLURM_LOCALID": "1",
        "SLURM_NODEID": "0",
        "SLURM_NODELIST": "node[1-2]",
        "SLURM_ARRAY_JOB_ID": "4711",
        "SLURM_ARRAY_TASK_ID": "3",
        "SLURM_RESTART_COUNT": "1",
    },
    "elastic": {
        **TASK,
        **MEETING,
        "GROUP_RANK": "1",
        "LOCAL_WORLD_SIZE": "4",
        "TORCHELASTIC_RUN_ID": "farm",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "TORCHELASTIC_MAX_RESTARTS": "3",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    },
    "pbs": {
        "PBS_JOBID": "4711.server",
        "PBS_ENVIRONMENT": "PBS_BATCH",
        "PBS_NODEFILE": "/nowhere/nodes",
        "PBS_TASKNUM": "2",
        "PBS_NUM_PPN": "4",
        "PMI_RANK": "1",
        "OMPI_COMM_WORLD_RANK": "1",
        "OMPI_COMM_WORLD_SIZE": "8",
    },
    "lsf": {
        "LSB_JOBID": "4711",
        "LSB_BATCH_JID": "4711",
        "LSB_HOSTS": "node1 node1 node2 node2",
        "LSB_MCPU_HOSTS": "node1 2 node2 2",
        "LSB_DJOB_RANKFILE": "/nowhere/ranks",
        "LSB_AFFINITY_HOSTFILE": "/nowhere/hosts",
        "JSM_NAMESPACE_SIZE": "8",
        "JSM_NAMESPACE_RANK": "1",
        "JSM_NAMESPACE_LOCAL_RANK": "1",
    },
    "words": {"RANK": "genus", "LOCAL_RANK": "species", "WORLD_SIZE": "all"},
}
"""What jobs set: each is one of several tasks, and not the first."""
SET_BY_JOBS = {name for job in JOBS.values() for name in job}


def run(directory, job):
    """Train and predict in a new process, beside a file that Lightning would take up."""
    stray = directory / "hpc_ckpt_1.ckpt"
    stray.write_bytes(b"of another run")
    kept = {name: value for name, value in os.environ.items() if name not in SET_BY_JOBS}
    names = json.dumps(sorted(job))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, names],
        cwd=directory,
        env={**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **job},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in directory.iterdir()] == [stray.name]
    assert stray.read_bytes() == b"of another run"
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("made:"))
    return json.loads(line.removeprefix("made:"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    made = run(tmp_path_factory.mktemp("undisturbed"), {})
    assert all(files and all(files) for files in made["events"].values())
    assert made["handlers"] == [str(signal.SIG_DFL)]
    return made


@pytest.mark.parametrize(
    "job", ["slurm", *(pytest.param(n, marks=pytest.mark.slow) for n in JOBS if n != "slurm")]
)
def test_what_a_job_sets_changes_nothing(job, undisturbed, tmp_path):
    assert run(tmp_path, JOBS[job]) == undisturbed


@pytest.mark.slow
def test_all_at_once_change_nothing(undisturbed, tmp_path):
    together = {name: value for job in JOBS.values() for name, value in job.items()}
    assert run(tmp_path, together | TASK) == undisturbed


def test_single_process_reads_nothing_from_a_job(monkeypatch):
    for name, value in {**JOBS["elastic"], **JOBS["slurm"]}.items():
        monkeypatch.setenv(name, value)
    environment = single_process()
    ranks = environment.global_rank(), environment.local_rank(), environment.node_rank()
    assert ranks == (0, 0, 0)
    assert environment.world_size() == 1
    assert not environment.creates_processes_externally
    environment.teardown()
    assert os.environ["WORLD_SIZE"] == "8"
