"""A leaderboard from plan to ranking. Read it from `run_leaderboard` on: it goes in the order things happen."""

import io
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from pipeline.bundle import Bundle
from pipeline.clock import median_seconds
from pipeline.comparisons.child import Child
from pipeline.comparisons.comparison import Listener, Progress, Training
from pipeline.comparisons.folder import Folder
from pipeline.compose import to_yaml
from pipeline.config import Config
from pipeline.console import log_notes
from pipeline.data.prepared import prepare
from pipeline.errors import DataError, PipelineError, TrainingError
from pipeline.leaderboards.plan import Key, Plan
from pipeline.leaderboards.ranking import Ranking, describe, rank, table_of
from pipeline.lock import held
from pipeline.registry import bundle_folder
from pipeline.store import tracking_uri
from pipeline.studies.jobs import Fit, Fitted, Job, Probed
from pipeline.studies.probing import probe, workers_for
from pipeline.studies.workers import Pool
from pipeline.tracking import Tracker, start_run, still_there
from pipeline.types import Result

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What came of a leaderboard: its ranking, and what is to be said of it."""

    ranking: Ranking
    lines: list[str]
    run_id: str


def run_leaderboard(plan: Plan, pool: Pool, listener: Listener = lambda _: None) -> Outcome:
    """Fit every entrant on every table with every seed, but for what is kept from an earlier start, and rank them.

    Raises:
        ConfigError: the leaderboard is there with other settings, or under way in another process; the metric does
            not fit a task.
        DataError: a table cannot be trained on.
        TrackingError: the tracking store cannot be used.
        TrainingError: every entrant failed on a table.
    """
    folder = Folder(plan.config.tracking.root, "leaderboard", plan.name)
    with held(folder.path, folder.taken):
        probed = {table: _probed(pool, table, config) for table, config in plan.tables.items()}
        plan.check({table: found.task for table, found in probed.items()})
        folder.claim(plan.identity({table: found.digest for table, found in probed.items()}))
        with _run(plan, folder, probed) as tracker:
            _start(plan, folder, tracker)
            runs = plan.runs()
            kept = {key: child for key, config in runs.items() if (child := folder.child(tracker.run_id, config))}
            _grow(plan, pool, probed, len(runs))
            _preview(plan, probed, len(runs), len(kept))
            contest = Contest(folder, tracker.run_id, Progress(len(runs), len(kept)), listener)
            children = kept | contest.run(pool, {key: config for key, config in runs.items() if key not in kept})
            return _close(plan, tracker, probed, children)


# ---------------------------------------------------------------- before the first run
def _probed(pool: Pool, table: str, config: Config) -> Probed:
    try:
        return probe(pool, config)
    except DataError as error:
        raise DataError(f"{table}: {error}") from error


def _run(plan: Plan, folder: Folder, probed: Mapping[str, Probed]):  # type: ignore[no-untyped-def]  # as start_run
    """The leaderboard's run in MLflow: the one it had, where that is still there."""
    tracking = plan.config.tracking
    resume = still_there(tracking, folder.run_id(tracking_uri(tracking.root)))
    first = next(iter(probed.values()))
    experiment = first.name if len(probed) == 1 else "leaderboards"
    note = "Runs of kind `leaderboard` hold the ranking."
    return start_run(tracking, experiment=experiment, name=f"leaderboard {plan.name}", note=note, resume=resume)


def _start(plan: Plan, folder: Folder, tracker: Tracker) -> None:
    """Note the run, close the children that a kill left open, and write what is asked."""
    if not tracker.run_id:
        return
    folder.note_run(tracker.where, tracker.run_id)
    tracker.runs("label")
    tags = {"kind": "leaderboard", "leaderboard": plan.name, "data": ", ".join(plan.tables), "status": "running"}
    tracker.tags(tags)
    tracker.params({"seeds": plan.config.seeds, "entrants": ", ".join(dict.fromkeys(e.entrant for e in plan.entries))})
    tracker.file("leaderboard.yaml", to_yaml(plan.config).encode())


