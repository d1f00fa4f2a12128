"""What a trained network reaches on rows it has not seen: metrics with intervals, predictions, importance."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from pipeline.calibration import Calibration, calibrate, fit_temperature, measure
from pipeline.data.datamodule import TableDataModule, batches
from pipeline.importance import Importance, permutation_importance
from pipeline.losses import LossFunction
from pipeline.metrics import bootstrap, compute_metrics
from pipeline.networks import row_work
from pipeline.networks.ensemble import Ensemble, count_networks
from pipeline.outputs import predict, run_held_out, run_network
from pipeline.types import Arrays, Interval, Task

SLOPE_ROWS = 32  # at a time: a wide network keeps much of each row for its gradients


@dataclass(frozen=True)
class Evaluation:
    """Test rows with what was predicted for them: y and prediction as metrics take them."""

    y: np.ndarray
    prediction: np.ndarray
    validation: np.ndarray  # the prediction of the validation rows
    metrics: dict[str, Interval]
    importance: Importance
    calibration: Calibration
    alone: dict[str, float]  # mean test metrics of an ensemble's networks, each alone
    trust: dict[str, float]  # coverage and mean size of sets or intervals, and what calibrated probabilities reach


def evaluate(network: nn.Module, loss: LossFunction, data: TableDataModule, *, seed: int) -> Evaluation:
    """Evaluate a network on the test rows of `data`, and its calibration, which the validation rows give.

    Prediction and metrics are the network's own; a bundle answers with the calibrated ones.
    """
    is_mixed = data.config.trainer.precision == "bf16-mixed"
    y, outputs = data.targets(data.splits.test), run_network(network, data.test)
    prediction = predict(outputs, data)
    held_out = run_held_out(network, data)
    calibration = _calibrated(data, held_out)

    def mean_loss(arrays: Arrays) -> float:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=is_mixed):
            return float(loss(run_network(network, arrays), torch.from_numpy(arrays.y)))

    def slopes(arrays: Arrays) -> np.ndarray:
        weight, found = next(network.parameters()), []
        for part in batches(arrays, SLOPE_ROWS):
            num = part.num.to(weight).requires_grad_()
            (slope,) = torch.autograd.grad(loss(network(num, part.cat), part.y) * len(num), num)
            found.append(slope)
        return torch.cat(found).numpy()

    return Evaluation(
        y=y,
        prediction=prediction,
        validation=predict(held_out, data),
        metrics=bootstrap(data.table.task, y, prediction, seed=seed),
        importance=permutation_importance(
            mean_loss,
            slopes,
            data.test,
            data.preprocessor.sources(),
            seed=seed,
            row_work=row_work(network),
            n_networks=count_networks(network),
        ),
        calibration=calibration,
        alone=_alone(network, outputs, y, data),
        trust=_trust(data.table.task, y, predict(outputs, data, calibration.temperature), calibration),
    )


def _alone(network: nn.Module, outputs: torch.Tensor, y: np.ndarray, data: TableDataModule) -> dict[str, float]:
    if not isinstance(network, Ensemble):
        return {}
    parts = outputs.chunk(network.n_networks, dim=1)
    found = [compute_metrics(data.table.task, y, predict(part, data)) for part in parts]
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


def _calibrated(data: TableDataModule, outputs: torch.Tensor) -> Calibration:
    """The calibration that the outputs (N, K, C) on the validation rows call for."""
    task, y, coverage = data.table.task, data.targets(data.splits.val), data.config.predict.coverage
    temperature = 1.0 if task == "regression" else fit_temperature(outputs.double().numpy(), y)
    return calibrate(task, y, predict(outputs, data, temperature), coverage, temperature)


def _trust(task: Task, y: np.ndarray, prediction: np.ndarray, calibration: Calibration) -> dict[str, float]:
    measured = measure(task, y, prediction, calibration)
    if task == "regression":
        return measured
    reached = compute_metrics(task, y, prediction)
    return measured | {f"{name}_calibrated": reached[name] for name in ("log_loss", "ece")}


def predictions_parquet(
    evaluation: Evaluation, rows: np.ndarray, *, classes: Sequence[str], targets: Sequence[str]
) -> bytes:
    """The test predictions as a Parquet file: row (from 1) in the source, true and predicted value, probabilities."""
    columns: dict[str, object] = {"row": rows + 1}
    if classes:
        names = np.asarray(classes, dtype=object)
        columns |= {targets[0]: names[evaluation.y], "predicted": names[evaluation.prediction.argmax(axis=1)]}
        columns |= {f"probability of {name}": evaluation.prediction[:, code] for code, name in enumerate(classes)}
    else:
        for position, name in enumerate(targets):
            columns |= {
                name: evaluation.y[:, position],
                f"predicted {name}": evaluation.prediction[:, position],
            }
    buffer = io.BytesIO()
    pd.DataFrame(columns).to_parquet(buffer, index=False)
    return buffer.getvalue()
