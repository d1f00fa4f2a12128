"""The fully connected network."""

import math
from collections.abc import Iterator
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.groups import Group
from pipeline.model_config import Mlp
from pipeline.networks.activations import Parametric, build_activation
from pipeline.networks.dropout import Dropout
from pipeline.networks.initializers import fit_to_rows, initialize
from pipeline.networks.inputs import Inputs
from pipeline.types import Features

T = TypeVar("T")


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation (Ioffe and Szegedy 2015) that does not count its batches: 10 us a step unused."""

    def forward(self, input: Tensor) -> Tensor:
        """x (B, d) to normalised x; by the batch's moments in training, by their moving averages else."""
        averages, affine = (self.running_mean, self.running_var), (self.weight, self.bias)
        return F.batch_norm(input, *averages, *affine, self.training, self.momentum or 0.0, self.eps)


class NTKLinear(nn.Linear):
    """A linear layer whose weights are divided by √d_in where they are used (Jacot et al. 2018).

    Steps of Adam then change a wide layer's outputs as much as a narrow one's.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias)
        self.factor = 1 / math.sqrt(in_features)

    def forward(self, input: Tensor) -> Tensor:
        """x (B, d_in) to (B, d_out)."""
        return F.linear(input, self.weight * self.factor, self.bias)


class Scale(nn.Module):
    """A learned factor an input, from 1."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, d) to (B, d)."""
        return x * self.factor


class MLP(nn.Module):
    """Per hidden layer linear, batch norm, activation, dropout; then a linear output layer."""

    rate = 1.0  # a factor on the learning rate of all weights
    low: Tensor | None
    high: Tensor | None

    def __init__(self, config: Mlp, features: Features) -> None:
        super().__init__()
        self.config = config
        self.inputs = Inputs(config, features)
        n_hidden = len(config.hidden)
        self.inits = _per_layer(config.init, n_hidden + 1)
        d_in, layers = self.inputs.width, cast(list[nn.Module], [Scale(self.inputs.width)] * config.input_scale)
        settings = (_per_layer(value, n_hidden) for value in (config.activation, config.dropout, config.batch_norm))
        for d_out, init, activation, dropout, norm in zip(config.hidden, self.inits, *settings, strict=False):
            layers.append(_linear(config, d_in, d_out, init, activation, bias=not norm))  # batch norm adds its own
            layers += [BatchNorm(d_out)] if norm else []
            function = build_activation(activation)
            layers.append(Parametric(function, d_out) if config.parametric_activation else function)
            layers += [Dropout(dropout)] if dropout else []
            d_in = d_out
        self.layers = nn.Sequential(*layers, _linear(config, d_in, features.n_outputs, self.inits[-1], "identity"))
        bounds = torch.tensor(features.target_range).T if config.clamp_output and features.target_range else (None,) * 2
        self.register_buffer("low", bounds[0])
        self.register_buffer("high", bounds[1])

    def forward(self, num: Tensor, cat: Tensor) -> Tensor:
        """num (B, n_num) and cat (B, n_cat) to outputs (B, 1, C)."""
        out: Tensor = self.layers(self.inputs(num, cat))
        if self.low is not None and self.high is not None and not self.training:
            out = torch.minimum(torch.maximum(out, self.low), self.high)
        return out.unsqueeze(1)

    def parameter_groups(self) -> Iterator[Group]:
        """Each weight with the factor of its kind."""
        of_numbers = {*self.inputs.numbers.modules()} if self.inputs.numbers else set()
        for module in self.modules():
            factor = self.config.num_embedding_lr_factor if module in of_numbers else 1.0
            if isinstance(module, Scale):
                factor = self.config.scale_lr_factor
            elif isinstance(module, Parametric):
                factor = self.config.activation_lr_factor
            for name, parameter in module.named_parameters(recurse=False):
                is_bias = isinstance(module, nn.Linear) and name == "bias"
                own = self.config.bias_lr_factor if is_bias else factor
                yield Group([parameter], self.rate * own, decays=self.decays(parameter, is_bias=is_bias))

    def decays(self, parameter: nn.Parameter, *, is_bias: bool) -> bool:
        """Whether weight decay reaches it: matrices alone, as in any network."""
        return parameter.ndim >= 2

    def begin(self, num: Tensor, cat: Tensor) -> None:
        """Fit the layers of init=data to training rows num (N, n_num) and cat (N, n_cat), from the first one on."""
        if "data" not in self.inits:
            return
        inits = iter(self.inits)
        with torch.no_grad():
            x = self.inputs(num, cat)
            for layer in self.layers.eval():
                if isinstance(layer, BatchNorm):  # by these rows' moments, as in training
                    x = F.batch_norm(x, None, None, layer.weight, layer.bias, training=True, eps=layer.eps)
                    continue
                is_fitted = isinstance(layer, nn.Linear) and next(inits) == "data" and layer.bias is not None
                x = fit_to_rows(cast(nn.Linear, layer), x) if is_fitted else layer(x)
        self.layers.train()


def _linear(config: Mlp, d_in: int, d_out: int, init: str, activation: str, *, bias: bool = True) -> nn.Linear:
    layer = (NTKLinear if config.parametrization == "ntk" else nn.Linear)(d_in, d_out, bias=bias)
    initialize(layer, init, activation=activation, std=config.init_std)
    if isinstance(layer, NTKLinear):
        with torch.no_grad():
            layer.weight /= layer.factor  # the layer begins as a standard one would
    return layer


def _per_layer(value: T | tuple[T, ...], n_layers: int) -> tuple[T, ...]:
    return value if isinstance(value, tuple) else (value,) * n_layers
