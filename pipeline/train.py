"""A training run from config to result. Read it from `train` on: it goes in the order things happen."""

import getpass
import hashlib
import logging
import secrets
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.utilities.exceptions import SIGTERMException

from pipeline.compose import to_yaml
from pipeline.config import Config
from pipeline.data.datamodule import TableDataModule, steps_per_epoch
from pipeline.errors import ConfigError
from pipeline.evaluate import Evaluation, evaluate, predictions_parquet
from pipeline.loop import Checkpoint, History, interruptible, read_checkpoint
from pipeline.losses import build_loss, check_loss, loss_unit
from pipeline.metrics import compute_metrics, metrics_of
from pipeline.module import TableModule, predictions
from pipeline.networks import build_network, count_parameters
from pipeline.optim import Span
from pipeline.tracking import Dataset, Tracker, checkpoint_dir, config_file, start_run
from pipeline.types import Result, Table

PACKAGES = ("torch", "pytorch-lightning", "mlflow", "scikit-learn", "numpy", "pandas")

logger = logging.getLogger(__name__)


def train(config: Config, callbacks: Sequence[pl.Callback] = (), *, resume: str | None = None) -> Result:
    """Train, evaluate and track one network.

    Args:
        config: what to do; the same config gives the same numbers on the same machine's CPU, bit for bit.
        callbacks: further Lightning callbacks.
        resume: id of a run that was cut off, to go on with from its last checkpoint; `config` must be its own.

    Raises:
        DataError: the table cannot be trained on.
        ConfigError: a setting does not fit the data.
        TrackingError: the tracking store cannot be used.
        TrainingError: the loss is no longer a finite number.
    """
    start = time.perf_counter()
    torch.set_num_threads(config.trainer.threads)
    data = TableDataModule(config)
    data.setup()
    _say(data)
    check_loss(config.loss, data.features)
    _check_monitor(config, data.table)
    torch.manual_seed(config.seed)
    network = build_network(config.model, data.features)
    trainer = build_trainer(config)
    module = _build_module(config, data, network, trainer.world_size)
    if not trainer.is_global_zero:  # a further DDP process: it trains along, the first one reports
        return _follow(trainer, module, data, config, callbacks)

    with start_run(
        config.tracking,
        experiment=data.table.name,
        name=_run_name(config),
        note=_experiment_note(data),
        resume=resume,
    ) as tracker:
        folder = checkpoint_dir(config.tracking.root, tracker.run_id)
        _log_start(tracker, config, data, network)  # a run cut off early may lack some of it
        history, checkpoint, received = fit(
            config, data, module, trainer, folder, tracker, callbacks, resume=resume is not None
        )
        if checkpoint.best_weights:
            network.load_state_dict(checkpoint.best_weights)
        evaluation = evaluate(network.cpu(), module.loss, data, seed=config.seed)
        result = Result(
            run_id=tracker.run_id,
            run_name=tracker.run_name,
            status="KILLED" if received else "FINISHED",
            best_epoch=checkpoint.best_epoch,
            n_epochs=len(history.rows),
            n_params=count_parameters(network),
            val=_at_best(history, checkpoint),
            test=evaluation.metrics,
            seconds=time.perf_counter() - start,
            checkpoint=folder,
        )
        if tracker.run_id:  # figures nobody keeps are not drawn
            _log_end(tracker, config, data, history, evaluation, result)
        tracker.end(result.status)
    return result


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
                num_sanity_val_steps=0,  # validation runs once an epoch anyway
                logger=False,  # tracking.py is the logger
                enable_checkpointing=False,  # loop.Checkpoint does it
                enable_progress_bar=False,
                enable_model_summary=False,
                use_distributed_sampler=False,  # Blocks shares the rows out
            )
    except (ValueError, RuntimeError, ImportError, MisconfigurationException) as error:
        raise ConfigError(f"trainer: {' '.join(str(error).split())}") from error


