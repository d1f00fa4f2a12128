"""What a trained network reaches on rows it has not seen: metrics with intervals, predictions, importance."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from pipeline.data.datamodule import TableDataModule
from pipeline.importance import Importance, permutation_importance
from pipeline.losses import LossFunction
from pipeline.metrics import bootstrap
from pipeline.module import predictions, run_network
from pipeline.types import Arrays, Interval


@dataclass(frozen=True)
class Evaluation:
    """Test rows with what was predicted for them: y and prediction as metrics take them."""

    y: np.ndarray
    prediction: np.ndarray
    metrics: dict[str, Interval]
    importance: Importance


def evaluate(network: nn.Module, loss: LossFunction, data: TableDataModule, *, seed: int) -> Evaluation:
    """Evaluate a network on the test rows of `data`."""
    scale = {"center": data.preprocessor.target_center_, "scale": data.preprocessor.target_scale_}
    y = data.targets(data.splits.test)
    prediction = predictions(run_network(network, data.test), data.table.task, **scale)

    def mean_loss(arrays: Arrays) -> float:
        with torch.inference_mode():
            return float(loss(run_network(network, arrays), torch.from_numpy(arrays.y)))

    return Evaluation(
        y=y,
        prediction=prediction,
        metrics=bootstrap(data.table.task, y, prediction, seed=seed),
        importance=permutation_importance(mean_loss, data.test, data.preprocessor.sources(), seed=seed),
    )


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
