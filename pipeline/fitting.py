"""One fit: Lightning's Trainer for a config, the module it trains, and the callbacks that go along."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import nn

from pipeline.clock import Clock
from pipeline.config import Config
from pipeline.data.datamodule import TableDataModule, batch_rows, steps_per_epoch
from pipeline.errors import ConfigError, first_line
from pipeline.loop import Checkpoint, History, Row, TimeLimit, Validation, interruptible, read_checkpoint
from pipeline.metrics import higher_is_better, monitors_of
from pipeline.module import TableModule
from pipeline.optim import Span
from pipeline.outputs import run_batches
from pipeline.tracking import Tracker
from pipeline.types import Task
from pipeline.validation import Scorer

# what a run has to say it says itself; Lightning's own loggers add advice and advertisements
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


class Fit(NamedTuple):
    """What a fit leaves beside the network at its best: a row an epoch, the best one, whether it was interrupted."""

    rows: list[Row]
    best_epoch: int
    val: Mapping[str, float]  # of the best epoch; of an ensemble, of each network's
    interrupted: bool


def check_monitor(config: Config, task: Task) -> None:
    """Raise ConfigError where the monitored metric is not one of the task's."""
    fitting, asked = monitors_of(task), config.trainer.monitor
    if asked not in fitting:
        raise ConfigError(f"trainer.monitor: {asked} does not fit {task}; choices: {', '.join(fitting)}")


def precision_for(accelerator: str) -> Literal["bf16-mixed", "32-true"]:
    """The precision for `trainer.precision=auto`: bf16-mixed where a CPU has the instructions (Intel AMX)."""
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available())
    return "bf16-mixed" if on_cpu and torch.cpu.get_capabilities().get("amx_bf16") else "32-true"


def build_trainer(config: Config) -> pl.Trainer:
    """Lightning's Trainer for `config`; raises ConfigError where the machine has no such device."""
    asked = config.trainer
    assert asked.precision != "auto", "see precision_for"
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


def build_module(
    config: Config, data: TableDataModule, network: nn.Module, world_size: int, n_at_a_time: int = 0
) -> TableModule:
    """The LightningModule that trains `network` on `data`."""
    span = Span(
        max_epochs=config.trainer.max_epochs,
        batches_per_epoch=steps_per_epoch(data.n_learned, batch_rows(config.trainer), world_size),
        accumulate=config.trainer.accumulate_grad_batches,
        higher_is_better=higher_is_better(config.trainer.monitor),
    )
    return TableModule(config, network, Scorer(config, data), span, n_at_a_time)


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
    limits = [TimeLimit(asked.max_time, history)] if asked.max_time else []
    # what they need is known after the Trainer is made: only it can tell a missing device before a run is opened
    trainer.callbacks += [Validation(data.validation_batches(), clock), history, *limits, *callbacks, checkpoint]  # type: ignore[attr-defined]
    start = checkpoint_file if resume and checkpoint_file and checkpoint_file.exists() else None
    if start is not None:
        _restore(start, trainer, history, checkpoint, tracker)
    interrupted = False if checkpoint.finished else _fit(module, data, trainer, start)
    val = _at_best(module, data, history.rows, checkpoint)
    return Fit(history.rows, checkpoint.best_epoch, val, interrupted)


def _at_best(
    module: TableModule, data: TableDataModule, rows: Sequence[Row], checkpoint: Checkpoint
) -> dict[str, float]:
    """The network's weights set to the best ones, and what they reach: its best epoch's row, or an ensemble's anew."""
    if not checkpoint.best_weights:
        return {}
    module.cpu().network.load_state_dict(checkpoint.best_weights)
    if module.n_networks > 1:  # whose best epochs differ
        return module.scorer.together(run_batches(module.network, data.validation_batches()))
    at_best = next(row for row in rows if row["epoch"] == checkpoint.best_epoch)
    return {name: value for name, value in at_best.items() if name.startswith("val/")}


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