def fit(
    config: Config,
    data: TableDataModule,
    module: TableModule,
    trainer: pl.Trainer,
    folder: Path,
    tracker: Tracker,
    callbacks: Sequence[pl.Callback] = (),
    *,
    resume: bool = False,
) -> tuple[History, Checkpoint, list[int]]:
    """Train until the end, an early stop or an interruption; returns the record, the best weights, signals received."""
    asked, path = config.trainer, folder / "last.ckpt"
    higher = module.span.higher_is_better
    history = History(lambda row: tracker.metrics(row, step=int(row["epoch"])))
    checkpoint = Checkpoint(
        path, monitor=asked.monitor, higher_is_better=higher, every_seconds=asked.checkpoint_seconds
    )
    stopping = []
    if asked.patience is not None:
        mode = "max" if higher else "min"
        stopping = [EarlyStopping(asked.monitor, patience=asked.patience, mode=mode, check_finite=False, strict=False)]
    # what they need is known after the Trainer is made: only it can tell a missing device before a run is opened
    trainer.callbacks += [history, *callbacks, *stopping, checkpoint]  # type: ignore[attr-defined]
    if resume and path.exists():
        _restore(path, history, checkpoint, tracker)
    if checkpoint.finished:  # it was cut off after training, before the end of the run
        return history, checkpoint, []
    with interruptible(trainer, module) as received, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")  # advice about workers, devices and loggers
        try:
            trainer.fit(module, datamodule=data, ckpt_path=path if resume and path.exists() else None, weights_only=True)
        except SIGTERMException:  # raised after a SIGTERM that has ended training in good order
            assert received
        except SystemExit as error:  # what Lightning makes of a second Ctrl-C
            raise KeyboardInterrupt from error
    return history, checkpoint, received


def _restore(path: Path, history: History, checkpoint: Checkpoint, tracker: Tracker) -> None:
    """Take back what the checkpoint knows, and track epochs that were still on their way when the run was cut off."""
    states = read_checkpoint(path)["callbacks"]
    history.load_state_dict(states[history.state_key])
    checkpoint.load_state_dict(states[checkpoint.state_key])
    for row in history.rows:
        tracker.metrics(row, step=int(row["epoch"]))


def _follow(
    trainer: pl.Trainer,
    module: TableModule,
    data: TableDataModule,
    config: Config,
    callbacks: Sequence[pl.Callback],
) -> Result:
    folder = checkpoint_dir(config.tracking.root, "untracked")
    history, checkpoint, _ = fit(config, data, module, trainer, folder, Tracker(), callbacks)
    n_params = count_parameters(module.network)
    return Result("", "", "FINISHED", checkpoint.best_epoch, len(history.rows), n_params, {}, {}, 0.0, folder)


def _build_module(config: Config, data: TableDataModule, network: torch.nn.Module, world_size: int) -> TableModule:
    task, y = data.table.task, data.targets(data.splits.val)
    center, scale = data.preprocessor.target_center_, data.preprocessor.target_scale_
    n_batches = steps_per_epoch(len(data.train.y), config.trainer.batch_size, world_size)
    higher = _higher_is_better(config, data.table)
    span = Span(config.trainer.max_epochs, n_batches, config.trainer.accumulate_grad_batches, higher)

    def score(outputs: torch.Tensor) -> Mapping[str, float]:
        return compute_metrics(task, y, predictions(outputs, task, center=center, scale=scale))

    unit = loss_unit(config.loss, data.features, float(scale[0]))
    return TableModule(config, network, build_loss(config.loss, data.features), score, span, unit)


def _check_monitor(config: Config, table: Table) -> None:
    name = config.trainer.monitor.removeprefix("val/")
    if name != "loss" and name not in metrics_of(table.task):
        fitting = ", ".join(f"val/{known}" for known in ("loss", *metrics_of(table.task)))
        raise ConfigError(f"trainer.monitor: {config.trainer.monitor} does not fit {table.task}; choices: {fitting}")


def _higher_is_better(config: Config, table: Table) -> bool:
    name = config.trainer.monitor.removeprefix("val/")
    return name != "loss" and metrics_of(table.task)[name].higher_is_better


def _at_best(history: History, checkpoint: Checkpoint) -> dict[str, float]:
    """Validation numbers of the best epoch."""
    row = next((row for row in history.rows if row["epoch"] == checkpoint.best_epoch), {})
    return {name: value for name, value in row.items() if name.startswith("val/")}


def _say(data: TableDataModule) -> None:
    table, preprocessor = data.table, data.preprocessor
    for note in table.notes:
        logger.log(logging.WARNING if "looks like an id" in note else logging.INFO, note)
    if preprocessor.dropped_:
        logger.warning(
            "columns that are the same in every training row are left out: %s",
            ", ".join(preprocessor.dropped_),
        )
    sizes = " / ".join(str(len(rows)) for rows in data.splits)
    logger.info("%s: %d features, %s rows to train / validate / test", table.name, table.frame.shape[1], sizes)


def _run_name(config: Config) -> str:
    lr = f"{config.optimizer.lr:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{config.model.name}-{config.optimizer.name}-{lr}-{secrets.token_hex(2)}"
