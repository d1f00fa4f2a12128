"""One operation of a run, carried out on MLflow's store."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pipeline.writer import MAX_ENTRIES, MAX_PAIRS, Op

if TYPE_CHECKING:
    from mlflow import MlflowClient

Status = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class Dataset:
    """What MLflow is told of one split: digest and source, columns with their types, number of rows."""

    name: str
    digest: str
    source: str
    columns: tuple[tuple[str, str], ...]
    n_rows: int
    context: str


class Point(NamedTuple):
    """A metric's value at a moment, in milliseconds since 1970, and a step."""

    name: str
    value: float
    moment: int
    step: int


class WholeRun(NamedTuple):
    """A run that is over; `start` and `end` in milliseconds since 1970."""

    name: str
    tags: Mapping[str, str]
    params: Mapping[str, object]
    metrics: Sequence[Point]
    start: int
    end: int
    status: Status


def send(client: "MlflowClient", run_id: str, op: Op, pending: Path) -> None:
    """Carry out one operation; doing it twice is as good as once, since times are part of it."""
    from mlflow.entities import Metric, Param, RunTag

    if op["do"] == "batch":
        client.log_batch(
            run_id,
            metrics=[Metric(name, value, moment, step) for name, value, moment, step in op.get("metrics", ())],
            params=[Param(*pair) for pair in op.get("params", ())],
            tags=[RunTag(*pair) for pair in op.get("tags", ())],
        )
    elif op["do"] == "inputs":
        client.log_inputs(run_id, datasets=[_dataset_input(Dataset(**dataset)) for dataset in op["datasets"]])
    elif op["do"] == "run":
        _send_run(client, op)
    elif op["do"] == "file":
        file = pending / "files" / op["name"]
        folder = str(Path(op["name"]).parent)
        client.log_artifact(run_id, str(file), None if folder == "." else folder)
    else:
        client.set_terminated(run_id, op["status"], end_time=op["time"])


def _send_run(client: "MlflowClient", op: Op) -> None:
    """Write a whole run; where a try before this one has made it, that one is filled."""
    from mlflow.entities import Metric, Param

    if "run_id" not in op:
        run = client.create_run(op["experiment"], start_time=op["start"], tags=op["tags"], run_name=op["name"])
        op["run_id"] = run.info.run_id
    params = [Param(*pair) for pair in op["params"]]
    metrics = [Metric(name, value, moment, step) for name, value, moment, step in op["metrics"]]
    client.log_batch(op["run_id"], metrics[: MAX_ENTRIES - MAX_PAIRS], params[:MAX_PAIRS])
    for first in range(MAX_ENTRIES - MAX_PAIRS, len(metrics), MAX_ENTRIES):
        client.log_batch(op["run_id"], metrics[first : first + MAX_ENTRIES])
    for first in range(MAX_PAIRS, len(params), MAX_PAIRS):
        client.log_batch(op["run_id"], params=params[first : first + MAX_PAIRS])
    client.set_terminated(op["run_id"], op["status"], end_time=op["end"])


def _dataset_input(dataset: Dataset) -> Any:  # an mlflow type, imported late
    from mlflow.entities import Dataset as MlflowDataset
    from mlflow.entities import DatasetInput, InputTag

    schema = {"mlflow_colspec": [{"type": kind, "name": name, "required": True} for name, kind in dataset.columns]}
    return DatasetInput(
        MlflowDataset(
            name=dataset.name,
            digest=dataset.digest[:8],  # as long as MLflow's own; the tag `digest` has it whole
            source_type="local",
            source=json.dumps({"uri": dataset.source}),
            schema=json.dumps(schema),
            profile=json.dumps({"num_rows": dataset.n_rows, "num_elements": dataset.n_rows * len(dataset.columns)}),
        ),
        tags=[InputTag("mlflow.data.context", dataset.context)],
    )
