"""A comparison from plan to verdict. Read it from `run_comparison` on: it goes in the order things happen."""

import io
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pipeline.comparisons.child import Child
from pipeline.comparisons.folder import Folder
from pipeline.comparisons.plan import Key, Plan
from pipeline.comparisons.summary import Summary, describe, summarize, table_of
from pipeline.compose import flatten, to_yaml
from pipeline.config import Config, Mlflow
from pipeline.console import log_notes
from pipeline.errors import TrainingError
from pipeline.lock import held
from pipeline.store import tracking_uri
from pipeline.studies.jobs import Died, Ended, Event, Fitted, Job, Probed, Run
from pipeline.studies.probing import probe, workers_for
from pipeline.studies.workers import Pool
from pipeline.tracking import Tracker, start_run, still_there
from pipeline.types import Result

RUN_SECONDS = 0.5  # what a run takes beside its epochs: evaluation, figures, model
TRIES = 2  # of a run whose process died

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What came of a comparison: its numbers, and what is to be said of them."""

    summary: Summary
    lines: list[str]
    run_id: str


@dataclass
class Progress:
    """How far a comparison is, for those who show it."""

    n_runs: int
    n_before: int  # runs kept from earlier starts
    started: float = field(default_factory=time.monotonic)
    ended: list[tuple[Key, Child]] = field(default_factory=list)  # by this process, in order


Listener = Callable[[Progress], None]


def run_comparison(plan: Plan, pool: Pool, listener: Listener = lambda _: None) -> Outcome:
    """Train every case with every seed, but for what is kept from an earlier start, and compare them.

    Raises:
        ConfigError: the comparison is there with other settings, or under way in another process; a metric does not
            fit the task.
        DataError: the table cannot be trained on.
        TrackingError: the tracking store cannot be used.
        TrainingError: every case failed, or one not by diverging.
    """
    folder = Folder(plan.config.tracking.root, "comparison", plan.name)
    with held(folder.path, folder.taken):
        probed = probe(pool, plan.base)
        plan.check(probed.task)
        folder.claim(plan.identity(probed.digest))
        with _run(plan, folder, probed) as tracker:
            _start(plan, folder, tracker, probed)
            runs = plan.runs()
            kept = {key: child for key, config in runs.items() if (child := folder.child(tracker.run_id, config))}
            pool.grow(n_workers := workers_for(plan.config.comparison.workers, probed, len(runs)))
            _preview(plan, probed, n_workers, len(runs), len(kept))
            training = Training(folder, tracker.run_id, Progress(len(runs), len(kept)), listener)
            children = kept | training.run(pool, {key: config for key, config in runs.items() if key not in kept})
            return _close(plan, tracker, probed, children)


# ---------------------------------------------------------------- before the first run
def _run(plan: Plan, folder: Folder, probed: Probed):  # type: ignore[no-untyped-def]  # what start_run returns
    """The comparison's run in MLflow: the one it had, where that is still there."""
    tracking = plan.config.tracking
    resume = still_there(tracking, folder.run_id(tracking_uri(tracking.root)))
    note = f"**{probed.name}**: {probed.task}. Runs of kind `comparison` hold theirs."
    return start_run(tracking, experiment=probed.name, name=plan.name, note=note, resume=resume)


def _start(plan: Plan, folder: Folder, tracker: Tracker, probed: Probed) -> None:
    """Note the run, close the children that a kill left open, and write what is asked."""
    if not tracker.run_id:
        return
    folder.note_run(tracker.where, tracker.run_id)
    tracker.runs("label")
    tags = {"kind": "comparison", "comparison": plan.name, "data": probed.name, "digest": probed.digest}
    tracker.tags(tags | {"status": "running"})
    tracker.params(flatten(plan.base.model_dump(mode="json")) | {"varied": ", ".join(plan.varied) or "cases"})
    tracker.file("comparison.yaml", to_yaml(plan.config).encode())


def _preview(plan: Plan, probed: Probed, n_workers: int, n_runs: int, n_kept: int) -> None:
    """Say what is to come."""
    log_notes(probed.notes)
    seconds = (n_runs - n_kept) * (RUN_SECONDS + plan.base.trainer.max_epochs * probed.epoch_seconds) / n_workers
    logger.info(
        "comparison '%s': %d settings with %d seed%s%s, %d at a time: over by about %s",
        plan.name, len(plan.cases), len(plan.seeds), "s" * (len(plan.seeds) > 1),
        f", {n_kept} of {n_runs} runs done before" if n_kept else "", n_workers,
        f"{datetime.now() + timedelta(seconds=seconds):%H:%M}",
    )  # fmt: skip


