"""Networks by name. Every network maps num (B, n_num) and cat (B, n_cat) to (B, K, C) outputs."""

from collections.abc import Callable
from typing import Any

from torch import nn

from pipeline.config import Model
from pipeline.networks.mlp import MLP
from pipeline.types import Features

NETWORKS: dict[str, Callable[[Any, Features], nn.Module]] = {"mlp": MLP}


def build_network(config: Model, features: Features) -> nn.Module:
    """A network as `config` asks for, with the widths that `features` give."""
    return NETWORKS[config.name](config, features)


def count_parameters(network: nn.Module) -> int:
    """Number of trained values."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
