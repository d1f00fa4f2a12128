"""The fully connected network."""

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.config import Mlp
from pipeline.networks.activations import build_activation
from pipeline.networks.dropout import Dropout
from pipeline.networks.embeddings import CategoryEmbeddings
from pipeline.networks.initializers import initialize
from pipeline.types import Features

T = TypeVar("T")


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation (Ioffe and Szegedy 2015) that does not count its batches: 10 us a step unused."""

    def forward(self, input: Tensor) -> Tensor:
        """x (B, d) to normalised x; by the batch's moments in training, by their moving averages else."""
        averages, affine = (self.running_mean, self.running_var), (self.weight, self.bias)
        return F.batch_norm(input, *averages, *affine, self.training, self.momentum or 0.0, self.eps)


class MLP(nn.Module):
    """Per hidden layer linear, batch norm, activation, dropout; then a linear output layer."""

    def __init__(self, config: Mlp, features: Features) -> None:
        super().__init__()
        self.embeddings = (
            CategoryEmbeddings(features.cardinalities, config.d_embedding) if features.cardinalities else None
        )
        d_in = features.n_num + (self.embeddings.width if self.embeddings else 0)
        inits = _per_layer(config.init, len(config.hidden) + 1)
        activations = _per_layer(config.activation, len(config.hidden))
        dropouts = _per_layer(config.dropout, len(config.hidden))
        norms = _per_layer(config.batch_norm, len(config.hidden))
        layers: list[nn.Module] = []
        for d_out, init, activation, dropout, norm in zip(
            config.hidden, inits, activations, dropouts, norms, strict=False
        ):
            linear = nn.Linear(d_in, d_out, bias=not norm)  # batch norm takes a bias off again, and adds its own
            initialize(linear, init, activation=activation, std=config.init_std)
            layers += [linear, *([BatchNorm(d_out)] if norm else []), build_activation(activation)]
            layers += [Dropout(dropout)] if dropout else []
            d_in = d_out
        output = nn.Linear(d_in, features.n_outputs)
        initialize(output, inits[-1], activation="identity", std=config.init_std)
        self.layers = nn.Sequential(*layers, output)

    def forward(self, num: Tensor, cat: Tensor) -> Tensor:
        """num (B, n_num) and cat (B, n_cat) to outputs (B, 1, C)."""
        x = num if self.embeddings is None else torch.cat([num, self.embeddings(cat)], dim=1)
        out: Tensor = self.layers(x)
        return out.unsqueeze(1)


def _per_layer(value: T | tuple[T, ...], n_layers: int) -> tuple[T, ...]:
    return value if isinstance(value, tuple) else (value,) * n_layers
