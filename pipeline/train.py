"""A training run from config to result. Read it from `train` on: it goes in the order things happen."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import NamedTuple

import pytorch_lightning as pl
import torch
from torch import nn

from pipeline.baselines import check_installed
from pipeline.clock import Clock
from pipeline.config import Config
from pipeline.console import log_notes
from pipeline.data.datamodule import TableDataModule, batch_rows, batch_size_for
from pipeline.data.prepared import Prepared
from pipeline.delivery import deliver
from pipeline.doctor.examine import Doctor
from pipeline.errors import TrackingError
from pipeline.evaluate import Evaluation, evaluate
from pipeline.fitting import Fit, build_module, build_trainer, check_monitor, fit, precision_for
from pipeline.losses import check_loss
from pipeline.lr_range import RangeTest, resolved
from pipeline.memory import keep_freed_memory
from pipeline.module import TableModule
from pipeline.networks import build_ensemble, build_network, count_parameters, is_trained_apart, row_work
from pipeline.record import experiment_note, record_end, record_start, run_name
from pipeline.registry import register
from pipeline.threads import at_a_time, choose_threads
from pipeline.tracking import Tracker, checkpoint_file, start_run
from pipeline.trainer_config import Trainer
from pipeline.types import Result
from pipeline.verdict import Standing, beside

INIT_ROWS = 2048  # about so many training rows are what initial weights may be fitted to

logger = logging.getLogger(__name__)


def train(
    config: Config,
    callbacks: Sequence[pl.Callback] = (),
    *,
    resume: str | None = None,
    import_seconds: float = 0.0,
    parent: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> Result:
    """Train, evaluate and track one network.

    Args:
        config: what to do; the same config gives the same numbers on the same machine's CPU, bit for bit.
        callbacks: further Lightning callbacks; the epoch's metrics stand in `trainer.callback_metrics` when
            `on_train_epoch_end` is called, and Lightning's validation hooks are not called.
        resume: id of a run that was cut off, to go on with from its last checkpoint; `config` must be its own.
        import_seconds: what starting the program took, for the run's account of its time.
        parent: id of the MLflow run that this one is nested under.
        tags: further tags of the run.

    Raises:
        DataError: the table cannot be trained on.
        ConfigError: a setting does not fit the data, or a baseline's package is not installed.
        TrackingError: the tracking store cannot be used.
        TrainingError: the loss is no longer a finite number.
    """
    clock = Clock(import_seconds)
    config, data, trainer, module, threads, ranged = _build(config, clock)
    network, n_params = module.network, count_parameters(module.network)
    clock.enter("tracking")
    names = {"experiment": data.table.name, "name": run_name(config), "note": experiment_note(data.table)}
    run = start_run(config.tracking, **names, resume=resume, parent=parent)
    with run if trainer.is_global_zero else nullcontext(Tracker()) as tracker:  # of DDP's processes one reports
        file = checkpoint_file(config.tracking.root, tracker.run_id or resume or "untracked")
        record_start(tracker, config, data, n_params=n_params, threads=threads, ranged=ranged)  # again on resume
        tracker.tags(tags or {})
        clock.leave()
        doctor = Doctor(config.doctor, module, data, tracker)
        with clock.part("compute"), doctor.at_work():
            trainer.callbacks += doctor.callbacks  # type: ignore[attr-defined]  # before the record of epochs
            fitted = fit(module, data, trainer, tracker, file, clock, callbacks, resume=resume is not None)
        with clock.part("evaluation"):
            evaluation = evaluate(network.cpu(), module.loss, data, seed=config.seed)
        with clock.part("baselines"):
            standing = beside(() if fitted.interrupted else config.baselines, data, evaluation)
        with clock.part("doctor"):
            findings = doctor.conclude(fitted.rows, evaluation, standing.baselines.get("linear"))
        result = _tested(_result(fitted, n_params, threads, clock.total()), evaluation, standing, findings)
        result = replace(result, run_id=tracker.run_id, run_name=tracker.run_name, checkpoint=file)
        with clock.part("bundle"):
            result = replace(result, fault=deliver(tracker, data, network, evaluation, result))
        with clock.part("report"):
            record_end(tracker, config, data, fitted.rows, evaluation, result)
        with clock.part("tracking"):
            tracker.metrics({f"time/{part}": seconds for part, seconds in clock.seconds.items()})
            tracker.end(result.status)
            result = replace(result, registered=_register(config, result) if parent is None else "")
    if overhead := clock.overhead():
        logger.info(overhead)
    return replace(result, seconds=clock.total())


def _register(config: Config, result: Result) -> str:
    """Enter a sound model in the registry; what became of it, in a line."""
    if not result.run_id or result.status == "KILLED" or result.fault:
        return ""
    try:
        return register(config.tracking.root, result.run_id).line
    except TrackingError as error:  # a server that is away: the run is not lost for that
        return f"not registered ({error}); do it later with: pipeline register {result.run_id}"


def try_out(config: Config, callbacks: Sequence[pl.Callback] = (), prepared: Prepared | None = None) -> Result:
    """Train and validate one network as `train` does, as a trial: nothing is tested, tracked or written.

    Args:
        config: what to do.
        callbacks: as for `train`.
        prepared: the config's table, where it is at hand already.

    Raises:
        DataError, ConfigError, TrainingError: as `train`.
    """
    clock = Clock()
    config, data, trainer, module, threads, _ = _build(config, clock, prepared)
    with clock.part("compute"):
        fitted = fit(module, data, trainer, Tracker(), None, clock, callbacks)
    return _result(fitted, count_parameters(module.network), threads, clock.total())


class Built(NamedTuple):
    """What a run is made of; the config has numbers for its learning rate and its batch size."""

    config: Config
    data: TableDataModule
    trainer: pl.Trainer
    module: TableModule
    threads: int
    ranged: RangeTest | None


def _build(config: Config, clock: Clock, prepared: Prepared | None = None) -> Built:
    """The parts of a run."""
    if config.model.chosen:
        logger.info("model=auto: %s → %s", config.model.chosen, config.model.name)
    with clock.part("data"):
        data = _load(config, prepared)
    config = config.model_copy(update={"trainer": _settled(config.trainer, data.n_learned)})
    networks = _networks(config, data)
    network = build_ensemble(networks)
    trainer, n_params = build_trainer(config), count_parameters(network)
    apart = is_trained_apart(network) and trainer.strategy.root_device.type == "cpu"
    threads = choose_threads(config.trainer.threads, 0 if apart else row_work(network) * batch_rows(config.trainer))
    torch.set_num_threads(threads)
    keep_freed_memory()
    n_at_a_time = at_a_time(len(networks), threads) if apart else 0
    plural, more = "s" * (threads > 1), f", {n_at_a_time} networks at a time" if n_at_a_time > 1 else ""
    logger.info("%s: %d parameters, %d torch thread%s%s", config.model.name, n_params, threads, plural, more)
    with clock.part("compute"):
        config, ranged = resolved(config, data, networks[0])
    data.config = config
    module = build_module(config, data, network, trainer.world_size, n_at_a_time)
    return Built(config, data, trainer, module, threads * max(1, n_at_a_time), ranged)


def _settled(asked: Trainer, n_rows: int) -> Trainer:
    """The trainer's section with a batch size and a precision where it had auto."""
    if asked.precision == "auto":
        asked = asked.model_copy(update={"precision": precision_for(asked.accelerator)})
        logger.info("trainer.precision=auto: %s", asked.precision)
    if asked.batch_size == "auto":
        asked = asked.model_copy(update={"batch_size": batch_size_for(n_rows)})
        logger.info("trainer.batch_size=auto: %d rows a step", asked.batch_size)
    return asked


