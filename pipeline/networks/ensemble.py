"""Several networks of one kind as one: members that share nothing but the pass through them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.groups import Group, groups_of
from pipeline.networks.activations import Parametric
from pipeline.networks.fast import mixed
from pipeline.networks.mlp import MLP, BatchNorm, NTKLinear, Scale

OWN = "members."  # where a member's own weights are; all others are stacked, member by member


class Ensemble(nn.Module):
    """M networks, one after the other: their outputs side by side, as those of M·K members.

    Each weight stays its member's own: the sum of the members' losses gives every one the gradients it has alone.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.n_networks = len(networks)
        self.members = nn.ModuleList(networks)

    def forward(self, num: Tensor, cat: Tensor) -> Tensor:
        """num (B, n_num) and cat (B, n_cat), or (B, M, …) where each has rows of its own, to (B, M·K, C)."""
        pairs = zip(self.members, *self.shares(num, cat), strict=True)
        return torch.cat([member(*rows) for member, *rows in pairs], dim=1)

    def shares(self, *inputs: Tensor) -> Iterator[Sequence[Tensor]]:
        """What each member gets of the inputs."""
        return (x.unbind(1) if x.ndim == 3 else [x] * self.n_networks for x in inputs)

    def parameter_groups(self) -> Iterator[Group]:
        """The members' own groups."""
        for member in self.members:
            yield from groups_of(member)

    def parts(self, weights: Mapping[str, Tensor], member: int) -> Iterator[Tensor]:
        """The member's share of weights that are named as the ensemble's are, as views."""
        for name, tensor in weights.items():
            if not name.startswith(OWN):
                yield tensor.unflatten(0, (self.n_networks, -1))[member]
            elif name.startswith(f"{OWN}{member}."):
                yield tensor

    def clip_norms(self, size: float) -> None:
        """Clip the norm of each member's gradient."""
        gradients = {name: p.grad for name, p in self.named_parameters() if p.grad is not None}
        for member in range(self.n_networks):
            own = list(self.parts(gradients, member))
            factor = (size / (nn.utils.get_total_norm(own) + 1e-6)).clamp(max=1)  # as clip_grad_norm_
            for gradient in own:
                gradient.mul_(factor)


def count_networks(network: nn.Module) -> int:
    """The networks that are side by side in one: 1 where it is none but itself."""
    return network.n_networks if isinstance(network, Ensemble) else 1


class MLPEnsemble(Ensemble):
    """M fully connected networks whose layers are computed at once; inputs are embedded a member at a time."""

    def __init__(self, networks: Sequence[MLP]) -> None:
        super().__init__([network.inputs for network in networks])
        self.layers = nn.Sequential(*(_stacked(layers) for layers in zip(*(n.layers for n in networks), strict=True)))
        for name in ("low", "high"):  # of the target, the same for all
            self.register_buffer(name, getattr(networks[0], name), persistent=False)
        self._groups = _named_groups(networks[0])
        self._embeds = any(True for _ in networks[0].inputs.parameters())

    def forward(self, num: Tensor, cat: Tensor) -> Tensor:
        """num (B, n_num) and cat (B, n_cat), or (B, M, …) where each has rows of its own, to (B, M, C)."""
        out: Tensor = self.layers(self._inputs(num, cat)).permute(2, 0, 1)
        if self.low is not None and not self.training:
            out = torch.minimum(torch.maximum(out, cast(Tensor, self.low)), cast(Tensor, self.high))
        return out

    def _inputs(self, num: Tensor, cat: Tensor) -> Tensor:
        """What the first layers take: (M, width, B)."""
        if not self._embeds:
            return num.permute(1, 2, 0) if num.ndim == 3 else num.T.expand(self.n_networks, -1, -1)
        pairs = zip(self.members, *self.shares(num, cat), strict=True)
        return torch.stack([member(*rows).T for member, *rows in pairs])

    def parameter_groups(self) -> Iterator[Group]:
        """The groups of a member, each weight with those of the others."""
        for names, lr_factor, decays in self._groups:
            yield Group([self.get_parameter(own) for name in names for own in self._names(name)], lr_factor, decays)

    def _names(self, name: str) -> list[str]:
        """What a network's weight is called here."""
        if name.startswith("layers."):
            return [name]
        return [f"{OWN}{member}.{name.removeprefix('inputs.')}" for member in range(self.n_networks)]


