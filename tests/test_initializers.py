"""Initial weights against the distributions they claim."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from pipeline.networks.initializers import INITIALIZERS, initialize

D_IN, D_OUT = 400, 200
RELU_LIKE = ("relu", "elu", "gelu", "silu", "mish")
GAINS = {
    **dict.fromkeys(RELU_LIKE, math.sqrt(2)),
    "leaky_relu": math.sqrt(2 / (1 + 0.01**2)),
    "tanh": 5 / 3,
    "selu": 3 / 4,
    "sigmoid": 1,
    "identity": 1,
}


def weights(name: str, activation: str = "relu", std: float | None = None) -> np.ndarray:
    torch.manual_seed(0)
    layer = nn.Linear(D_IN, D_OUT)
    initialize(layer, name, activation=activation, std=std)
    return layer.weight.detach().double().flatten().numpy()


def assert_uniform(sample: np.ndarray, bound: float) -> None:
    assert stats.kstest(sample, stats.uniform(-bound, 2 * bound).cdf).pvalue > 0.01
    assert np.abs(sample).max() <= bound * (1 + 1e-6)


def assert_normal(sample: np.ndarray, std: float) -> None:
    assert stats.kstest(sample, stats.norm(0, std).cdf).pvalue > 0.01
    assert sample.std() == pytest.approx(std, rel=0.02)


@pytest.mark.parametrize("activation", GAINS)
def test_kaiming_has_the_gain_of_the_activation(activation: str) -> None:
    deviation = GAINS[activation] / math.sqrt(D_IN)
    assert_normal(weights("kaiming_normal", activation), deviation)
    assert_uniform(weights("kaiming_uniform", activation), math.sqrt(3) * deviation)


def test_xavier_has_the_width_of_both_sides() -> None:
    assert_uniform(weights("xavier_uniform", "tanh"), math.sqrt(6 / (D_IN + D_OUT)))
    assert_normal(weights("xavier_normal", "tanh"), math.sqrt(2 / (D_IN + D_OUT)))


def test_uniform_is_within_one_over_root_d_in() -> None:
    assert_uniform(weights("uniform"), 1 / math.sqrt(D_IN))


@pytest.mark.parametrize(("std", "expected"), [(None, 0.05), (0.3, 0.3)])
def test_normal_has_the_deviation_asked_for(std: float | None, expected: float) -> None:
    assert_normal(weights("normal", std=std), expected)


@pytest.mark.parametrize(("name", "value"), [("zeros", 0), ("ones", 1)])
def test_constants(name: str, value: float) -> None:
    assert (weights(name) == value).all()


@pytest.mark.parametrize("activation", [*RELU_LIKE, "leaky_relu", "selu"])
def test_auto_is_kaiming_for_the_relu_family(activation: str) -> None:
    np.testing.assert_array_equal(weights("auto", activation), weights("kaiming_uniform", activation))


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "identity"])
def test_auto_is_xavier_for_saturating_and_linear_layers(activation: str) -> None:
    np.testing.assert_array_equal(weights("auto", activation), weights("xavier_uniform", activation))


def test_default_is_torchs_own_weight_and_bias() -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(5, 3), nn.Linear(5, 3)
    theirs.load_state_dict(ours.state_dict())
    initialize(ours, "default", activation="relu")
    assert torch.equal(ours.weight, theirs.weight)
    assert torch.equal(ours.bias, theirs.bias)
    assert (ours.bias != 0).all()


@pytest.mark.parametrize("name", sorted(set(INITIALIZERS) - {"default"}))
def test_biases_start_at_zero(name: str) -> None:
    layer = nn.Linear(5, 3)
    initialize(layer, name, activation="relu")
    assert (layer.bias == 0).all()
