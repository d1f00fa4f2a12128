"""The floor: the training that `pipeline train` does, as a loop with nothing around it."""

import copy
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

VAL_PER_TRAIN = 4  # 64/16/20


def fit_by_hand(file: Path, *, batch: int, hidden: Sequence[int], n_epochs: int, n_train: int) -> float:
    """Seconds of a fit as `raw_loop.py` does it: tensors, one shuffle an epoch, slices, the best weights copied."""
    x, y, x_val, y_val = _tensors(file, n_train)
    network = _network(x.shape[1], hidden)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3, fused=True)
    best, kept = float("inf"), {}
    start = time.perf_counter()
    for _ in range(n_epochs):
        network.train()
        order = torch.randperm(n_train)
        x_mixed, y_mixed = x[order], y[order]
        for first in range(0, n_train, batch):
            part = slice(first, first + batch)
            loss = cross_entropy(network(x_mixed[part]), y_mixed[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        network.eval()
        with torch.inference_mode():
            value = float(cross_entropy(network(x_val), y_val))
        if value < best:
            best, kept = value, copy.deepcopy(network.state_dict())
    taken = time.perf_counter() - start
    network.load_state_dict(kept)
    return taken


def _tensors(file: Path, n_train: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    frame = pq.read_table(file).to_pandas()
    x = torch.tensor(frame.drop(columns="y").to_numpy("float32"))
    y = torch.tensor(frame["y"].to_numpy())
    n_val = n_train // VAL_PER_TRAIN
    return x[:n_train], y[:n_train], x[-n_val:], y[-n_val:]


def _network(width: int, hidden: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for d_out in hidden:
        layers += [nn.Linear(width, d_out), nn.BatchNorm1d(d_out), nn.ReLU(), nn.Dropout(0.1)]
        width = d_out
    return nn.Sequential(*layers, nn.Linear(width, 4))
