"""What is measured in a network: by values that are known, and without touching the training."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.doctor.measuring import Layer, Measure, Probe, is_due, layers_of
from pipeline.errors import TrainingError
from pipeline.train import train
from pipeline.types import Arrays
from tests.conftest import quick

PLAIN = ("model.dropout=0", "model.batch_norm=false", "trainer.max_epochs=6", "trainer.patience=null")


def measured(*overrides: str) -> list[Measure]:
    seen: list[Measure] = []
    rows = Arrays(*(np.zeros((4, 4), np.float32), np.zeros((4, 0), np.int64), np.zeros(4, np.int64)))
    probe = Probe(rows, seen.append)
    train(quick(*PLAIN, "doctor=off", *overrides), [probe])
    assert seen == probe.measures
    return seen


def test_it_measures_at_the_start_often_at_first_and_at_the_end() -> None:
    assert [measure.epoch for measure in measured("trainer.max_epochs=7")] == [0, 1, 2, 4, 7]
    assert [epoch for epoch in range(1, 100) if is_due(epoch)] == [1, 2, 4, 8, 16, 32, 64]


@pytest.mark.parametrize("extra", [(), ("model.dropout=0.3", "model.batch_norm=true")])
def test_training_is_the_same_with_and_without(extra: tuple[str, ...]) -> None:
    with_it, without = (train(quick(*PLAIN, *extra, f"doctor={word}")) for word in ("on", "off"))
    for row, other in zip(with_it.history, without.history, strict=True):
        assert row["train/loss"] == other["train/loss"]
        assert row["val/loss"] == other["val/loss"]


def test_layers_are_named_in_order_with_the_activation_behind_them() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1))
    parts = [(name, type(activation).__name__) for name, _, activation in layers_of(network)]
    assert parts == [("layer 1", "ReLU"), ("layer 2", "Tanh"), ("output", "NoneType")]


def test_the_first_step_of_sgd_changes_the_weights_by_rate_times_gradient() -> None:
    first = measured("optimizer=sgd", "optimizer.lr=0.001", "optimizer.weight_decay=0", "model.hidden=[8]")[1]
    for layer in first.layers:
        assert layer.update == pytest.approx(0.001 * layer.gradient / layer.weight, rel=0.1)  # means over two steps


def looked_at(network: nn.Module, num: torch.Tensor) -> tuple[Layer, ...]:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = network

        def forward(self, num: torch.Tensor, cat: torch.Tensor) -> torch.Tensor:
            return self.layers(num).unsqueeze(1)  # type: ignore[no-any-return]

    arrays: Any = Arrays(num.numpy(), np.zeros((len(num), 0), np.int64), np.zeros(len(num)))
    return Probe(arrays)._looked_at(Network())


def test_dead_saturated_and_symmetric_units_are_counted() -> None:
    relu, tanh, output = nn.Linear(1, 4), nn.Linear(4, 2), nn.Linear(2, 1)
    with torch.no_grad():
        relu.weight[:] = torch.tensor([[1.0], [1.0], [-1.0], [2.0]])
        relu.bias[:] = torch.tensor([0.0, 0.0, -9.0, 0.0])  # the third is 0 for x in 0 to 1
        tanh.weight[:] = torch.tensor([[9.0, 9.0, 9.0, 9.0], [0.1, 0.0, 0.0, 0.0]])
        tanh.bias[:] = torch.tensor([9.0, 0.0])  # the first stands at 1
    first, second, last = looked_at(
        nn.Sequential(relu, nn.ReLU(), tanh, nn.Tanh(), output), torch.linspace(0.1, 1, 10)[:, None]
    )
    assert (first.dead, first.symmetric) == (0.25, 0.5)
    assert math.isnan(first.saturated)
    assert (second.saturated, second.symmetric) == (0.5, 0.0)
    assert math.isnan(second.dead)
    assert math.isnan(last.std)


def test_mean_and_spread_of_activations_are_those_over_rows() -> None:
    linear = nn.Linear(1, 1)
    nn.init.ones_(linear.weight)
    nn.init.zeros_(linear.bias)
    x = torch.tensor([[1.0], [3.0]])
    layer = looked_at(nn.Sequential(linear, nn.ReLU(), nn.Linear(1, 1)), x)[0]
    assert (layer.mean, layer.std) == (2.0, 1.0)


def test_a_loss_that_is_no_number_leaves_what_was_measured() -> None:
    seen: list[Measure] = []
    rows = Arrays(np.zeros((4, 4), np.float32), np.zeros((4, 0), np.int64), np.zeros(4, np.int64))
    diverging = quick(*PLAIN, "doctor=off", "optimizer=sgd", "optimizer.lr=1e20", "model.activation=identity")
    with pytest.raises(TrainingError):
        train(diverging, [Probe(rows, seen.append)])
    assert [measure.epoch for measure in seen] == [0, 1]
