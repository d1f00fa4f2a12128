"""The record of epochs, best weights, checkpoints and interruption, on real fits."""

import os
import signal
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from pipeline.clock import Clock
from pipeline.loop import Checkpoint, History, read_checkpoint
from pipeline.module import TableModule
from pipeline.train import train
from tests.conftest import quick


class Seen(pl.Callback):
    """What the callbacks of a fit hold at its end; optionally sends this process a signal in an epoch."""

    def __init__(self, *, signal_in_epoch: int | None = None, number: signal.Signals = signal.SIGINT) -> None:
        self.signal_in_epoch, self.number = signal_in_epoch, number
        self.weights: list[dict[str, torch.Tensor]] = []

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object) -> None:
        if trainer.current_epoch + 1 == self.signal_in_epoch:
            os.kill(os.getpid(), self.number)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TableModule)
        self.weights.append({name: tensor.clone() for name, tensor in pl_module.network.state_dict().items()})

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        self.history = next(each for each in callbacks if isinstance(each, History))
        self.checkpoint = next(each for each in callbacks if isinstance(each, Checkpoint))


def test_history_has_a_row_an_epoch_with_losses_rate_metrics_and_seconds() -> None:
    seen = Seen()
    train(quick("trainer.max_epochs=3", "optimizer.lr=0.01"), [seen])
    assert [row["epoch"] for row in seen.history.rows] == [1, 2, 3]
    for row in seen.history.rows:
        assert row["train/lr"] == 0.01
        assert row["time/epoch"] > 0
        assert {"train/loss", "val/loss", "val/accuracy", "val/roc_auc"} <= set(row)


@pytest.mark.parametrize("monitor", ["val/loss", "val/accuracy", "val/ece"])
def test_best_weights_are_those_of_the_epoch_with_the_best_monitored_value(monitor: str) -> None:
    seen = Seen()
    config = quick("trainer.max_epochs=8", "optimizer.lr=0.3", f"trainer.monitor={monitor}", "trainer.patience=null")
    result = train(config, [seen])
    values = [row[monitor] for row in seen.history.rows]
    best = max(values) if monitor == "val/accuracy" else min(values)
    assert seen.checkpoint.best_epoch == values.index(best) + 1 == result.best_epoch
    assert result.val[monitor] == best
    for name, tensor in seen.checkpoint.best_weights.items():
        assert torch.equal(tensor, seen.weights[values.index(best)][name])


def test_training_stops_after_patience_epochs_without_improvement() -> None:
    seen = Seen()
    result = train(quick("trainer.max_epochs=200", "trainer.patience=3", "optimizer.lr=0.1"), [seen])
    assert result.n_epochs == result.best_epoch + 3 < 200


def test_null_patience_never_stops_early() -> None:
    assert train(quick("trainer.max_epochs=30", "trainer.patience=null", "optimizer.lr=1")).n_epochs == 30


@pytest.mark.usefixtures("slow_epochs")
@pytest.mark.parametrize(("max_time", "n_epochs", "left"), [(1, 1, "0"), (9, 3, "0"), (10.5, 3, "1.5"), (3e3, 5, "")])
def test_no_epoch_begins_that_would_end_after_max_time(
    caplog: pytest.LogCaptureFixture, max_time: float, n_epochs: int, left: str
) -> None:
    caplog.set_level("INFO", "pipeline")
    seen = Seen()
    result = train(quick("trainer.max_epochs=5", f"trainer.max_time={max_time}", "optimizer.lr=0.1"), [seen])
    assert (result.status, result.n_epochs, seen.checkpoint.finished) == ("FINISHED", n_epochs, True)
    assert 1 <= result.best_epoch <= n_epochs
    end = f"over after epoch {n_epochs}, with {left} s left; the last epoch took 3 s"
    said = [text for text in caplog.messages if "max_time" in text]
    assert said == ([f"trainer.max_time={max_time}: {end}"] if left else [])


@pytest.mark.usefixtures("slow_epochs")
def test_a_resumed_run_counts_the_seconds_before_it_was_cut_off() -> None:
    limits = ["trainer.max_time=15", "trainer.max_epochs=50", "trainer.patience=null"]
    config = quick(*limits, "trainer.checkpoint_seconds=0")
    cut = train(config, [Seen(signal_in_epoch=4)])
    assert (cut.status, cut.n_epochs) == ("KILLED", 3)
    assert train(config, resume="untracked").n_epochs == 5


def test_a_metric_that_is_not_a_number_never_becomes_the_best() -> None:
    checkpoint = Checkpoint(Path("x"), quick("trainer.monitor=val/roc_auc").trainer, Clock(), higher_is_better=True)
    checkpoint.best_values = [float("nan"), 0.5]
    assert not checkpoint._is_better(0, float("nan"))
    assert checkpoint._is_better(0, 0.1)
    assert not checkpoint._is_better(1, float("nan"))
    assert not checkpoint._is_better(1, 0.5)
    assert checkpoint._is_better(1, 0.6)


def test_the_checkpoint_file_holds_data_only_and_is_replaced_whole(tmp_path: Path) -> None:
    result = train(quick("trainer.checkpoint_seconds=0"))
    assert result.checkpoint is not None
    content = read_checkpoint(result.checkpoint)  # torch's weights_only: refuses pickled code
    assert content["epoch"] == 1
    assert [file.name for file in result.checkpoint.parent.glob("last*")] == ["last.ckpt"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_training_with_the_best_weights_so_far_evaluated(number: signal.Signals) -> None:
    handler = signal.getsignal(signal.SIGINT)
    seen = Seen(signal_in_epoch=4, number=number)
    result = train(quick("trainer.max_epochs=50"), [seen])
    assert result.status == "KILLED"
    assert result.n_epochs == 3  # the epoch that was cut short is not recorded
    assert 1 <= result.best_epoch <= 3
    assert 0 <= result.test["accuracy"].value <= 1
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_signal_in_the_first_epoch_evaluates_the_weights_as_they_are() -> None:
    result = train(quick("trainer.max_epochs=50"), [Seen(signal_in_epoch=1)])
    assert (result.status, result.best_epoch, result.n_epochs) == ("KILLED", 0, 0)
    assert result.test["log_loss"].value > 0


class Impatient(pl.Callback):
    """Presses Ctrl-C twice."""

    def on_train_batch_start(self, *_: object) -> None:
        for _press in range(2):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_second_ctrl_c_stops_at_once() -> None:
    with pytest.raises(KeyboardInterrupt):
        train(quick("trainer.max_epochs=50"), [Impatient()])
