"""Initial weights by name: each writes a weight (d_out, d_in) in place, given the activation that follows."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

NORMAL_STD = 0.05
HE_ROWS = 5
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
    "data": lambda weight, activation, std: nn.init.normal_(weight, 0, 1 / math.sqrt(weight.shape[1])),
}


def fit_to_rows(layer: nn.Linear, x: Tensor) -> Tensor:
    """Scale each unit of a layer to variance 1 over rows x (N, d_in), and have it cross 0 among them (He+5).

    The bias is minus a random mean of five rows' values, as in Steinwart 2019 and RealMLP. A unit that does not vary
    stays as it is.

    Returns:
        The layer's outputs (N, d_out).
    """
    with torch.no_grad():
        out: Tensor = layer(x) - layer.bias
        deviation = out.std(dim=0, correction=0)  # (d_out,)
        factor = torch.where(deviation > 0, 1 / deviation, 1.0)
        layer.weight *= factor.unsqueeze(1)
        out = out * factor
        shares = -torch.rand(HE_ROWS, len(factor)).log()  # exponential: a point uniform in their simplex
        chosen = out.gather(0, torch.randint(len(x), shares.shape))
        layer.bias.copy_(-(chosen * shares / shares.sum(dim=0)).sum(dim=0))
        return out + layer.bias


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
