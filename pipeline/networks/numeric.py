"""What continuous columns become before the first layer."""

import math
import warnings
from collections.abc import Callable, Sequence

import rtdl_num_embeddings
import torch
from torch import Tensor, nn

from pipeline.model_config import ModelSection

WIDTHS = {"pbld": 4, "periodic": 24, "piecewise_linear": 16}
SCALES = {"pbld": 0.1, "periodic": 0.01}
PBLD_FREQUENCIES = 16
PERIODIC_FREQUENCIES = 48  # the package's own default
Edges = Sequence[Sequence[float]]  # quantiles of each column, rising


class PBLD(nn.Module):
    """Periodic, bias, linear, DenseNet: cosines with learned frequencies and phases, mixed, beside the value itself.

    Holzmüller et al. 2024, section 3.1. Maps (B, n) to (B, n, d).
    """

    def __init__(self, n_columns: int, width: int, scale: float) -> None:
        super().__init__()
        bound = 1 / math.sqrt(PBLD_FREQUENCIES)
        self.frequency = nn.Parameter(scale * torch.randn(n_columns, PBLD_FREQUENCIES))
        self.phase = nn.Parameter(math.pi * (2 * torch.rand(n_columns, PBLD_FREQUENCIES) - 1))
        self.weight = nn.Parameter(bound * (2 * torch.rand(n_columns, PBLD_FREQUENCIES, width - 1) - 1))
        self.bias = nn.Parameter(bound * (2 * torch.rand(n_columns, 1, width - 1) - 1))

    def forward(self, x: Tensor) -> Tensor:
        """Values (B, n) to vectors (B, n, d), the value itself last."""
        waves = torch.cos(torch.addcmul(self.phase, x.unsqueeze(2), 2 * math.pi * self.frequency))  # (B, n, F)
        mixed = torch.baddbmm(self.bias, waves.transpose(0, 1), self.weight)  # (n, B, d - 1)
        return torch.cat([mixed.transpose(0, 1), x.unsqueeze(2)], dim=2)


def _periodic(edges: Edges, width: int, scale: float) -> nn.Module:
    made: nn.Module = rtdl_num_embeddings.PeriodicEmbeddings(
        len(edges), width, n_frequencies=PERIODIC_FREQUENCIES, frequency_init_scale=scale, lite=False
    )
    return made


def _piecewise_linear(edges: Edges, width: int, scale: float) -> nn.Module:
    bins = [torch.tensor(column, dtype=torch.float32) for column in edges]
    with warnings.catch_warnings():  # that a column of two values is scaled only, which is what it needs
        warnings.simplefilter("ignore", UserWarning)
        made: nn.Module = rtdl_num_embeddings.PiecewiseLinearEmbeddings(bins, width, activation=False, version="B")
    return made


NUM_EMBEDDINGS: dict[str, Callable[[Edges, int, float], nn.Module]] = {
    "pbld": lambda edges, width, scale: PBLD(len(edges), width, scale),
    "periodic": _periodic,
    "piecewise_linear": _piecewise_linear,
}


def num_embedding_width(config: ModelSection) -> int:
    """Numbers that a continuous column becomes."""
    return 1 if config.num_embedding == "none" else config.d_num_embedding or WIDTHS[config.num_embedding]


def build_num_embedding(config: ModelSection, edges: Edges) -> nn.Module | None:
    """The embedding (B, n) to (B, n, d) of columns with these quantiles; None where values stay as they are."""
    if config.num_embedding == "none" or not edges:
        return None
    scale = config.frequency_scale or SCALES.get(config.num_embedding, 0.0)
    return NUM_EMBEDDINGS[config.num_embedding](edges, num_embedding_width(config), scale)
