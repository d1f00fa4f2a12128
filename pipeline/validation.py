"""What outputs on the validation rows are worth: of all networks together, and of each."""

import math

import torch
from torch import Tensor

from pipeline.config import Config
from pipeline.data.datamodule import TableDataModule
from pipeline.losses import build_loss, loss_unit
from pipeline.metrics import compute_metrics
from pipeline.outputs import predict


class Scorer:
    """Scores outputs on the rows of `TableDataModule.validation_batches`.

    Attributes:
        loss: maps outputs (B, K, C) and targets to a scalar.
        unit: factor that takes the loss to the target's own unit.
    """

    def __init__(self, config: Config, data: TableDataModule) -> None:
        self.loss = build_loss(config.loss, data.features)
        self.unit = loss_unit(config.loss, data.features, float(data.preprocessor.target_scale_[0]))
        self._data, self._monitor = data, config.trainer.monitor
        self._y, self._targets = torch.from_numpy(data.val.y), data.targets(data.splits.val)

    def together(self, outputs: Tensor) -> dict[str, float]:
        """val/loss and val/… of outputs (B, M·K, C) of M networks; the loss alone where it is no number."""
        folds = self._data.folds
        return self._scores(outputs if folds is None else folds.pooled(outputs), slice(None))

    def apart(self, outputs: Tensor, n_networks: int) -> list[float]:
        """The monitored metric of each of M networks, on the rows that validate it, of outputs (B, M·K, C)."""
        folds, own = self._data.folds, outputs.chunk(n_networks, dim=1)
        if folds is None:
            return [self._monitored(part, slice(None)) for part in own]
        return [self._monitored(part[: len(rows)], rows) for part, rows in zip(own, folds.held, strict=True)]

    def _monitored(self, outputs: Tensor, rows: slice | Tensor) -> float:
        if self._monitor == "val/loss":
            return self._loss(outputs, rows)
        return self._scores(outputs, rows)[self._monitor]

    def _scores(self, outputs: Tensor, rows: slice | Tensor) -> dict[str, float]:
        loss = self._loss(outputs, rows)
        if not math.isfinite(loss):
            return {"val/loss": loss}
        found = compute_metrics(self._data.table.task, self._targets[rows], predict(outputs, self._data))
        return {"val/loss": loss} | {f"val/{name}": value for name, value in found.items()}

    def _loss(self, outputs: Tensor, rows: slice | Tensor) -> float:
        y = self._y[rows]
        return self.unit * float(self.loss(outputs.cpu(), y.to(outputs.dtype) if y.is_floating_point() else y))
