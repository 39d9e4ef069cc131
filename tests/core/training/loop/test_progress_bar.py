"""What users see of a run that is under way: on a terminal, and in a file."""

import re
import signal
import sys
from types import SimpleNamespace

import pytest
from clocks import Timed
from terminal import Terminal

from q2_aam.core import api
from q2_aam.core.training.loop import progress_bar
from q2_aam.core.training.loop.callbacks import History
from q2_aam.core.training.loop.lightning_module import TrainingModule
from q2_aam.core.training.loop.progress_bar import ProgressBar

WATCHED = api.Monitor(progress=True)


@pytest.fixture
def on_terminal(monkeypatch):
    """Return what puts a terminal of 80 columns in the place of the standard error stream."""

    def put():
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setattr(progress_bar, "OFTEN", 0.0)
        return terminal

    return put


@pytest.fixture
def train(simulated, tree_path, quick):
    """Return what trains a regressor with all losses, in five mini-batches an epoch."""

    def run():
        options = {**quick, "batch_size": 8, "phylogeny": tree_path, "monitor": WATCHED}
        return api.train_regressor(simulated.table, simulated.metadata["age"], **options)

    return run


def test_a_file_gets_a_line_an_epoch(train, capsys):
    model = train()
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert [line[:14] for line in lines] == ["Epoch 1 of 2: ", "Epoch 2 of 2: "]
    for line, (_, row) in zip(lines, model.history.iterrows(), strict=True):
        assert len(line) <= 80
        numbers = re.search(r"loss ([\d.]+), validation ([\d.]+).*, MAE ([\d.]+), left \d:", line)
        measured = row["train/target_loss"], row["val/target_loss"], row["val/mae"]
        assert [float(x) for x in numbers.groups()] == pytest.approx(measured, rel=5e-3)
    assert "(best)" in lines[0]


def test_a_terminal_gets_bars_that_fit(train, on_terminal):
    terminal = on_terminal()
    train()
    assert max(map(len, terminal.written)) < 80
    bars = [
        text for text in terminal.written if re.match(r"Epoch 2 of 2 \|[^ ]{3,}.*\| left=", text)
    ]
    assert bars
    for bar in bars:
        names = re.findall(r"(\w+)=\d", bar)
        assert names == ["left", "TL", "RL", "UL", "NL", "LR"]
        assert re.search(r"LR=\de[+-]\d\d [\d.]+/s\s*$", bar)
    explained = terminal.screen[:2]
    assert explained == [
        "TL: total loss, RL: loss on values, UL: UniFrac loss, NL: nucleotide loss,",
        "LR: learning rate, /s: samples a second, left: if all epochs come",
    ]
    assert [line[:12] for line in terminal.screen[2:]] == ["Epoch 1 of 2", "Epoch 2 of 2", ""]


def test_ctrl_c_leaves_a_clean_line(train, on_terminal, monkeypatch):
    terminal = on_terminal()
    steps, step = [], TrainingModule.training_step

    def stop(module, batch, index):
        steps.append(index)
        if len(steps) == 3:
            raise KeyboardInterrupt
        return step(module, batch, index)

    monkeypatch.setattr(TrainingModule, "training_step", stop)
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt, match=r"stopped before its end.*set Q2_AAM_RUN_DIR"):
            train()
    finally:
        signal.signal(signal.SIGINT, before)
    assert any(text.startswith("Epoch 1 of 2 |") for text in terminal.written)
    assert terminal.screen[2:] == [""]


def test_ctrl_c_after_the_last_epoch_says_how_to_go_on(train, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("q2_aam.core.training.run.complete", stop)
    with pytest.raises(KeyboardInterrupt, match=r"stopped before its end.*set Q2_AAM_RUN_DIR"):
        train()


@pytest.fixture
def clock(monkeypatch):
    timed = Timed()
    monkeypatch.setattr(progress_bar, "time", timed)
    return timed


def trainer_of(epoch, sizes, epochs, lr=0.25):
    """Return what the bar asks of a trainer."""
    plan = [range(n) for n in sizes]
    return SimpleNamespace(
        current_epoch=epoch, max_epochs=epochs, num_val_batches=[2],
        train_dataloader=SimpleNamespace(dataset=SimpleNamespace(plan=plan)),
        num_training_batches=len(plan), optimizers=[SimpleNamespace(param_groups=[{"lr": lr}])],
    )  # fmt: skip


def test_bar_tells_speed_and_time_left(clock, on_terminal):
    """An epoch of 30 samples in 10 s, of which 5 s are validation; it was taken up at epoch 2."""
    terminal = on_terminal()
    bar, module = ProgressBar(History(), "val_loss"), SimpleNamespace(latest={})
    trainer = trainer_of(2, [10, 20], epochs=12)

    def step(index, seconds):
        bar.on_train_batch_start(trainer, module, None, index)
        clock.now += seconds
        bar.on_train_batch_end(trainer, module, None, None, index)
        return bar.text(trainer, {})

    bar.on_train_start(trainer, module)
    bar.on_train_epoch_start(trainer, module)
    assert step(0, 1).endswith("LR=2e-01 10/s")
    assert step(1, 4).endswith("LR=2e-01 6.0/s")
    clock.now += 5
    bar.on_validation_batch_end(trainer, module, None, None, 0, 0)
    trainer.current_epoch = 3
    bar.on_train_epoch_start(trainer, module)
    # 12 s for one and a half epochs, and eight and a half to come
    assert step(0, 2) == "left=1:08 LR=2e-01 5.0/s"
    bar.on_exception(trainer, module, KeyboardInterrupt())
    assert terminal.screen[-1] == ""


LOSS = {"train/total_loss": 12.34}
VALUES = {"train/target_loss": 1.0, "val/target_loss": 0.5, "val/mae": 9.0, "val/r2": 0.4}
CLASSES = {"train/target_loss": 1.0, "val/target_loss": 0.5, "val/accuracy": 0.75, "val/f1": 0.7}


@pytest.mark.parametrize(
    ("metric", "target", "row", "said"),
    [
        ("val_loss", None, {**LOSS, "val/total_loss": 0.9}, "loss 12.3, validation 0.900 (best)"),
        ("val_loss", None, LOSS, "loss 12.3"),
        ("val_loss", None, {"train/total_loss": 0.00012}, "loss 0.00012"),
        ("val_loss", "RL", VALUES, "loss 1.00, validation 0.500 (best), MAE 9.00"),
        ("r2", "RL", VALUES, "loss 1.00, validation 0.500, R2 0.400 (best)"),
        ("val_loss", "CL", CLASSES, "loss 1.00, validation 0.500 (best), accuracy 0.750"),
        ("f1", "CL", CLASSES, "loss 1.00, validation 0.500, F1 0.700 (best)"),
    ],
)
def test_line_has_the_score_that_chooses_the_epoch(clock, metric, target, row, said):
    history, trainer = History(), trainer_of(9, [5], 100)
    history.rows = [row]
    bar = ProgressBar(history, metric, target)
    bar._run_began, bar._epochs = clock.now - 40, 10
    assert bar.line(trainer) == f"Epoch 10 of 100: {said}, left 6:00"
    history.rows = [row, row]
    assert "(best)" not in bar.line(trainer)


def test_early_stopping_is_said(caplog):
    caplog.set_level("INFO")
    bar = ProgressBar(History(), "val_loss")
    bar.on_train_end(trainer_of(10, [5], 10), None)
    assert not caplog.messages
    bar.on_train_end(trainer_of(7, [5], 10), None)
    assert "Early stopping" in caplog.text
