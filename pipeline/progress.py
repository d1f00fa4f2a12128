"""How far training is: a bar in a terminal, a line every few seconds elsewhere."""

import math
import time

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pipeline.loop import Checkpoint, History, TimeLimit

LINE_SECONDS = 5.0  # between two lines where there is no terminal


class ProgressReport(pl.Callback):
    """Shows epoch, training loss, the monitored metric and the time left, to the soonest end and to the last epoch."""

    def __init__(self, console: Console, *, monitor: str) -> None:
        self._console, self._monitor = console, monitor
        self._bar: Progress | None = None
        self._said = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start, self._first_epoch = time.monotonic(), trainer.current_epoch
        if not self._console.is_terminal:
            return
        self._bar = Progress(
            TextColumn("epoch"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"),
            TimeElapsedColumn(), TextColumn("<"), TimeRemainingColumn(), console=self._console, transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=trainer.max_epochs, completed=trainer.current_epoch)
        self._bar.start()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        rows = next(callback.rows for callback in trainer.callbacks if isinstance(callback, History))  # type: ignore[attr-defined]
        if not rows:
            return
        names = dict.fromkeys(["train/loss", "val/loss", self._monitor])
        numbers = "  ".join(f"{name} {rows[-1][name]:.4g}" for name in names if name in rows[-1])
        if self._bar is not None:
            end = self._soonest_end(trainer)
            self._bar.update(self._task, total=end, completed=trainer.current_epoch + 1, description=numbers)
        elif time.monotonic() - self._said >= LINE_SECONDS:
            self._said = time.monotonic()
            self._console.print(
                f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {numbers}  {self._left(trainer)}"
            )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._stop()

    def _left(self, trainer: pl.Trainer) -> str:
        epoch, most = trainer.current_epoch + 1, trainer.max_epochs or 0
        seconds = (time.monotonic() - self._start) / (epoch - self._first_epoch)
        limits = (callback.left() for callback in trainer.callbacks if isinstance(callback, TimeLimit))  # type: ignore[attr-defined]
        most_seconds = max(0, min(limits, default=math.inf))
        ends = (self._soonest_end(trainer), most)
        times = [f"{min(seconds * (end - epoch), most_seconds):.0f}" for end in ends]
        return f"about {' to '.join(dict.fromkeys(times))} s left"

    def _soonest_end(self, trainer: pl.Trainer) -> int:
        """The epoch after which training is over if nothing gets better."""
        keeper = next(callback for callback in trainer.callbacks if isinstance(callback, Checkpoint))  # type: ignore[attr-defined]
        return max(trainer.current_epoch + 1, keeper.soonest_end(trainer.max_epochs or 0))

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