# ---------------------------------------------------------------- runs
@dataclass
class Training:
    """The runs under way."""

    folder: Folder
    parent: str
    progress: Progress
    listener: Listener
    _tries: dict[Key, int] = field(default_factory=dict)

    def run(self, pool: Pool, runs: Mapping[Key, Config]) -> dict[Key, Child]:
        """Train all of them; raises TrainingError where one fails but by diverging."""
        waiting, open_jobs, done = list(runs), dict[int, Key](), dict[Key, Child]()
        while len(done) < len(runs):
            while waiting and pool.idle:
                job = self._job(key := waiting.pop(0), runs[key])
                open_jobs[id(job)] = key
                pool.submit(job)
            self.listener(self.progress)
            for ended, event in pool.events(1.0):
                key = open_jobs.pop(id(ended))
                child = self._child(key, runs[key], event)
                if child is None:
                    waiting.insert(0, key)
                    continue
                self.folder.keep(self.parent, runs[key], child)
                done[key] = child
                self.progress.ended.append((key, child))
        self.listener(self.progress)
        return done

    def _job(self, key: Key, config: Config) -> Job:
        label, seed = key
        if isinstance(config.tracking, Mlflow):
            named = config.tracking.model_copy(update={"run_name": f"{label}, seed {seed}"})
            config = config.model_copy(update={"tracking": named})
        tags = {"kind": f"{self.folder.kind}-run", self.folder.kind: self.folder.name, "label": label}
        return Run(config, self.parent or None, tags)

    def _of(self, config: Config, result: Result | Fitted) -> Child:
        """What is kept of a result."""
        assert isinstance(result, Result)
        return Child.of(result)

    def _child(self, key: Key, config: Config, event: Event) -> Child | None:
        """What a job's end means; None where it is to be tried again."""
        match event:
            case Ended(result=Result() | Fitted() as result):
                return self._of(config, result)
            case Ended(diverged=True, error=why):
                return Child(error=why)
            case Died() if self._tries.setdefault(key, 1) < TRIES:
                self._tries[key] += 1
                return None
            case Ended(error=why) | Died(why=why):
                raise TrainingError(f"{key[0]}, seed {key[1]}: {why}")
        raise AssertionError(event)


# ---------------------------------------------------------------- after the last run
def _close(plan: Plan, tracker: Tracker, probed: Probed, children: Mapping[Key, Child]) -> Outcome:
    """Summary, figure, table and sentence."""
    _require_some(plan, children)
    summary = summarize(plan, probed.task, children)
    lines = describe(summary)
    _artifacts(plan, tracker, probed, children, summary, lines)
    tracker.tags({"status": "finished", "mlflow.note.content": "\n\n".join(lines)})
    tracker.end("FINISHED")
    return Outcome(summary, lines, tracker.run_id)


def _require_some(plan: Plan, children: Mapping[Key, Child]) -> None:
    if all(any(children[label, seed].error for seed in plan.seeds) for label in plan.cases):
        raise TrainingError(f"every setting diverged with some seed, the first: {next(iter(children.values())).error}")


def _artifacts(
    plan: Plan, tracker: Tracker, probed: Probed, children: Mapping[Key, Child], summary: Summary, lines: list[str]
) -> None:
    """Figure and table."""
    if not tracker.run_id:
        return
    import pandas as pd

    from pipeline.canvas import to_png
    from pipeline.comparisons.figure import curves_figure

    title = plan.name if probed.name in plan.name else f"{plan.name} on {probed.name}"
    by_case = {label: [children[label, seed] for seed in plan.seeds] for label in plan.cases}
    figure = curves_figure(title, probed.task, by_case, plan.curves(probed.task))
    tracker.file("figures/curves.png", to_png(figure))
    buffer = io.BytesIO()
    pd.DataFrame(table_of(summary)).to_parquet(buffer, index=False)
    tracker.file("table.parquet", buffer.getvalue())
    tracker.file("comparison.json", json.dumps({"lines": lines}, ensure_ascii=False).encode())
