"""Learned vectors for categorical columns."""

import math

import torch
from torch import Tensor, nn

MAX_WIDTH = 50


def embedding_width(n_levels: int) -> int:
    """fastai's rule, found by trial on many tables: 1.6 · levels^0.56, at most 50."""
    return min(MAX_WIDTH, round(1.6 * math.pow(n_levels, 0.56)))


class CategoryEmbeddings(nn.Module):
    """One table of vectors a column; code 0 (rare or unseen) starts as the zero vector.

    A level that no training row has therefore stays at zero: the network is told nothing instead of noise.
    """

    def __init__(self, cardinalities: tuple[int, ...], width: int | None) -> None:
        super().__init__()
        self.widths = [embedding_width(levels) if width is None else width for levels in cardinalities]
        self.tables = nn.ModuleList(nn.Embedding(n, d) for n, d in zip(cardinalities, self.widths, strict=True))
        for table in self.tables:
            assert isinstance(table, nn.Embedding)
            nn.init.normal_(table.weight, 0, table.embedding_dim**-0.5)  # vectors of length about 1
            with torch.no_grad():
                table.weight[0] = 0

    def forward(self, cat: Tensor) -> Tensor:
        """Codes (B, n_cat) to vectors (B, d), one column's after the other's."""
        return torch.cat([table(cat[:, column]) for column, table in enumerate(self.tables)], dim=1)