def _grow(plan: Plan, pool: Pool, probed: Mapping[str, Probed], n_runs: int) -> None:
    """Have the workers that are asked for; of auto, those that the largest network leaves room for."""
    asked = plan.config.leaderboard.workers
    pool.grow(min(workers_for(asked, probed[table], n_runs) for table in plan.tables))


def _preview(plan: Plan, probed: Mapping[str, Probed], n_runs: int, n_kept: int) -> None:
    for found in probed.values():
        log_notes(found.notes)
    n_entrants, before = len(plan.entries) // len(plan.tables), f", {n_kept} of {n_runs} runs done before"
    logger.info(
        "leaderboard '%s': %d entrants on %s, splits by seed: %d%s",
        plan.name, n_entrants, ", ".join(plan.tables), plan.config.seeds, before if n_kept else "",
    )  # fmt: skip


# ---------------------------------------------------------------- runs
@dataclass
class Contest(Training):
    """The fits under way: networks as runs, baselines beside them, each with its size and latency."""

    def _job(self, key: Key, config: Config) -> Job:
        return Fit(config, config.baselines[0]) if config.baselines else super()._job(key, config)

    def _of(self, config: Config, result: Result | Fitted) -> Child:
        if isinstance(result, Fitted):
            return Child(**result._asdict())
        child = super()._of(config, result)
        return _costed(child, config, result.run_id) if result.run_id and not result.fault else child


def _costed(child: Child, config: Config, run_id: str) -> Child:
    """A child with the bytes of its run's bundle and the seconds that takes for one row, where it can be had."""
    try:
        folder = bundle_folder(config.tracking.root, run_id)
        bundle = Bundle.load(folder)
    except PipelineError as error:  # a server that is away: the ranking stands without
        logger.warning("run %s: size and latency are not known: %s", run_id, error)
        return child
    row = {name: values[:1] for name, values in prepare(config).sample.items()}
    n_bytes = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    return replace(child, n_bytes=n_bytes, row_seconds=median_seconds(lambda: bundle.predict(row)))


# ---------------------------------------------------------------- after the last run
def _close(plan: Plan, tracker: Tracker, probed: Mapping[str, Probed], children: Mapping[Key, Child]) -> Outcome:
    """Ranking, figure, table and sentences."""
    tables: dict[str, dict[str, list[Child]]] = {table: {} for table in plan.tables}
    for entry in plan.entries:
        tables[entry.table][entry.entrant] = [children[entry.label, seed] for seed in plan.seeds]
    for table, scored in tables.items():
        if all(any(child.error for child in own) for own in scored.values()):
            error = next(child.error for own in scored.values() for child in own if child.error)
            raise TrainingError(f"{table}: every entrant failed with some seed, the first: {error}")
    ranking = rank(tables, {table: plan.metric(found.task) for table, found in probed.items()})
    lines = describe(ranking)
    _artifacts(plan, tracker, ranking, lines)
    tracker.tags({"status": "finished", "mlflow.note.content": "\n\n".join(lines)})
    tracker.end("FINISHED")
    return Outcome(ranking, lines, tracker.run_id)


def _artifacts(plan: Plan, tracker: Tracker, ranking: Ranking, lines: list[str]) -> None:
    """Metrics, figure and tables."""
    if not tracker.run_id:
        return
    import pandas as pd

    from pipeline.canvas import to_png
    from pipeline.leaderboards.figure import time_figure

    tracker.metrics({f"rank/{name}": mean for name, mean in ranking.ranks.items()})
    tracker.file("figures/time.png", to_png(time_figure(plan.name, ranking.tables)))
    buffer = io.BytesIO()
    pd.DataFrame(table_of(ranking)).to_parquet(buffer, index=False)
    tracker.file("leaderboard.parquet", buffer.getvalue())
    rows = {table: [asdict(row) for row in rows] for table, rows in ranking.tables.items()}
    told = {"lines": lines, "mean ranks": dict(ranking.ranks), "tables": rows}
    tracker.file("leaderboard.json", json.dumps(told, ensure_ascii=False).encode())
