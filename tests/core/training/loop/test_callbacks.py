"""What the callbacks write and remember."""

from types import SimpleNamespace

import pytest
import torch
from clocks import Timed

from q2_aam.core.training.loop import callbacks
from q2_aam.core.training.loop.callbacks import Histograms, History, Patience


@pytest.fixture
def clock(monkeypatch):
    timed = Timed()
    monkeypatch.setattr(callbacks, "time", timed)
    return timed


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
        "epoch": [1, 2],
        "val/mae": [3.0, 2.0],
        "learning_rate": [0.5, 0.5],
        "seconds": [2.0, 3.0],
    }


def test_history_is_part_of_a_checkpoint():
    history, again = History(), History()
    history.rows = [{"epoch": 1, "val/mae": 1.0}]
    again.load_state_dict(history.state_dict())
    again.rows.append({"epoch": 2, "val/mae": 0.5})
    assert again.frame()["epoch"].tolist() == [1, 2]
    assert len(history.rows) == 1


@pytest.mark.parametrize(("waited", "stops"), [(1, False), (2, True)])
def test_patience_that_was_lost_stays_lost(waited, stops):
    patience, trainer = Patience("val/mae", patience=2), SimpleNamespace(should_stop=False)
    patience.wait_count = waited
    patience.on_train_start(trainer, None)
    assert trainer.should_stop == stops
