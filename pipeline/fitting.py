"""One fit: Lightning's Trainer for a config, the module it trains, and the callbacks that go along."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import nn

from pipeline.clock import Clock
from pipeline.config import Config
from pipeline.data.datamodule import TableDataModule, steps_per_epoch
from pipeline.errors import ConfigError, first_line
from pipeline.loop import Checkpoint, History, Row, Validation, interruptible, read_checkpoint
from pipeline.losses import build_loss, loss_unit
from pipeline.metrics import compute_metrics, higher_is_better, monitors_of
from pipeline.module import TableModule, predictions
from pipeline.optim import Span
from pipeline.tracking import Tracker
from pipeline.types import Task

# what a run has to say it says itself; Lightning's own loggers add advice and advertisements
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


class Fit(NamedTuple):
    """What a fit leaves: a row an epoch, the best epoch with its weights, and whether it was interrupted."""

    rows: list[Row]
    best_epoch: int
    best_weights: Mapping[str, torch.Tensor]
    interrupted: bool


def check_monitor(config: Config, task: Task) -> None:
    """Raise ConfigError where the monitored metric is not one of the task's."""
    fitting, asked = monitors_of(task), config.trainer.monitor
    if asked not in fitting:
        raise ConfigError(f"trainer.monitor: {asked} does not fit {task}; choices: {', '.join(fitting)}")


def build_trainer(config: Config) -> pl.Trainer:
    """Lightning's Trainer for `config`; raises ConfigError where the machine has no such device."""
    asked = config.trainer
    devices = list(asked.devices) if isinstance(asked.devices, tuple) else asked.devices
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pl.Trainer(
                accelerator=asked.accelerator,
                devices=devices,
                strategy=asked.strategy,
                precision=asked.precision,
                max_epochs=asked.max_epochs,
                logger=False,  # tracking.py is the logger
                enable_checkpointing=False,  # loop.Checkpoint does it
                enable_progress_bar=False,
                enable_model_summary=False,
                use_distributed_sampler=False,  # Blocks shares the rows out
            )
    except (ValueError, TypeError, RuntimeError, ImportError, MisconfigurationException) as error:
        raise ConfigError(f"trainer: {first_line(error)}") from error


def build_module(config: Config, data: TableDataModule, network: nn.Module, world_size: int) -> TableModule:
    """The LightningModule that trains `network` on `data`."""
    task, y = data.table.task, data.targets(data.splits.val)
    center, scale = data.preprocessor.target_center_, data.preprocessor.target_scale_
    span = Span(
        max_epochs=config.trainer.max_epochs,
        batches_per_epoch=steps_per_epoch(len(data.train.y), config.trainer.batch_size, world_size),
        accumulate=config.trainer.accumulate_grad_batches,
        higher_is_better=higher_is_better(config.trainer.monitor),
    )

    def score(outputs: torch.Tensor) -> Mapping[str, float]:
        return compute_metrics(task, y, predictions(outputs, task, center=center, scale=scale))

    unit = loss_unit(config.loss, data.features, float(scale[0]))
    return TableModule(config, network, build_loss(config.loss, data.features), score, span, unit)


def fit(
    module: TableModule,
    data: TableDataModule,
    trainer: pl.Trainer,
    tracker: Tracker,
    checkpoint_file: Path | None,
    clock: Clock,
    callbacks: Sequence[pl.Callback] = (),
    *,
    resume: bool = False,
) -> Fit:
    """Train to the end, an early stop or an interruption; `resume` starts from the checkpoint, if there is one.

    Without `checkpoint_file` none is written.
    """
    asked, higher = module.config.trainer, module.span.higher_is_better
    history = History(lambda row: _track(row, tracker))
    checkpoint = Checkpoint(checkpoint_file, asked, clock, higher_is_better=higher)
    stopping = []
    if asked.patience is not None:
        mode = "max" if higher else "min"
        stopping = [EarlyStopping(asked.monitor, patience=asked.patience, mode=mode, check_finite=False, strict=False)]
    # what they need is known after the Trainer is made: only it can tell a missing device before a run is opened
    trainer.callbacks += [Validation(data.val, clock), history, *callbacks, *stopping, checkpoint]  # type: ignore[attr-defined]
    start = checkpoint_file if resume and checkpoint_file and checkpoint_file.exists() else None
    if start is not None:
        _restore(start, trainer, history, checkpoint, tracker)
    interrupted = False if checkpoint.finished else _fit(module, data, trainer, start)
    return Fit(history.rows, checkpoint.best_epoch, checkpoint.best_weights, interrupted)


def _fit(module: TableModule, data: TableDataModule, trainer: pl.Trainer, start: Path | None) -> bool:
    """Lightning's fit; whether a signal ended it."""
    with interruptible(trainer, module) as received, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")  # advice about workers, devices and loggers
        try:
            trainer.fit(module, datamodule=data, ckpt_path=start, weights_only=True)
        except SIGTERMException:  # raised after a SIGTERM that has ended training in good order
            assert received
        except SystemExit as error:  # what Lightning makes of a second Ctrl-C
            raise KeyboardInterrupt from error
    return bool(received)


def _restore(path: Path, trainer: pl.Trainer, history: History, checkpoint: Checkpoint, tracker: Tracker) -> None:
    """Take back what the checkpoint knows, and track epochs that were still on their way when the run was cut off."""
    states = read_checkpoint(path)["callbacks"]
    history.load_state_dict(states[history.state_key])
    checkpoint.load_state_dict(states[checkpoint.state_key])
    if checkpoint.finished:  # no fit follows, at whose start Lightning would do it
        for other in trainer.callbacks:  # type: ignore[attr-defined]
            if other.state_key in states:
                other.load_state_dict(states[other.state_key])
    for row in history.rows:
        _track(row, tracker)


def _track(row: Row, tracker: Tracker) -> None:
    tracker.metrics({name: value for name, value in row.items() if name != "epoch"}, step=int(row["epoch"]))
