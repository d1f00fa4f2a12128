"""A study from plan to winner. Read it from `run_study` on: it goes in the order things happen."""

import io
import logging
import random
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta

import optuna
from optuna.trial import FrozenTrial, TrialState

from pipeline.compose import to_yaml
from pipeline.config import Config
from pipeline.console import log_notes
from pipeline.errors import ConfigError
from pipeline.metrics import tested_metric
from pipeline.registry import register
from pipeline.space import grid, nearest
from pipeline.store import tracking_uri
from pipeline.studies.figures import study_figures
from pipeline.studies.jobs import Probed, Run
from pipeline.studies.plan import Plan, value_at
from pipeline.studies.probing import probe, workers_for
from pipeline.studies.recorder import Recorder
from pipeline.studies.sampling import answers_of, as_parameter
from pipeline.studies.search import Listener, Search
from pipeline.studies.storage import finished, give_back, only_one, open_storage, open_study, study_dir
from pipeline.studies.summary import Summary, as_metrics, describe, summarize, table_of
from pipeline.studies.winner import Comparison, compare, members_of, refit, run_all
from pipeline.studies.workers import Pool
from pipeline.tracking import Tracker, start_run, still_there

TRIAL_BYTES, REFIT_BYTES, PAGE_BYTES = 100_000, 800_000, 6_000_000  # in store, journal, artifacts: measured

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What came of a study, in lines for a terminal, and where the best settings are."""

    lines: list[str]
    best_value: float | None


def run_study(plan: Plan, pool: Pool, listener: Listener = lambda _: None) -> Outcome:
    """Search until enough trials are finished, then train the winner anew and test it.

    Raises:
        ConfigError: the study is there with other settings, or under way in another process.
        DataError: the table cannot be trained on.
        TrackingError: the tracking store, or the study's storage, cannot be used.
        TrainingError: too many trials in a row failed.
    """
    shared, folder = plan.config.study.storage is not None, study_dir(plan.config.tracking.root, plan.name)
    with nullcontext() if shared else only_one(folder, plan.name):
        probed = probe(pool, plan.default())
        plan = plan.for_task(probed.task)
        study = open_study(
            open_storage(plan.config, plan.name), plan.name, plan.directions, plan.identity(probed.digest)
        )
        if outcome := _closed(study, plan):
            return outcome
        n_workers = workers_for(plan.config.study.workers, probed, plan.config.study.n_trials)
        pool.grow(n_workers)
        _preview(plan, probed, n_workers, len(finished(study.get_trials(deepcopy=False))))
        with _run(plan, study, probed) as tracker:
            study.set_user_attr(_run_key(plan), tracker.run_id)
            recorder = Recorder(tracker, plan)
            recorder.start(probed.digest)
            if not shared:
                _take_up(study, recorder)
            _queue(study, plan)
            search = Search(plan, study, recorder, listener)
            try:
                search.run(pool)
            except BaseException:
                search.interrupt("the study was stopped")
                raise
            if not _is_last(search):
                return Outcome(["the other machines finish the study, and its winner"], None)
            return _close(plan, study, tracker, pool, probed)


# ---------------------------------------------------------------- before the first trial
def _preview(plan: Plan, probed: Probed, n_workers: int, n_before: int) -> None:
    """Say what is to come."""
    log_notes(probed.notes)
    asked, epochs = plan.config.study, plan.config.trainer.max_epochs
    n_trials = max(0, asked.n_trials - n_before)
    seconds = (n_trials + 2 * asked.refit_seeds) * epochs * probed.epoch_seconds / n_workers
    megabytes = (n_trials * TRIAL_BYTES + (2 * asked.refit_seeds + asked.ensemble) * REFIT_BYTES + PAGE_BYTES) / 1e6
    end = f"{datetime.now() + timedelta(seconds=seconds):%H:%M}"
    logger.info(
        "study '%s': %d trials%s, %d at a time; %.3g s an epoch with the default settings: over by %s if none is "
        "pruned or stops early; about %.0f MB",
        plan.name, n_trials, f" after {n_before}" if n_before else "", n_workers, probed.epoch_seconds, end, megabytes,
    )  # fmt: skip


def _run(plan: Plan, study: optuna.Study, probed: Probed):  # type: ignore[no-untyped-def]  # what start_run returns
    """The study's run in MLflow: the one it had, where that is still there."""
    tracking = plan.config.tracking
    resume = still_there(tracking, study.user_attrs.get(_run_key(plan)))
    note = f"**{probed.name}**: {probed.task}. Runs of kind `study` hold their trials."
    return start_run(tracking, experiment=probed.name, name=plan.name, note=note, resume=resume)


def _run_key(plan: Plan) -> str:
    """Where the storage notes the study's run: each tracking store has its own."""
    return f"run in {tracking_uri(plan.config.tracking.root)}"


def _take_up(study: optuna.Study, recorder: Recorder) -> None:
    """Queue again what a kill cut off, and track what it left untracked."""
    trials = study.get_trials(deepcopy=False)
    for trial in trials:
        if trial.state == TrialState.RUNNING:
            give_back(study, trial, "the study was killed")
    tracked = recorder.tracker.runs("trial")
    for trial in study.get_trials(deepcopy=False):
        if trial.state.is_finished() and str(trial.number) not in tracked:
            recorder.ended(trial, None, _composed(recorder.plan, trial))


