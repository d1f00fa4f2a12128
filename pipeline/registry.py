"""MLflow's model registry: which model of a data set is the champion, and where a model's files are."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.bundle import DESCRIPTION, BundleError
from pipeline.errors import TrackingError, first_line
from pipeline.flavor import BUNDLE, FOLDER
from pipeline.metrics import LOSS_METRIC, paired_bootstrap, shown
from pipeline.runs import find_run, search_run
from pipeline.store import has_store
from pipeline.tested import TESTED, read_tested
from pipeline.tracking import connect, store_errors
from pipeline.types import Interval

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

CHAMPION, CHALLENGER = "champion", "challenger"


@dataclass(frozen=True)
class Registered:
    """A version of a registered model; `why` says what was decided about the champion."""

    name: str
    version: str
    alias: str
    why: str

    @property
    def line(self) -> str:
        """What is to be said of it."""
        return f"registered as {self.name} version {self.version}, {self.alias}: {self.why}"


def register(root: str, asked: str) -> Registered:
    """Register a run's model; the champion changes only where this one is better on the same test rows.

    Args:
        root: the tracking root.
        asked: the run, as for `find_run`.

    Raises:
        TrackingError: there is no such run, or several; it is not finished, has no model, or one that failed the
            parity gate.
    """
    client = _connect(root)
    with store_errors(root):
        run = find_run(client, root, asked)
    parity = run.data.tags.get("parity")
    if parity == "failed":
        raise TrackingError(f"run '{asked}': its model must not be used: {run.data.tags.get('parity.fault', '')}")
    if parity is None or run.info.status != "FINISHED":
        raise TrackingError(f"run '{asked}': has no model to register (it is {run.info.status.lower()})")
    name = f"{run.data.tags['data']}-{run.data.tags['task']}".replace("/", "-").replace(":", "-")
    known = _version_of(client, name, run.info.run_id)
    if known is not None:
        aliases = ", ".join(known.aliases) or "without an alias"
        return Registered(name, str(known.version), aliases, "it was registered before")
    champion = _champion(client, name)
    version = _create(client, name, run)
    alias, why = (
        (CHAMPION, "the first of this data set and task") if champion is None else _judge(client, champion, run)
    )
    client.set_registered_model_alias(name, alias, version)
    return Registered(name, version, alias, why)


def _create(client: "MlflowClient", name: str, run: "Run") -> str:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"{run.info.artifact_uri}/{FOLDER}"
    tags = {key: run.data.tags[key] for key in ("task", "data", "model", "digest", "test_digest")}
    return str(client.create_model_version(name, source, run.info.run_id, tags=tags).version)


def _version_of(client: "MlflowClient", name: str, run_id: str) -> Any:
    found = client.search_model_versions(f"name = '{_quoted(name)}' and run_id = '{run_id}'")
    return client.get_model_version(name, found[0].version) if found else None


def _quoted(name: str) -> str:
    return name.replace("'", "''")


def _champion(client: "MlflowClient", name: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException:  # no such model, or none with the alias
        return None


# ---------------------------------------------------------------- who is better
def _judge(client: "MlflowClient", champion: Any, run: "Run") -> tuple[str, str]:
    """The alias that a new model gets, and why."""
    task = run.data.tags["task"]
    metric, told = LOSS_METRIC[task], f"version {champion.version}"
    if champion.tags.get("test_digest") != run.data.tags["test_digest"]:
        return CHALLENGER, f"{told} stays champion, it was tested on other rows, so the two cannot be compared"
    try:
        gain = _gain(client, client.get_run(champion.run_id), run, task, metric)
    except Exception as error:  # whatever is missing of an old run
        return CHALLENGER, f"{told} stays champion, its test predictions cannot be read ({first_line(error)})"
    low, high = sorted(abs(end) for end in (gain.low, gain.high))
    noise = gain.low <= 0 <= gain.high
    size = f"{shown(abs(gain.value))} {'lower' if gain.value >= 0 else 'higher'}"
    both = f"{shown(abs(gain.low))} higher to {shown(abs(gain.high))} lower"
    interval = both if noise else f"{shown(low)} to {shown(high)}"
    says = f"its test/{metric} is {size} ({interval})"
    if gain.low > 0:
        return CHAMPION, f"{says} than that of {told}"
    return CHALLENGER, f"{told} stays champion, {says}: {'within the noise of the test rows' if noise else 'worse'}"


def _gain(client: "MlflowClient", champion: "Run", challenger: "Run", task: Any, metric: str) -> Interval:
    """How much lower the challenger's metric is, paired over the test rows."""
    files = (_local(client, run, TESTED) for run in (champion, challenger))
    (y, first), (same, second) = (read_tested(file, task) for file in files)
    if not np.array_equal(y, same):
        raise ValueError("the rows differ")
    return -paired_bootstrap(task, metric, y, [first], [second], seed=0)


