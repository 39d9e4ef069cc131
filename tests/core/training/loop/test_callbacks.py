"""The progress bar as users see it, and what the other callbacks write and remember."""

import re
from types import SimpleNamespace

import pytest
import torch

from q2_aam.core import api
from q2_aam.core.training.loop import callbacks
from q2_aam.core.training.loop.callbacks import Histograms, History, Patience, ProgressBar

IN_BAR = {
    "pretrain": ["TL", "UL", "NL", "NA", "LR", "samples/s", "left"],
    "train_regressor": ["TL", "RL", "UL", "NL", "NA", "LR", "samples/s", "left"],
    "train_classifier": ["TL", "CL", "UL", "NL", "NA", "LR", "samples/s", "left"],
}


@pytest.fixture
def bars(simulated, tree_path, quick, capsys):
    """Return what trains with progress bars, and gives back the last one of each epoch."""

    def of(action):
        monitor, options = api.Monitor(progress=True), {**quick, "batch_size": 8}
        if action == "pretrain":
            api.pretrain(simulated.table, tree_path, monitor=monitor, **options)
        else:
            column = simulated.metadata["age" if action == "train_regressor" else "site"]
            train = getattr(api, action)
            train(simulated.table, column, phylogeny=tree_path, monitor=monitor, **options)
        out, err = capsys.readouterr()
        assert out == ""
        lines = re.split(r"[\r\n]+", err)
        return [[s for s in lines if s.startswith(f"Epoch {e}: 100%")][-1] for e in (0, 1)]

    return of


@pytest.mark.parametrize("action", IN_BAR)
def test_progress_bar_shows_short_names_on_stderr(bars, action):
    for bar in bars(action):
        shown = bar[bar.index("[") :]
        assert re.findall(r"([A-Za-z/]+)=", shown) == IN_BAR[action]
        assert "5/5" in bar
        assert re.match(r"\[\d\d:\d\d<00:00, TL=\d+\.\d{3}", shown)
        assert re.search(r"LR=\d\.\de[+-]\d\d, samples/s=[\d.e+]+, left=\d\d:\d\d", shown)
        assert "it/s" not in bar


class Timed:
    """A clock that is set by hand."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    timed = Timed()
    monkeypatch.setattr(callbacks, "time", timed)
    return timed


def trainer_of(epoch, sizes, epochs, lr=0.25):
    """Return what a callback asks of a trainer."""
    plan = [range(n) for n in sizes]
    return SimpleNamespace(
        current_epoch=epoch, max_epochs=epochs, is_global_zero=True,
        train_dataloader=SimpleNamespace(dataset=SimpleNamespace(plan=plan)),
        num_training_batches=len(plan), max_steps=-1,
        optimizers=[SimpleNamespace(param_groups=[{"lr": lr}])],
    )  # fmt: skip


def test_progress_bar_tells_speed_and_time_left(clock, capsys):
    """An epoch of 30 samples in 10 s, of which 5 s are validation; it was taken up at epoch 2."""
    bar, module = ProgressBar(None), SimpleNamespace(latest={})
    trainer = trainer_of(2, [10, 20], epochs=12)
    bar.setup(trainer, module, "fit")
    bar.on_train_start(trainer, module)
    bar.on_train_epoch_start(trainer, module)
    clock.now += 1
    bar.on_train_batch_end(trainer, module, None, None, 0)
    shown = bar.get_metrics(trainer, module)
    assert shown["samples/s"] == "10"
    clock.now += 4
    bar.on_train_batch_end(trainer, module, None, None, 1)
    assert bar.get_metrics(trainer, module)["samples/s"] == "6"
    clock.now += 5
    trainer.current_epoch = 3
    bar.on_train_epoch_start(trainer, module)
    clock.now += 2
    bar.on_train_batch_end(trainer, module, None, None, 0)
    shown = bar.get_metrics(trainer, module)
    assert shown["samples/s"] == "5"
    # 12 s for one and a half epochs, and eight and a half to come
    assert shown["left"] == "01:08"
    assert shown["LR"] == "2.5e-01"


def test_progress_bar_before_the_first_batch_has_no_speed(clock):
    shown = ProgressBar("RL").get_metrics(trainer_of(0, [5], 1), SimpleNamespace(latest={}))
    assert shown == {"LR": "2.5e-01"}


def test_progress_bar_leaves_out_losses_that_there_are_not(clock):
    latest = {"train/total_loss": torch.tensor(1.5), "train/nuc_accuracy": torch.tensor(0.25)}
    shown = ProgressBar("RL").get_metrics(trainer_of(0, [5], 1), SimpleNamespace(latest=latest))
    assert shown == {"TL": "1.500", "NA": "0.250", "LR": "2.5e-01"}


class Writer:
    """Remembers the histograms that it is given."""

    def __init__(self):
        self.written = []

    def add_histogram(self, name, values, step):
        assert torch.isfinite(values).all()
        self.written.append((name, step))


def test_histograms_are_written_once_in_every_tenth_epoch():
    writer, histograms = Writer(), Histograms()
    model = torch.nn.Linear(2, 1)
    model(torch.ones(1, 2)).sum().backward()
    model.bias.grad = None
    for epoch in range(21):
        trainer = SimpleNamespace(current_epoch=epoch, logger=SimpleNamespace(experiment=writer))
        for _ in range(3):
            histograms.on_before_optimizer_step(trainer, SimpleNamespace(model=model), None)
    kinds = ("weights/weight", "gradients/weight")
    assert writer.written == [(kind, epoch) for epoch in (0, 10, 20) for kind in kinds]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_histograms_leave_out_what_is_no_number(value):
    """The error of TensorBoard would hide the one that says what to do."""
    writer, model = Writer(), torch.nn.Linear(2, 1)
    model.weight.grad = torch.tensor([[1.0, value]])
    trainer = SimpleNamespace(current_epoch=0, logger=SimpleNamespace(experiment=writer))
    Histograms().on_before_optimizer_step(trainer, SimpleNamespace(model=model), None)
    assert writer.written == [("weights/weight", 0)]


def test_history_has_a_row_an_epoch_with_its_seconds(clock):
    history = History()
    for epoch in range(2):
        metrics = {"val/mae": torch.tensor(3.0 - epoch), "learning_rate": torch.tensor(0.5)}
        trainer = SimpleNamespace(
            current_epoch=epoch, callback_metrics={**metrics, "other": torch.tensor(1.0)}
        )
        history.on_train_epoch_start(trainer, None)
        clock.now += 2 + epoch
        history.on_train_epoch_end(trainer, None)
    assert history.frame().to_dict("list") == {
        "epoch": [0, 1],
        "val/mae": [3.0, 2.0],
        "learning_rate": [0.5, 0.5],
        "seconds": [2.0, 3.0],
    }


def test_history_is_part_of_a_checkpoint():
    history, again = History(), History()
    history.rows = [{"epoch": 0, "val/mae": 1.0}]
    again.load_state_dict(history.state_dict())
    again.rows.append({"epoch": 1, "val/mae": 0.5})
    assert again.frame()["epoch"].tolist() == [0, 1]
    assert len(history.rows) == 1


@pytest.mark.parametrize(("waited", "stops"), [(1, False), (2, True)])
def test_patience_that_was_lost_stays_lost(waited, stops):
    patience, trainer = Patience("val/mae", patience=2), SimpleNamespace(should_stop=False)
    patience.wait_count = waited
    patience.on_train_start(trainer, None)
    assert trainer.should_stop == stops
