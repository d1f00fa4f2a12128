"""The moving average of weights: how fast it follows, and what of a network is averaged."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.averaging import Average


def network(*values: float) -> nn.Linear:
    made = nn.Linear(len(values), 1, bias=False)
    with torch.no_grad():
        made.weight.copy_(torch.tensor([values]))
    return made


def state(average: Average) -> Mapping[str, Tensor]:
    return average.network.state_dict()


def test_each_step_brings_the_average_nearer_by_a_part_of_the_window_and_by_more_in_the_first_steps() -> None:
    followed, rng = network(3.0, -1.0), np.random.default_rng(0)
    average, expected = Average(followed, window=4), np.array([3.0, -1.0])
    average.begin(followed)
    for step in range(1, 101):
        weights = rng.normal(size=2)
        with torch.no_grad():
            followed.weight.copy_(torch.from_numpy(weights))
        average.update(step)
        expected += max(1 / 4, 9 / (9 + step)) * (weights - expected)
    assert state(average)["weight"][0].numpy() == pytest.approx(expected, rel=1e-5)


def test_a_window_of_less_than_a_step_is_the_weights_themselves() -> None:
    followed = network(1.0)
    average = Average(followed, window=0.5)
    average.begin(followed)
    with torch.no_grad():
        followed.weight.fill_(7)
    average.update(1000)
    assert float(state(average)["weight"]) == 7


def test_running_averages_of_a_batch_norm_are_averaged_and_what_counts_is_let_be() -> None:
    followed = nn.BatchNorm1d(1)
    average = Average(followed, window=2)
    average.begin(followed)
    followed.state_dict()["running_mean"].fill_(8)
    followed.state_dict()["num_batches_tracked"].fill_(5)
    average.update(1000)
    assert float(state(average)["running_mean"]) == 4
    assert int(state(average)["num_batches_tracked"]) == 0


def test_the_average_is_not_learned_and_shares_nothing_with_the_network() -> None:
    followed = network(1.0)
    average = Average(followed, window=2)
    assert not any(parameter.requires_grad for parameter in average.parameters())
    with torch.no_grad():
        followed.weight.fill_(2)
    assert float(state(average)["weight"]) == 1
    assert followed.weight.requires_grad
