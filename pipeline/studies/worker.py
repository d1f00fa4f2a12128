"""A worker's side: it trains what it is sent, and reports while it does."""

import logging
import multiprocessing
import os
import signal
import threading
import warnings
from multiprocessing.connection import Connection, wait
from typing import Any

import pytorch_lightning as pl

from pipeline.baselines import fit_baselines
from pipeline.data.datamodule import TableDataModule
from pipeline.data.prepared import Prepared, prepare
from pipeline.errors import PipelineError, TrainingError, first_line
from pipeline.metrics import compute_metrics
from pipeline.studies.jobs import Ended, Fit, Fitted, Job, Probe, Probed, Report, Run, Trial
from pipeline.train import train, try_out


class Reporter(pl.Callback):
    """Sends the metric at the best epoch so far, every so many epochs, and stops training when told to."""

    def __init__(self, connection: Connection, job: Trial) -> None:
        self.pruned = False
        self._connection, self._job = connection, job
        self._best, self._value = float("inf"), float("nan")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        job, metrics = self._job, trainer.callback_metrics
        if not job.every:
            return
        monitored = job.sign * float(metrics[job.config.trainer.monitor])
        if monitored < self._best:
            self._best, self._value = monitored, float(metrics[job.metric])
        epoch = trainer.current_epoch + 1
        if epoch % job.every or epoch == trainer.max_epochs or self._value != self._value:
            return
        self._connection.send(Report(epoch, self._value))
        if self._connection.recv():
            self.pruned = trainer.should_stop = True


def serve(connection: Connection) -> None:
    """Do jobs until there are no more, or nobody is left to send them."""
    os.setsid()  # Ctrl-C in a terminal is for the process that leads the study
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    warnings.simplefilter("ignore")
    logging.getLogger("pipeline").setLevel(logging.CRITICAL)
    tables: dict[Any, Prepared] = {}
    while (job := connection.recv()) is not None:
        connection.send(_do(job, connection, tables))


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _do(job: Job, connection: Connection, tables: dict[Any, Prepared]) -> Ended:
    try:
        if isinstance(job, Run):
            config = job.config if job.baselines else job.config.model_copy(update={"baselines": ()})
            return Ended(train(config, parent=job.parent, tags=job.tags))
        key = (job.config.data, job.config.preprocess, job.config.trainer.folds)
        if key not in tables:
            tables.clear()  # one at a time: they are mapped from the cache in milliseconds
            tables[key] = prepare(job.config)
        if isinstance(job, Probe):
            return Ended(_probe(job, tables[key]))
        if isinstance(job, Fit):
            return Ended(_fitted(job, tables[key]))
        reporter = Reporter(connection, job)
        return Ended(try_out(job.config, [reporter], tables[key]), reporter.pruned)
    except PipelineError as error:
        return Ended(None, error=str(error), diverged=isinstance(error, TrainingError))
    except Exception as error:  # one trial's crash stops nothing
        return Ended(None, error=f"{type(error).__name__}: {first_line(error)}")


def _probe(job: Probe, prepared: Prepared) -> Probed:
    once, table = job.config.trainer.model_copy(update={"max_epochs": 1}), prepared.table
    try:
        result = try_out(job.config.model_copy(update={"trainer": once}), (), prepared)
        threads, seconds = result.threads, result.history[0]["time/epoch"]
    except TrainingError:  # it diverges at once: its runs will say so
        threads, seconds = 1, 0.0
    return Probed(table.name, table.digest, table.task, table.notes, threads, seconds)


def _fitted(job: Fit, prepared: Prepared) -> Fitted:
    """A baseline fitted; raises TrainingError where it cannot be."""
    data = TableDataModule(job.config, prepared)
    data.setup()
    found = fit_baselines([job.name], data, seed=job.config.seed).get(job.name)
    if found is None:
        raise TrainingError(f"{job.name} cannot be fitted")
    test = compute_metrics(data.table.task, data.targets(data.splits.test), found.test)
    return Fitted(test, found.seconds, found.row_seconds, found.n_bytes)
