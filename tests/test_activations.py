"""Activations against their formulas."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.special import erf, expit

from pipeline.networks.activations import ACTIVATIONS, build_activation

ALPHA, SCALE = 1.6732632423543772, 1.0507009873554805  # Klambauer et al. 2017, section 2
FORMULAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": lambda x: (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.exp(x) - 1),
    "selu": lambda x: SCALE * np.where(x > 0, x, ALPHA * (np.exp(x) - 1)),
    "gelu": lambda x: x * (1 + erf(x / math.sqrt(2))) / 2,
    "silu": lambda x: x * expit(x),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "identity": lambda x: x,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_value_is_the_formulas(name: str) -> None:
    x = np.linspace(-6, 6, 101)
    np.testing.assert_allclose(build_activation(name)(torch.from_numpy(x)).numpy(), FORMULAS[name](x), atol=1e-12)
