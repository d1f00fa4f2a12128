"""Initial weights by name: each writes a weight (d_out, d_in) in place, given the activation that follows."""

import math
from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

NORMAL_STD = 0.05
SATURATING = ("sigmoid", "tanh")
# gain by what follows the layer; torch knows none for the smooth relatives of ReLU, which behave like it
GAINS = {
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "leaky_relu": "leaky_relu",
    "selu": "selu",
    "identity": "linear",
}

Initializer = Callable[[Tensor, str, float], object]  # weight, activation, standard deviation of `normal`


def _gain(activation: str) -> float:
    return nn.init.calculate_gain(GAINS.get(activation, "relu"))  # type: ignore[arg-type]


def _kaiming(weight: Tensor, activation: str, std: float, *, normal: bool) -> None:
    """He et al. 2015, eq. 10: variance gain² / d_in."""
    deviation = _gain(activation) / math.sqrt(weight.shape[1])
    if normal:
        nn.init.normal_(weight, 0, deviation)
    else:
        nn.init.uniform_(weight, -math.sqrt(3) * deviation, math.sqrt(3) * deviation)


def _xavier(weight: Tensor, activation: str, std: float, *, normal: bool) -> None:
    """Glorot and Bengio 2010, eq. 12 and 16: variance 2 / (d_in + d_out), for every activation alike."""
    (nn.init.xavier_normal_ if normal else nn.init.xavier_uniform_)(weight)


def _auto(weight: Tensor, activation: str, std: float) -> None:
    """Kaiming for the ReLU family, Xavier for sigmoid, tanh and a linear output."""
    name = "xavier_uniform" if activation in (*SATURATING, "identity") else "kaiming_uniform"
    INITIALIZERS[name](weight, activation, std)


def _uniform(weight: Tensor, activation: str, std: float) -> None:
    """Uniform within ±1/√d_in (LeCun et al. 1998, section 4.6, as textbooks give it)."""
    nn.init.uniform_(weight, -1 / math.sqrt(weight.shape[1]), 1 / math.sqrt(weight.shape[1]))


INITIALIZERS: dict[str, Initializer] = {
    "auto": _auto,
    "default": lambda weight, activation, std: None,  # what torch's Linear starts from
    "zeros": lambda weight, activation, std: nn.init.zeros_(weight),
    "ones": lambda weight, activation, std: nn.init.ones_(weight),
    "uniform": _uniform,
    "normal": lambda weight, activation, std: nn.init.normal_(weight, 0, std),
    "kaiming_uniform": partial(_kaiming, normal=False),
    "kaiming_normal": partial(_kaiming, normal=True),
    "xavier_uniform": partial(_xavier, normal=False),
    "xavier_normal": partial(_xavier, normal=True),
}


def initialize(layer: nn.Linear, name: str, *, activation: str, std: float | None = None) -> None:
    """Set a layer's initial weights, and its biases to zero (torch's own for `default`).

    Args:
        layer: weight (d_out, d_in), bias (d_out,) or None.
        name: a key of INITIALIZERS.
        activation: what follows the layer; "identity" for an output layer. Kaiming's gain depends on it.
        std: standard deviation of `normal`; None: 0.05.
    """
    INITIALIZERS[name](layer.weight, activation, NORMAL_STD if std is None else std)
    if name != "default" and layer.bias is not None:
        nn.init.zeros_(layer.bias)
