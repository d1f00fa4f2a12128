"""Which of a network's weights are trained at which share of the rate, and which of them decay."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol, cast

from torch import nn


class Group(NamedTuple):
    """Weights with a factor on the learning rate."""

    parameters: list[nn.Parameter]
    lr_factor: float = 1.0
    decays: bool = True


class HasGroups(Protocol):
    """A network with groups of its own."""

    def parameter_groups(self) -> Iterable[Group]: ...


def groups_of(network: nn.Module) -> Iterable[Group]:
    """A network's own groups; else matrices, which decay, and biases and norms, which do not."""
    if hasattr(network, "parameter_groups"):
        return cast(HasGroups, network).parameter_groups()
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return [Group([parameter], decays=parameter.ndim >= 2) for parameter in trained]