def _networks(config: Config, data: TableDataModule) -> list[nn.Module]:
    """The networks that are trained side by side, each from a seed of its own."""
    networks = []
    for number in range(config.trainer.n_networks):
        torch.manual_seed(config.seed + number)
        networks.append(build_network(config.model, data.features, _some_rows(data, number)))
    return networks


def _some_rows(data: TableDataModule, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """num and cat of rows from all over those that a network learns from, for its initial weights."""
    some = slice(None, None, max(1, data.n_learned // INIT_ROWS))
    rows = data.folds.learned[number][some] if data.folds else some
    return torch.from_numpy(data.train.num[rows]), torch.from_numpy(data.train.cat[rows])


def _load(config: Config, prepared: Prepared | None) -> TableDataModule:
    """The data, prepared; raises ConfigError where a setting does not fit it, or a baseline's package is missing."""
    check_installed(config.baselines)
    data = TableDataModule(config, prepared)
    data.setup()
    _say(data)
    check_loss(config.loss, data.features)
    check_monitor(config, data.table.task)
    return data


def _say(data: TableDataModule) -> None:
    """Tell what was inferred about the data, and what looks odd."""
    table, preprocessor = data.table, data.preprocessor
    log_notes(table.notes)
    if preprocessor.dropped_:
        why = "the same in every training row, or every level rarer than preprocess.min_frequency"
        logger.warning("left out, nothing to learn from (%s): %s", why, ", ".join(preprocessor.dropped_))
    sizes, parts = " / ".join(str(len(rows)) for rows in data.splits), "train / validate / test"
    if data.folds is not None:
        sizes, parts = f"{len(data.splits.train)} / {len(data.splits.test)}", f"{data.folds.n_parts} folds / test"
    logger.info("%s: %d features, %s rows to %s", table.name, table.frame.shape[1], sizes, parts)


def _result(fitted: Fit, n_params: int, threads: int, seconds: float) -> Result:
    return Result(
        status="KILLED" if fitted.interrupted else "FINISHED",
        best_epoch=fitted.best_epoch,
        n_epochs=len(fitted.rows),
        n_params=n_params,
        val=fitted.val,
        history=fitted.rows,
        seconds=seconds,
        threads=threads,
    )


def _tested(result: Result, found: Evaluation, standing: Standing, findings: tuple[str, ...]) -> Result:
    tested = replace(result, test=found.metrics, trust=found.trust, y=found.y, prediction=found.prediction)
    return replace(tested, alone=found.alone, baselines=standing.scores, verdict=standing.verdict, findings=findings)
