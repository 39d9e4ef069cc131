"""What TensorBoard shows of a run: while it trains, from the artifact, and over HTTP."""

import csv
import io
import json
import re
import subprocess
import sys
import urllib.parse
import urllib.request

import pytest
import qiime2
from event_files import hyperparameters, metrics_of_hyperparameters, read, read_model, scalars

from q2_aam.core import api
from q2_aam.core.artifact import storage
from q2_aam.core.training.loop.callbacks import History
from q2_aam.types.models import AAMModelDirectoryFormat

LOSSES = ["total_loss", "target_loss", "unifrac_loss", "nuc_loss", "count_loss"]
OF_REGRESSION = ["mae", "mse", "r2"]
OF_CLASSIFICATION = ["accuracy", "precision", "recall", "f1"]
RUNS = {
    "pretrain": ["total_loss", "unifrac_loss", "nuc_loss"],
    "train_regressor": LOSSES,
    "train_classifier": LOSSES,
}
METRICS = {
    "pretrain": [],
    "train_regressor": OF_REGRESSION,
    "train_classifier": OF_CLASSIFICATION,
}


@pytest.fixture(scope="module")
def options():
    """Return options with which training takes a second; 11 epochs have two with histograms."""
    return {
        "embedding_dim": 8,
        "attention_heads": 2,
        "attention_layers": 1,
        "batch_size": 20,
        "epochs": 11,
        "patience": 20,
        "rarefy_depth": 100,
        "lr": 1e-3,
        "device": "cpu",
    }


@pytest.fixture(scope="module")
def train(simulated, tree_path, options):
    """Return what runs an action of the core."""

    def of(action, run_dir, **changed):
        changed = {**options, **changed, "monitor": api.Monitor(run_dir=run_dir)}
        if action == "pretrain":
            return api.pretrain(simulated.table, tree_path, **changed)
        column = simulated.metadata["age" if action == "train_regressor" else "site"]
        run = getattr(api, action)
        return run(simulated.table, column, phylogeny=tree_path, **changed)

    return of


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Return the directory that Q2_AAM_RUN_DIR would name."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def models(train, root):
    return {action: train(action, root) for action in RUNS}


@pytest.fixture(scope="module")
def readers(models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("events")
    return {name: read_model(model, folder / name) for name, model in models.items()}


@pytest.mark.parametrize("action", RUNS)
def test_scalars_have_the_names_that_users_know(readers, action):
    names = {f"{stage}/{loss}" for stage in ("train", "val") for loss in RUNS[action]}
    names |= {f"{stage}/nuc_accuracy" for stage in ("train", "val")}
    names |= {f"val/{metric}" for metric in METRICS[action]}
    names |= {"learning_rate", "epoch"}
    assert set(readers[action].Tags()["scalars"]) == names


@pytest.mark.parametrize("action", RUNS)
def test_scalars_are_those_of_the_history(readers, models, action):
    """The same numbers, one an epoch, for people who plot by themselves."""
    history, values = models[action].history, scalars(readers[action])
    assert history["epoch"].tolist() == list(range(1, 12))
    for name in history.columns.drop(["epoch", "learning_rate", "seconds"]):
        assert values[name] == pytest.approx(history[name].tolist(), rel=1e-6), name
    assert set(values) - set(history.columns) == set()


@pytest.mark.parametrize("action", RUNS)
def test_learning_rate_is_that_of_each_step(readers, models, action):
    rates = scalars(readers[action])["learning_rate"]
    assert len(rates) == 11 * 2
    assert rates[1::2] == pytest.approx(models[action].history["learning_rate"].tolist())
    assert max(rates) == pytest.approx(1e-3)
    assert rates[-1] < 1e-4


@pytest.mark.parametrize("action", RUNS)
def test_histograms_of_weights_and_gradients_every_ten_epochs(readers, models, action):
    tags = readers[action].Tags()["histograms"]
    kinds = {kind: {t.removeprefix(kind) for t in tags if t.startswith(kind)}
             for kind in ("weights/", "gradients/")}  # fmt: skip
    assert kinds["weights/"] == kinds["gradients/"]
    learnt = {name for name in models[action].weights if name.endswith(".weight")}
    unused = {name for name in learnt if "diversity" in name}
    assert learnt - kinds["weights/"] == unused
    for tag in tags:
        assert [event.step for event in readers[action].Histograms(tag)] == [0, 10]


@pytest.mark.parametrize("action", RUNS)
def test_hyperparameters_are_all_options(readers, models, action):
    spec = models[action].spec
    shown = hyperparameters(readers[action])
    parts = [spec.model, spec.data, spec.unifrac, spec.training, spec.fine_tuning]
    expected = {name: value for part in parts if part for name, value in part.to_dict().items()}
    assert shown == {name: "none" if v is None else v for name, v in expected.items()}
    best = "val/total_loss" if action == "pretrain" else "val/target_loss"
    assert metrics_of_hyperparameters(readers[action]) == [best]


def test_artifact_has_event_files_and_history(models, tmp_path):
    """What a user gets who exports the model and starts TensorBoard on it."""
    directory = AAMModelDirectoryFormat()
    storage.save(models["train_regressor"], str(directory))
    artifact = qiime2.Artifact.import_data("AAMModel[SequenceRegressor]", directory)
    artifact.export_data(str(tmp_path / "exported"))
    values = scalars(read(tmp_path / "exported" / "tensorboard"))
    text = (tmp_path / "exported" / "history.tsv").read_text()
    rows = list(csv.DictReader(io.StringIO(text), delimiter="\t"))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 12))
    assert values["val/mae"] == pytest.approx([float(row["val/mae"]) for row in rows], rel=1e-6)


