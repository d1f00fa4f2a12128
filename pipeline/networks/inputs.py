"""From prepared columns to the flat vector that a network's first layer takes."""

import torch
from torch import Tensor, nn

from pipeline.model_config import ModelSection
from pipeline.networks.embeddings import CategoryEmbeddings
from pipeline.networks.numeric import build_num_embedding, num_embedding_width
from pipeline.types import Features


class Inputs(nn.Module):
    """Continuous columns, embedded where asked for, then 0/1 columns, then embedded categories.

    Attributes:
        widths: numbers that each column becomes, in order.
    """

    def __init__(self, config: ModelSection, features: Features) -> None:
        super().__init__()
        self.n_continuous = len(features.edges)
        self.numbers = build_num_embedding(config, features.edges)
        self.categories = (
            CategoryEmbeddings(features.cardinalities, config.d_embedding) if features.cardinalities else None
        )
        continuous = [num_embedding_width(config)] * self.n_continuous
        self.widths = [*continuous, *([1] * (features.n_num - self.n_continuous))]
        self.widths += self.categories.widths if self.categories else []

    @property
    def width(self) -> int:
        """Numbers of a row."""
        return sum(self.widths)

    def forward(self, num: Tensor, cat: Tensor) -> Tensor:
        """num (B, n_num) and cat (B, n_cat) to x (B, width)."""
        parts = [num]
        if self.numbers is not None:
            parts = [self.numbers(num[:, : self.n_continuous]).flatten(1), num[:, self.n_continuous :]]
        if self.categories is not None:
            parts.append(self.categories(cat))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
