"""Which weights decay and at which share of the rate they move."""

import torch
from torch import nn

from pipeline.compose import load_config
from pipeline.groups import Group, groups_of
from pipeline.optim import build_optimizer, learning_rate


class Own(nn.Module):
    """A network that says it itself."""

    def __init__(self) -> None:
        super().__init__()
        self.slow, self.fast = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))

    def parameter_groups(self) -> list[Group]:
        return [Group([self.slow], 0.1, decays=False), Group([self.fast], 6.0)]


def test_matrices_decay_and_biases_and_norms_do_not() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    decays = {id(group.parameters[0]): group.decays for group in groups_of(network)}
    assert {name: decays[id(p)] for name, p in network.named_parameters()} == {
        "0.weight": True, "0.bias": False, "1.weight": False, "1.bias": False,
    }  # fmt: skip


def test_frozen_weights_are_in_no_group() -> None:
    layer = nn.Linear(3, 2)
    layer.weight.requires_grad = False
    assert [group.parameters for group in groups_of(layer)] == [[layer.bias]]


def test_a_network_may_say_it_itself() -> None:
    optimizer = build_optimizer(load_config(["optimizer=adamw", "optimizer.lr=0.01"]).optimizer, Own())
    assert [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups] == [(0.001, 0.0), (0.06, 0.01)]
    assert learning_rate(optimizer) == 0.01
