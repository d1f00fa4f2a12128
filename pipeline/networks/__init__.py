"""Networks by name. Every network maps num (B, n_num) and cat (B, n_cat) to (B, K, C) outputs."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from pipeline.model_config import Model
from pipeline.networks.ensemble import Ensemble, MLPEnsemble
from pipeline.networks.ft_transformer import FTTransformer
from pipeline.networks.mlp import MLP
from pipeline.networks.realmlp import RealMLP
from pipeline.networks.resnet import ResNet
from pipeline.networks.tabm import TabM
from pipeline.types import Features

NETWORKS: dict[str, Callable[[Any, Features], nn.Module]] = {
    "mlp": MLP,
    "realmlp": RealMLP,
    "tabm": TabM,
    "resnet": ResNet,
    "ft_transformer": FTTransformer,
}


def build_network(config: Model, features: Features, rows: tuple[Tensor, Tensor] | None = None) -> nn.Module:
    """A network as `config` asks for, with the widths that `features` give.

    Args:
        config: the model's section.
        features: what the data is.
        rows: some training rows, num (N, n_num) and cat (N, n_cat), for initial weights that are fitted to them.
    """
    network = NETWORKS[config.name](config, features)
    if rows is not None and isinstance(network, MLP):
        network.begin(*rows)
    return network


def build_ensemble(networks: Sequence[nn.Module]) -> nn.Module:
    """The networks, all of one kind, as one whose outputs (B, M·K, C) are theirs side by side; one stays itself."""
    if len(networks) == 1:
        return networks[0]
    mlps = [network for network in networks if isinstance(network, MLP)]
    return MLPEnsemble(mlps) if mlps else Ensemble(networks)


def is_trained_apart(network: nn.Module) -> bool:
    """Whether it is several networks that are not computed at once, and so are trained in a thread each."""
    return type(network) is Ensemble


def row_work(network: nn.Module) -> int:
    """About the multiply-adds of a row: a weight each, one a member where TabM's members share it."""
    if type(network) is Ensemble:
        return sum(row_work(member) for member in network.members)
    n_members = max((module.n_members for module in network.modules() if isinstance(module, TabM)), default=1)
    return count_parameters(network) * n_members


def count_parameters(network: nn.Module) -> int:
    """Number of trained values."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