def _named_groups(network: nn.Module) -> list[tuple[list[str], float, bool]]:
    """A network's groups by the names of weights, which a copy has too."""
    names = {parameter: name for name, parameter in network.named_parameters()}
    return [([names[p] for p in parameters], factor, decays) for parameters, factor, decays in groups_of(network)]


# ---------------------------------------------------------------- layers of M members, on (M, d, B)
def _rows(values: Sequence[Tensor]) -> nn.Parameter:
    return nn.Parameter(torch.stack([value.detach() for value in values]))


class Linears(nn.Module):
    """Linear layers: weight (M, d_out, d_in), bias (M, d_out)."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = _rows([layer.weight for layer in layers])
        self.bias = None if layers[0].bias is None else _rows([layer.bias for layer in layers])
        self.factor = layers[0].factor if isinstance(layers[0], NTKLinear) else None

    def forward(self, x: Tensor) -> Tensor:
        """x (M, d_in, B) to (M, d_out, B)."""
        weight = self.weight if self.factor is None else self.weight * self.factor
        return torch.bmm(weight, x) if self.bias is None else torch.baddbmm(self.bias.unsqueeze(2), weight, x)


class BatchNorms(nn.Module):
    """Batch norms: one of M·d channels, which lie in memory as torch wants them."""

    mean: Tensor
    variance: Tensor

    def __init__(self, layers: Sequence[BatchNorm]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.cat([layer.weight.detach() for layer in layers]))
        self.bias = nn.Parameter(torch.cat([layer.bias.detach() for layer in layers]))
        for name, kept in (("mean", "running_mean"), ("variance", "running_var")):
            self.register_buffer(name, torch.cat([getattr(layer, kept) for layer in layers]))
        self.momentum, self.eps = layers[0].momentum or 0.0, layers[0].eps

    def forward(self, x: Tensor) -> Tensor:
        """x (M, d, B) to normalised x."""
        averages, affine = (self.mean, self.variance), (self.weight, self.bias)
        channels = x.reshape(1, -1, x.shape[2])
        return F.batch_norm(channels, *averages, *affine, self.training, self.momentum, self.eps).view_as(x)


class Scales(nn.Module):
    """Learned factors (M, d)."""

    def __init__(self, layers: Sequence[Scale]) -> None:
        super().__init__()
        self.factor = _rows([layer.factor for layer in layers])

    def forward(self, x: Tensor) -> Tensor:
        """x (M, d, B) to (M, d, B)."""
        return x * self.factor.unsqueeze(2)


class Parametrics(nn.Module):
    """Parametric activations: shares (M, d)."""

    def __init__(self, layers: Sequence[Parametric]) -> None:
        super().__init__()
        self.activation, self.share = layers[0].activation, _rows([layer.share for layer in layers])

    def forward(self, x: Tensor) -> Tensor:
        """x (M, d, B) to (M, d, B)."""
        return mixed(x, self.activation, self.share.unsqueeze(2))


STACKED: Mapping[type[nn.Module], type[nn.Module]] = {
    nn.Linear: Linears,
    NTKLinear: Linears,
    BatchNorm: BatchNorms,
    Scale: Scales,
    Parametric: Parametrics,
}


def _stacked(layers: Sequence[nn.Module]) -> nn.Module:
    """A layer of all members; what has no weights, such as an activation, is used as it is."""
    kind = STACKED.get(type(layers[0]))
    return layers[0] if kind is None else kind(layers)
