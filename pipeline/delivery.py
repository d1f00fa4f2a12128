"""What a finished run delivers: its bundle, compared with the network on rows that were held out."""

import logging
from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime

import numpy as np
from torch import nn

from pipeline.bundle import Bundle, Schema, bundle_files
from pipeline.data.datamodule import TableDataModule
from pipeline.data.raw import sampled
from pipeline.errors import first_line
from pipeline.evaluate import Evaluation
from pipeline.export import export_model
from pipeline.flavor import model_files
from pipeline.outputs import predict, run_network
from pipeline.record import split_digest, versions
from pipeline.tracking import Tracker
from pipeline.types import Arrays, Result

TOLERANCE = 1e-5  # of a probability; of a value relative to it and to the target's deviation
NOISES = 10  # times what float32 itself costs a row, or the median row: unscaled inputs leave few digits of a sum
SHOWN_COLUMNS = 12  # of the worst row in a message

logger = logging.getLogger(__name__)


def deliver(tracker: Tracker, data: TableDataModule, network: nn.Module, evaluation: Evaluation, result: Result) -> str:
    """Write the bundle to the run, and compare it with the network; returns why it must not be used, empty if it may.

    A bundle that cannot be made or used costs the run nothing else: what it trained and measured is kept.
    """
    if not tracker.run_id:
        return ""  # nobody keeps it
    tracker.tags({"test_digest": split_digest(data.table, data.splits.test)})
    try:
        schema = _schema(data, evaluation, result)
        files = bundle_files(schema, export_model(network, data.preprocessor, evaluation.calibration))
        for name, content in model_files(schema, files).items():
            tracker.file(name, content)
        fault = compare(Bundle.of(files, "of this run"), data, network, evaluation.calibration.temperature)
    except Exception as error:  # of torch's exporter, onnx or onnxruntime: they have many
        fault = f"the bundle cannot be made: {type(error).__name__}: {first_line(error)}"
    tracker.tags({"parity": "failed" if fault else "passed"} | ({"parity.fault": fault} if fault else {}))
    if fault:
        logger.warning("the run's bundle must not be used: %s", fault)
    return fault


def compare(bundle: Bundle, data: TableDataModule, network: nn.Module, temperature: float) -> str:
    """Where the answers for held-out rows, from their raw values, differ most from the network's; empty if nowhere."""
    chosen = sampled(len(data.test.y))
    arrays = Arrays(*(array[chosen] for array in data.test))

    def answers(of: nn.Module) -> np.ndarray:
        return predict(run_network(of, arrays), data, temperature)

    expected, found = answers(network), bundle.predict(data.sample).values
    size = 1.0 if data.table.classes else np.abs(expected) + data.preprocessor.target_scale_
    noise = (np.abs(answers(deepcopy(network).float()) - answers(deepcopy(network).double())) / size).max(axis=1)
    allowed = TOLERANCE + NOISES * np.maximum(noise, np.median(noise))  # (N,)
    excess = np.nan_to_num(np.abs(found - expected) / size, nan=np.inf).max(axis=1) / allowed
    worst = int(excess.argmax())
    if excess[worst] <= 1:
        return ""
    row = data.splits.test[chosen[worst]] + 1
    return f"row {row}: it answers {_shown(found[worst])}, the network {_shown(expected[worst])}, for " + _shown_row(
        data.sample, worst
    )


def _shown(values: np.ndarray) -> str:
    return ", ".join(f"{value:.6g}" for value in values[:SHOWN_COLUMNS])


def _shown_row(sample: Mapping[str, np.ndarray], row: int) -> str:
    cells = [f"{name}={values[row]!r}" for name, values in [*sample.items()][:SHOWN_COLUMNS]]
    return ", ".join(cells) + (", …" if len(sample) > SHOWN_COLUMNS else "")


def _schema(data: TableDataModule, evaluation: Evaluation, result: Result) -> Schema:
    table = data.table
    tested = {name: interval.value for name, interval in evaluation.metrics.items()} | evaluation.trust
    metrics = dict(result.val) | {f"test/{name}": value for name, value in tested.items()}
    return Schema(
        name=table.name,
        run_id=result.run_id,
        task=table.task,
        targets=tuple(str(name) for name in table.targets),
        classes=table.labels,
        columns=data.preprocessor.columns_,
        coverage=data.config.predict.coverage,
        metrics={name: value for name, value in metrics.items() if np.isfinite(value)},  # JSON has no others
        versions=versions(),
        digest=table.digest,
        test_digest=split_digest(table, data.splits.test),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