def test_a_run_directory_shows_the_run_while_it_trains(train, tmp_path, monkeypatch):
    seen = []
    original = History.on_train_epoch_start

    def look(self, trainer, pl_module):
        if trainer.current_epoch == 2:
            (folder,) = tmp_path.glob("pretrain-*/tensorboard")
            seen.append(scalars(read(folder)))
        original(self, trainer, pl_module)

    monkeypatch.setattr(History, "on_train_epoch_start", look)
    model = train("pretrain", tmp_path, epochs=3)
    (values,) = seen
    for name in ("val/total_loss", "train/total_loss"):
        assert values[name] == pytest.approx(model.history[name][:2].tolist(), rel=1e-6)


@pytest.fixture(scope="module")
def tensorboard(models, root):
    """Start TensorBoard on the runs, and return what asks it over HTTP."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(root)]
    command += ["--host", "127.0.0.1", "--port", "0"]
    command += ["--load_fast", "false", "--reload_task", "blocking", "--reload_interval", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        lines = iter(server.stderr.readline, "")
        address = next(m[0] for line in lines if (m := re.search(r"http://[\d.:]+/", line)))
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def ask(path, **query):
            url = f"{address}{path}?{urllib.parse.urlencode(query)}"
            return json.loads(direct.open(url).read())

        yield ask
    finally:
        server.terminate()
        server.wait()
        server.stderr.close()


def run_named(ask, action):
    (name,) = [run for run in ask("data/runs") if run.startswith(f"{action}-")]
    return name


def test_tensorboard_lists_the_runs_by_action(tensorboard):
    assert sorted(run.split("-")[0] for run in tensorboard("data/runs")) == [
        "pretrain",
        "train",
        "train",
    ]


def test_tensorboard_serves_the_scalars(tensorboard, models):
    run = run_named(tensorboard, "train-classifier")
    tags = tensorboard("data/plugin/scalars/tags")[run]
    assert {"train/total_loss", "val/accuracy", "learning_rate"} <= set(tags)
    points = tensorboard("data/plugin/scalars/scalars", run=run, tag="val/accuracy")
    expected = models["train_classifier"].history["val/accuracy"].tolist()
    assert [value for _, _, value in points] == pytest.approx(expected, rel=1e-6)


def test_tensorboard_serves_histograms(tensorboard):
    run = run_named(tensorboard, "pretrain")
    tags = tensorboard("data/plugin/histograms/tags")[run]
    assert "gradients/asv_encoder.position" in tags
