"""What a network, or an ensemble, answers on prepared rows."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.data.datamodule import Batch, TableDataModule, batches
from pipeline.types import Arrays, Task


def run_network(network: nn.Module, arrays: Arrays) -> Tensor:
    """Outputs (N, K, C) of a network in evaluation mode, on the CPU."""
    return run_batches(network, batches(arrays))


def run_batches(network: nn.Module, parts: Sequence[Batch]) -> Tensor:
    """The same on rows in parts."""
    weight = next(network.parameters())  # its precision and device
    network.eval()
    with torch.inference_mode():
        return torch.cat([network(part.num.to(weight), part.cat.to(weight.device)).cpu() for part in parts])


def run_held_out(network: nn.Module, data: TableDataModule) -> Tensor:
    """Outputs (N, K, C) on the validation rows; with folds each row's are of the networks that it was held out from."""
    outputs = run_batches(network, data.validation_batches())
    return outputs if data.folds is None else data.folds.pooled(outputs)


def predict(outputs: torch.Tensor, data: TableDataModule, temperature: float = 1.0) -> np.ndarray:
    """What outputs (N, K, C) say, calibrated where their temperature is given."""
    scale = {"center": data.preprocessor.target_center_, "scale": data.preprocessor.target_scale_}
    return predictions(outputs.double() / temperature, data.table.task, **scale)


def predictions(outputs: Tensor, task: Task, *, center: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """What outputs (N, K, C) say, as the mean over the K members.

    Returns:
        Probabilities (N, n_classes) for classification; values (N, T) in the target's own unit for regression.
    """
    outputs = outputs.detach().cpu().double()
    if task == "regression":
        values: np.ndarray = outputs.mean(dim=1).numpy() * scale + center
        return values
    if task == "binary":
        one = torch.sigmoid(outputs).mean(dim=1)  # (N, 1)
        return torch.cat([1 - one, one], dim=1).numpy()
    return torch.softmax(outputs, dim=2).mean(dim=1).numpy()
