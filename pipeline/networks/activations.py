"""Activation functions by name."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pipeline.networks.fast import mixed

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,  # slope 0.01 below 0
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "identity": nn.Identity,
}


def build_activation(name: str) -> nn.Module:
    """The activation called `name`, applied element by element."""
    return ACTIVATIONS[name]()


class Parametric(nn.Module):
    """x + w·(f(x) − x): a unit mixes its activation f with the identity, by a share w that starts at 1.

    Holzmüller et al. 2024, appendix A.
    """

    def __init__(self, activation: nn.Module, width: int) -> None:
        super().__init__()
        self.activation, self.share = activation, nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, d) to (B, d)."""
        return mixed(x, self.activation, self.share)
