"""The one door to MLflow runs: start, resume, buffered writing that outlives an absent server, sync."""

import json
import logging
import os
import re
import shlex
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import Mlflow, Tracking
from pipeline.database import make_database
from pipeline.errors import PipelineError, TrackingError, first_line
from pipeline.mistakes import shown
from pipeline.runs import find_run
from pipeline.sending import Dataset, Status, WholeRun, send
from pipeline.store import is_remote, require_store, tracking_uri
from pipeline.writer import Writer

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

# read by mlflow: no telemetry, and no minutes of retries inside the client, since the writer retries everything itself
for name in ("MLFLOW_DISABLE_TELEMETRY", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"):
    os.environ.setdefault(name, "true")
for name, value in (("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1"), ("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")):
    os.environ.setdefault(name, value)

MAX_TAG, MAX_PARAM = 8000, 6000  # characters, MLflow's own limits

PARENT = "mlflow.parentRunId"  # the tag by which the UI nests runs
PAGE = 1000  # runs looked up at a time

logger = logging.getLogger(__name__)


class Tracker:
    """Takes what a run has to say; this one keeps nothing (tracking=none)."""

    run_id, run_name, where = "", "untracked", "nowhere: tracking=none"

    def params(self, values: Mapping[str, object]) -> None:
        """Settings, once a run."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Tags; a later value replaces an earlier one."""

    def datasets(self, datasets: Sequence[Dataset]) -> None:
        """The data the run works on."""

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Numbers of one step."""

    def file(self, name: str, content: bytes) -> None:
        """An artifact; `name` may hold folders."""

    def run(self, run: WholeRun) -> None:
        """A run that is over already, nested under this one."""

    def runs(self, tag: str) -> set[str]:
        """The values of a tag of the runs nested under this one; those that a kill left open are closed."""
        return set()

    def end(self, status: Status) -> None:
        """Write what is left and close the run."""


class MlflowTracker(Tracker):
    """A run in MLflow."""

    def __init__(self, config: Mlflow, client: "MlflowClient", run: "Run", *, last_step: int = 0) -> None:
        """Of a resumed run, `run` holds what the store has already and `last_step` its last epoch."""
        self.run_id, self.run_name = run.info.run_id, str(run.info.run_name)
        self.where = tracking_uri(config.root)
        self._config, self._last_step, self._stored, self._client = config, last_step, run, client
        self._pending = pending_dir(config.root) / self.run_id
        self._writer = Writer(lambda op: send(client, self.run_id, op, self._pending), config.flush_seconds)

    def params(self, values: Mapping[str, object]) -> None:
        self._writer.params({name: str(value)[:MAX_PARAM] for name, value in values.items()})

    def tags(self, values: Mapping[str, str]) -> None:
        self._writer.tags({name: value[:MAX_TAG] for name, value in values.items()})

    def datasets(self, datasets: Sequence[Dataset]) -> None:
        if self._stored.inputs is None or not self._stored.inputs.dataset_inputs:
            self._writer.put({"do": "inputs", "datasets": [asdict(dataset) for dataset in datasets]})

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        if step == 0:
            values = {name: value for name, value in values.items() if name not in self._stored.data.metrics}
        if step == 0 or step > self._last_step:
            self._writer.metrics(values, step)

    def file(self, name: str, content: bytes) -> None:
        place = self._pending / "files" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        self._writer.put({"do": "file", "name": name})

    def run(self, run: WholeRun) -> None:
        tags = {name: value[:MAX_TAG] for name, value in run.tags.items()} | {PARENT: self.run_id}
        params = {name: str(value)[:MAX_PARAM] for name, value in run.params.items()}
        op = run._asdict() | {"do": "run", "experiment": self._stored.info.experiment_id}
        self._writer.put(op | {"tags": tags, "params": list(params.items())})

    def runs(self, tag: str) -> set[str]:
        experiment = self._stored.info.experiment_id
        found: list[Run] = []
        token: str | None = None
        with store_errors(self._config.root):
            while token != "":
                page = self._client.search_runs(
                    [experiment], f"tags.`{PARENT}` = '{self.run_id}'", max_results=PAGE, page_token=token
                )
                found, token = found + list(page), page.token or ""
            for run in found:
                if run.info.status == "RUNNING":
                    self._client.set_terminated(run.info.run_id, "KILLED")
        return {run.data.tags[tag] for run in found if tag in run.data.tags}

    def end(self, status: Status) -> None:
        self._writer.put({"do": "end", "status": status, "time": int(time.time() * 1000)})
        left = self._writer.close(self._config.wait_seconds)
        if left:
            self._pending.mkdir(parents=True, exist_ok=True)
            (self._pending / "ops.jsonl").write_text("".join(json.dumps(op) + "\n" for op in left))
            logger.warning(
                "the tracking store stayed away: what run %s has not written lies in %s; when the store is back, "
                "write it with: pipeline sync%s",
                self.run_id, self._pending, root_override(self._config.root),
            )  # fmt: skip
        else:
            shutil.rmtree(self._pending, ignore_errors=True)


def root_override(root: str) -> str:
    """What a command needs to find `root`, with a space before it; nothing for the default."""
    if root == "mlruns":
        return ""
    is_plain = re.fullmatch(r"[\w./-]+", root)
    return f" tracking.root={root}" if is_plain else f" {shlex.quote(f'tracking.root={shown(root)}')}"


def pending_dir(root: str) -> Path:
    """Where what could not be written waits for `pipeline sync`."""
    return Path(root) / "pending"


# ---------------------------------------------------------------- runs
@contextmanager
def start_run(
    tracking: Tracking,
    *,
    experiment: str,
    name: str,
    note: str,
    resume: str | None = None,
    parent: str | None = None,
) -> Iterator[Tracker]:
    """A run, closed with the status that fits how the block is left.

    Args:
        tracking: the config's section.
        experiment: experiment to use where `tracking` names none; created when it is not there.
        name: the run's name where `tracking` gives none.
        note: the experiment's description, Markdown.
        resume: id of a run to go on with.
        parent: id of the run that it is nested under.

    Raises:
        TrackingError: the server does not answer, the run is not there, the experiment was deleted.
    """
    tracker = Tracker() if not isinstance(tracking, Mlflow) else _open(tracking, experiment, name, note, resume, parent)
    try:
        yield tracker
    except (KeyboardInterrupt, SystemExit):
        tracker.tags({"status": "killed"})
        tracker.end("KILLED")
        raise
    except BaseException as error:
        tracker.tags({"status": "failed", "error": first_line(error)})
        tracker.end("FAILED")
        raise


def _open(
    tracking: Mlflow, experiment: str, name: str, note: str, resume: str | None, parent: str | None
) -> MlflowTracker:
    client = connect(tracking.root)
    with store_errors(tracking.root):
        if resume is not None:
            run = client.get_run(resume)
            last = max((metric.step for metric in client.get_metric_history(resume, "train/loss")), default=0)
            client.update_run(resume, status="RUNNING")
            return MlflowTracker(tracking, client, run, last_step=last)
        experiment_id = _experiment(client, tracking, tracking.experiment or experiment, note)
        tags = {PARENT: parent} if parent else None
        run = client.create_run(experiment_id, tags=tags, run_name=tracking.run_name or name)
        return MlflowTracker(tracking, client, run)


def still_there(tracking: Tracking, run_id: str | None) -> str | None:
    """A run's id where the store still has it, to go on with."""
    if not run_id or not isinstance(tracking, Mlflow):
        return None
    client = connect(tracking.root)
    try:
        return run_id if client.get_run(run_id).info.lifecycle_stage == "active" else None
    except Exception:  # the store's word for: no such run
        return None


def connect(root: str) -> "MlflowClient":
    """A client of the store; raises TrackingError where it cannot be used."""
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic", "urllib3"):  # a new database logs a hundred migrations, urllib3 every retry
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    with store_errors(root):
        if not os.environ.get("MLFLOW_TRACKING_URI"):
            make_database(Path(root) / "mlflow.db")
        return MlflowClient(tracking_uri(root))


@contextmanager
def store_errors(root: str) -> Iterator[None]:
    """What the store raises becomes a TrackingError that names it."""
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        where = "MLFLOW_TRACKING_URI" if os.environ.get("MLFLOW_TRACKING_URI") else "tracking.root"
        raise TrackingError(
            f"{where}: the tracking store {tracking_uri(root)} cannot be used: {first_line(error)}"
        ) from error


def _experiment(client: "MlflowClient", tracking: Mlflow, name: str, note: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        place = None if is_remote(tracking.root) else (Path(tracking.root).resolve() / "artifacts").as_uri()
        kind = "custom_model_development"  # has the UI show training runs first, not language-model traces
        tags = {"mlflow.note.content": note, "mlflow.experimentKind": kind}
        try:
            return str(client.create_experiment(name, place, tags=tags))
        except Exception:
            found = client.get_experiment_by_name(name)  # of a run that started at the same moment
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        raise TrackingError(
            f"experiment '{name}': was deleted; restore it, or choose another with tracking.experiment=NAME"
        )
    return str(found.experiment_id)


def run_to_resume(root: str, run: str) -> tuple[str, str]:
    """The id and the config.yaml, as text, of a run that can be resumed; `run` as of `find_run`.

    Raises:
        TrackingError: there is no such run, or several; it is over, or was started elsewhere.
    """
    require_store(root, run)
    client = connect(root)
    with store_errors(root):
        info = find_run(client, root, run).info
    if info.status == "FINISHED":
        raise TrackingError(f"run '{run}': is finished, there is nothing to resume; start a new run")
    file = config_file(root, info.run_id)
    if not file.is_file():
        raise TrackingError(
            f"run '{run}': has no checkpoint under {file.parent}; it can be resumed where it was started only"
        )
    return info.run_id, file.read_text()


def checkpoint_file(root: str, run_id: str) -> Path:
    """What a run is resumed from; makes the folder."""
    folder = _checkpoint_dir(root, run_id)
    with store_errors(root):
        folder.mkdir(parents=True, exist_ok=True)
    return folder / "last.ckpt"


def config_file(root: str, run_id: str) -> Path:
    """The config a run was started with, beside its checkpoint."""
    return _checkpoint_dir(root, run_id) / "config.yaml"


def _checkpoint_dir(root: str, run_id: str) -> Path:
    return Path(root) / "checkpoints" / run_id


def sync(root: str) -> list[str]:
    """Write what waits under ROOT/pending; returns the ids of the runs written.

    Raises:
        TrackingError: the store still does not answer; what was written already is not written again.
    """
    waiting = sorted(pending_dir(root).glob("*/ops.jsonl"))
    client = connect(root) if waiting else None
    done = []
    for file in waiting:
        assert client is not None
        ops = [json.loads(line) for line in file.read_text().splitlines()]
        with store_errors(root):
            for op in ops:
                send(client, file.parent.name, op, file.parent)
        shutil.rmtree(file.parent)
        done.append(file.parent.name)
    return done