def _local(client: "MlflowClient", run: "Run", path: str) -> Path:
    """Where a run's artifact is; of a store that is not on this machine, a copy."""
    from mlflow.artifacts import download_artifacts

    uri = f"{run.info.artifact_uri}/{path}"  # asked by the run's id, MLflow would copy it from this machine, too
    return Path(download_artifacts(artifact_uri=uri, tracking_uri=client.tracking_uri))


# ---------------------------------------------------------------- what there is
def models(root: str) -> list[dict[str, str]]:
    """A row for each version of each registered model, the newest first: name, version, aliases, metric, run."""
    client = _connect(root)
    rows = []
    for model in client.search_registered_models(max_results=1000):
        by_version: dict[str, list[str]] = {}
        for alias, version in model.aliases.items():
            by_version.setdefault(str(version), []).append(alias)
        for found in client.search_model_versions(f"name = '{_quoted(model.name)}'", max_results=1000):
            metric = LOSS_METRIC.get(found.tags.get("task", ""), "")
            run = _maybe_run(client, found.run_id)
            value = run.data.metrics.get(f"test/{metric}") if run else None
            rows.append(
                {
                    "model": model.name,
                    "version": str(found.version),
                    "alias": ", ".join(by_version.get(str(found.version), [])),
                    "network": found.tags.get("model", ""),
                    "metric": f"test/{metric} {shown(value)}" if value is not None else "",
                    "run": found.run_id or "",
                }
            )
    return rows


def bundle_folder(root: str, model: str | None) -> Path:
    """The folder of a model's bundle.

    Args:
        root: the tracking root.
        model: a folder, `models:/NAME@ALIAS` or `models:/NAME/VERSION`, a registered model's name, whose champion is
            meant, or a run, as for `find_run`; None: the champion registered last, else the best run.

    Raises:
        BundleError: there is no such model; it says what to do.
        TrackingError: several runs are called so, or the store cannot be used.
    """
    if model is not None and Path(model).is_dir():
        return _inside(Path(model))
    client = _connect(root)
    with store_errors(root):
        run_id = _default(client, root) if model is None else _named(client, root, model)
    try:
        return _local(client, client.get_run(run_id), f"{FOLDER}/{BUNDLE}")
    except Exception as error:
        raise BundleError(f"run '{run_id}': has no model ({first_line(error)})") from error


def _inside(folder: Path) -> Path:
    """A bundle's folder, or the one within an MLflow model's."""
    nested = folder / BUNDLE
    return nested if not (folder / DESCRIPTION).is_file() and (nested / DESCRIPTION).is_file() else folder


def _named(client: "MlflowClient", root: str, model: str) -> str:
    from mlflow.exceptions import MlflowException

    name, _, version = model.removeprefix("models:/").partition("/")
    name, _, alias = name.partition("@")
    with suppress(MlflowException):
        if version:
            return str(client.get_model_version(name, version).run_id)
        return str(client.get_model_version_by_alias(name, alias or CHAMPION).run_id)
    run = search_run(client, model)
    if run is not None:
        return str(run.info.run_id)
    known = ", ".join(found.name for found in client.search_registered_models()) or "none"
    raise BundleError(
        f"model '{model}': no folder, run or registered model of this name under {root}; registered: {known}"
    )


def _default(client: "MlflowClient", root: str) -> str:
    """The run of the champion registered last; where there is none, the best run of the newest data set."""
    champions = [
        client.get_model_version_by_alias(model.name, CHAMPION)
        for model in client.search_registered_models(max_results=1000)
        if CHAMPION in model.aliases
    ]
    if champions:
        return str(max(champions, key=lambda version: version.last_updated_timestamp or 0).run_id)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, "attributes.status = 'FINISHED'", max_results=1000) if experiments else []
    with_model = [run for run in runs if run.data.tags.get("parity") == "passed"]
    if not with_model:
        raise BundleError(f"no model under {root} yet; train one first: pipeline train data=csv data.path=FILE …")
    newest = [run for run in with_model if run.info.experiment_id == with_model[0].info.experiment_id]
    return str(min(newest, key=_loss).info.run_id)


def _loss(run: "Run") -> float:
    return float(run.data.metrics.get(f"test/{LOSS_METRIC[run.data.tags['task']]}", np.inf))


def _maybe_run(client: "MlflowClient", run_id: str | None) -> "Run | None":
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id) if run_id else None
    except MlflowException:
        return None


def _connect(root: str) -> "MlflowClient":
    if not has_store(root):
        raise BundleError(f"there are no runs under {root} yet; train first: pipeline train data=csv data.path=FILE …")
    return connect(root)


def main(root: str, model: str | None = None) -> None:
    """Print the folder of a model; a mistake is one line and exit code 2."""
    import sys

    from pipeline.errors import PipelineError

    try:
        sys.stdout.write(str(bundle_folder(root, model)))
    except PipelineError as error:
        sys.stderr.write(str(error))
        raise SystemExit(2) from error
