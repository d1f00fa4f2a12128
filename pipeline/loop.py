"""What goes along with the training loop: the record of epochs, best weights and checkpoints, interruption."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from pipeline.clock import Clock
from pipeline.data.datamodule import Batch
from pipeline.module import TableModule
from pipeline.networks.ensemble import Ensemble
from pipeline.trainer_config import Trainer

Row = dict[str, float]

logger = logging.getLogger(__name__)


class History(pl.Callback):
    """A row an epoch: epoch (from 1), train/loss, train/lr, val/… and time/epoch in seconds.

    `listener` gets each row as it is made; after a resume only the new ones.
    """

    def __init__(self, listener: Callable[[Row], None]) -> None:
        self.rows: list[Row] = []
        self._listener = listener

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TableModule)
        self._start, self._rate = time.perf_counter(), pl_module.learning_rate()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TableModule)
        if pl_module.interrupted:
            return
        self.rows.append(
            {
                "epoch": trainer.current_epoch + 1,
                "train/loss": pl_module.train_loss(),
                "train/lr": self._rate,
                **{name: float(value) for name, value in trainer.callback_metrics.items()},
                "time/epoch": time.perf_counter() - self._start,
            }
        )
        self._listener(self.rows[-1])

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])


class TimeLimit(pl.Callback):
    """Ends training where another epoch as long as the last would end after `max_time` seconds of epochs in all."""

    def __init__(self, max_time: float, history: History) -> None:
        self._max_time, self._history = max_time, history

    def left(self) -> float:
        """Seconds of training that are left."""
        return self._max_time - sum(row["time/epoch"] for row in self._history.rows)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TableModule)
        if pl_module.interrupted:
            return
        left, needed = self.left(), self._history.rows[-1]["time/epoch"]
        if trainer.strategy.broadcast(left < needed):  # processes' clocks differ
            trainer.should_stop = True
            told = (self._max_time, trainer.current_epoch + 1, max(0.0, left), needed)
            logger.info("trainer.max_time=%g: over after epoch %d, with %.3g s left; the last epoch took %.3g s", *told)


class Validation(pl.Callback):
    """Validates at the end of an epoch, charged to a clock's evaluation.

    Not by Lightning's own loop: what that does around one forward pass takes as long as several training steps.
    """

    def __init__(self, rows: Sequence[Batch], clock: Clock) -> None:
        self._rows, self._clock = rows, clock

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        convert, move = trainer.precision_plugin.convert_input, trainer.strategy.batch_to_device
        self._parts = [move(convert(part)) for part in self._rows]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TableModule)
        with self._clock.part("evaluation"):
            pl_module.validate(self._parts)


class Checkpoint(pl.callbacks.Checkpoint):
    """The best weights, kept in memory, an early stop, and a checkpoint file to resume from.

    Each network of an ensemble has its own best epoch and, `patience` epochs later, its own stop: what it learns from
    then on is not kept. When all have stopped, training does.

    The file is written at the end of an epoch when the last one is `every_seconds` old, and when training is over;
    it replaces the last one whole, so that a kill at any moment leaves one that can be read. Without a path none is.
    """

    def __init__(self, path: Path | None, asked: Trainer, clock: Clock, *, higher_is_better: bool) -> None:
        self.best_epochs: list[int] = []  # a network each; 0: none yet
        self.best_values: list[float] = []
        self.best_weights: dict[str, Tensor] = {}
        self.finished = False
        self._path, self._clock = path, clock
        self._patience, self._every_seconds = asked.patience, asked.checkpoint_seconds
        self._sign = 1 if higher_is_better else -1
        self._written = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TableModule)
        if pl_module.interrupted:
            return  # part of an epoch is nothing to resume from
        self._keep_best(pl_module, trainer.current_epoch + 1)
        if all(self._has_stopped(best, trainer.current_epoch + 1) for best in self.best_epochs):
            trainer.should_stop = True
        self.finished = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        if self._path is None:
            return
        due = self.finished or time.monotonic() - self._written >= self._every_seconds
        if trainer.strategy.broadcast(due):  # processes' clocks differ
            self._write(trainer, self._path)

    def state_dict(self) -> dict[str, Any]:
        names = ("best_epochs", "best_values", "best_weights", "finished")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, value in state_dict.items():
            setattr(self, name, value)

    @property
    def best_epoch(self) -> int:
        """The last epoch from which weights were kept; 0: none."""
        return max(self.best_epochs, default=0)

    def soonest_end(self, max_epochs: int) -> int:
        """The epoch after which training is over if no network gets any better."""
        return max_epochs if self._patience is None else min(max_epochs, self.best_epoch + self._patience)

    def _keep_best(self, module: TableModule, epoch: int) -> None:
        """Keep the weights of the networks that are better than ever and have not stopped."""
        values = module.monitored
        if not self.best_epochs:
            self.best_epochs, self.best_values = [0] * len(values), [float("nan")] * len(values)
        better = [
            number
            for number, value in enumerate(values)
            if self._is_better(number, value) and not self._has_stopped(self.best_epochs[number], epoch - 1)
        ]
        for number in better:
            self.best_epochs[number], self.best_values[number] = epoch, values[number]
        if better:
            self._take(module.kept, better)

    def _take(self, network: nn.Module, numbers: Sequence[int]) -> None:
        weights = {name: tensor.detach() for name, tensor in network.state_dict().items()}
        if not self.best_weights or len(numbers) == len(self.best_epochs):
            self.best_weights = {name: tensor.cpu().clone() for name, tensor in weights.items()}
            return
        assert isinstance(network, Ensemble)
        for number in numbers:
            pairs = zip(network.parts(self.best_weights, number), network.parts(weights, number), strict=True)
            for kept, new in pairs:
                kept.copy_(new)

    def _has_stopped(self, best_epoch: int, epoch: int) -> bool:
        """Whether `patience` epochs without improvement are over after an epoch."""
        return self._patience is not None and epoch - best_epoch >= self._patience

    def _is_better(self, number: int, value: float) -> bool:
        """Whether a network's value beats its best so far; nan never does."""
        best = self.best_values[number]
        return value == value and (best != best or self._sign * value > self._sign * best)

    def _write(self, trainer: pl.Trainer, path: Path) -> None:
        new = path.with_name(f"{path.name}.{os.getpid()}")  # runs that are not tracked share the folder
        with self._clock.part("checkpoint"):
            trainer.save_checkpoint(new)
            if trainer.is_global_zero:
                new.replace(path)
        self._written = time.monotonic()


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """A checkpoint file's content: tensors, numbers and text only, so that reading it runs no code."""
    content: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content


@contextmanager
def interruptible(trainer: pl.Trainer, module: TableModule) -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM end training after the mini-batch under way; yields a list that then holds the signal.

    A second one acts at once. With several processes the epoch is finished first, so that none waits for another.
    """
    received: list[int] = []
    handled = (signal.SIGINT, signal.SIGTERM)

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        logger.warning("stopping; a second Ctrl-C stops at once")
        trainer.should_stop = True
        module.interrupted = trainer.world_size == 1
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    if threading.current_thread() is not threading.main_thread():
        yield received  # only the main thread may handle signals
        return
    before = {number: signal.signal(number, stop) for number in handled}
    try:
        yield received
    finally:
        restore()