def _composed(plan: Plan, trial: FrozenTrial) -> Config | None:
    """A trial's config; none of settings that do not fit together, or were not all drawn when it was cut off."""
    try:
        return _trial_config(plan, trial)
    except (ConfigError, KeyError):
        return None


def _queue(study: optuna.Study, plan: Plan) -> None:
    """The first trials of a new study: the default settings, those given, and for a grid all of it."""
    if study.get_trials(deepcopy=False):
        return
    notes = _enqueue(study, plan, {}, "default")
    for number, given in enumerate(plan.config.study.enqueue):
        notes += _enqueue(study, plan, given, f"study.enqueue.{number}")
    for note in dict.fromkeys(notes):
        logger.warning(note)
    if plan.config.study.sampler == "grid":
        points = grid(plan.space, plan.length)
        random.Random(plan.config.seed).shuffle(points)
        for point in points:
            study.enqueue_trial({name: as_parameter(value) for name, value in point.items()})


def _enqueue(study: optuna.Study, plan: Plan, given: Mapping[str, object], kind: str) -> list[str]:
    parameters, notes = nearest(plan.space, lambda path: given.get(path, value_at(plan.config, path)), plan.length)
    study.enqueue_trial({name: as_parameter(value) for name, value in parameters.items()}, {"kind": kind})
    return [f"{kind}: {note}" for note in notes]


# ---------------------------------------------------------------- after the last trial
def _closed(study: optuna.Study, plan: Plan) -> Outcome | None:
    """The outcome of a study that was over before, with as many trials."""
    known = study.user_attrs.get("closed")
    n_finished = len(finished(study.get_trials(deepcopy=False)))
    if known is None or n_finished < plan.config.study.n_trials or known["n_finished"] != n_finished:
        return None
    return Outcome([*known["lines"], "nothing to do: raise study.n_trials to go on"], known["best_value"])


def _is_last(search: Search) -> bool:
    """Whether this process ended the last trial, or no other one did: then it closes the study."""
    trials = [trial for trial in search.study.get_trials(deepcopy=False) if trial.datetime_complete is not None]
    last = max(trials, key=lambda trial: (trial.datetime_complete, trial.number), default=None)
    own = {trial.number for trial in search.progress.ended}
    return last is None or last.number in own or not own


def _close(plan: Plan, study: optuna.Study, tracker: Tracker, pool: Pool, probed: Probed) -> Outcome:
    """Summary, figures, best.yaml, and the winner."""
    summary = summarize(plan, study)
    lines = describe(plan, summary)
    tracker.metrics(as_metrics(summary), step=sum(summary.states.values()))
    if summary.best is not None:
        best = _trial_config(plan, summary.best)
        file = study_dir(plan.config.tracking.root, plan.name) / "best.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        use = f"# study {plan.name}, trial {summary.best.number}: use it with `pipeline train --config {file}`"
        text = f"{use}\n{to_yaml(best)}"
        file.write_text(text)
        tracker.file("best.yaml", text.encode())
        comparison = _winner(plan, study, summary, best, pool, probed, tracker.run_id)
        lines += comparison.lines() if comparison else []
        if comparison and comparison.run_id:
            lines.append(register(plan.config.tracking.root, comparison.run_id).line)
        lines.append(f"best settings: pipeline train --config {file}")
    _artifacts(plan, study, tracker)
    tracker.tags({"status": "finished", "mlflow.note.content": "\n\n".join(lines)})
    n_finished = sum(summary.states.values())
    value = summary.best.values[0] if summary.best else None
    study.set_user_attr("closed", {"n_finished": n_finished, "lines": lines, "best_value": value})
    tracker.end("FINISHED")
    return Outcome(lines, value)


def _winner(
    plan: Plan, study: optuna.Study, summary: Summary, best: Config, pool: Pool, probed: Probed, parent: str
) -> Comparison | None:
    asked = plan.config.study
    if not asked.refit_seeds:
        return None
    seeds = [plan.config.seed + offset for offset in range(asked.refit_seeds)]
    logger.info("training the best and the default settings anew, with %d seeds each, to test them", len(seeds))
    refits = refit(pool, {"best": best, "default": plan.default()}, seeds, parent, plan.name)
    tags = {"kind": "refit", "study": plan.name, "role": "member"}
    members = members_of(study, plan, asked.ensemble)
    results = run_all(pool, [Run(_trial_config(plan, trial), parent or None, tags) for trial in members])
    metric = tested_metric(plan.objectives[0], probed.task)
    return compare(probed.task, metric, refits, results, plan.config.seed)


def _trial_config(plan: Plan, trial: FrozenTrial) -> Config:
    return plan.trial_config(answers_of(trial.params, plan.space, plan.length))


def _artifacts(plan: Plan, study: optuna.Study, tracker: Tracker) -> None:
    """Figures and the table of trials."""
    if not tracker.run_id:
        return
    import pandas as pd

    logger.info("drawing the figures")
    page, figures = study_figures(study, plan.objectives)
    tracker.file("study.html", page)
    for name, png in figures.items():
        tracker.file(f"figures/{name}.png", png)
    buffer = io.BytesIO()
    pd.DataFrame(table_of(study)).to_parquet(buffer, index=False)
    tracker.file("trials.parquet", buffer.getvalue())
