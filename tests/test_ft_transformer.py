"""FT-Transformer's attention is the package's, whether or not weights are dropped."""

import pytest
import rtdl_revisiting_models
import torch
from torch import Tensor, nn

from pipeline.networks.ft_transformer import Attention

N_TOKENS = 3


class Masked(nn.Module):
    """Drops the same tokens always."""

    p = 0.5

    def forward(self, weights: Tensor) -> Tensor:
        return weights * torch.tensor([2.0, 0.0, 2.0])


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("training", [True, False])
def test_the_outputs_are_the_packages(dropout: float, *, training: bool) -> None:
    torch.manual_seed(0)
    given = rtdl_revisiting_models.MultiheadAttention(d_embedding=8, n_heads=2, dropout=dropout).train(training)
    own = Attention(given, 2, dropout).train(training)
    if training and dropout:
        given.dropout = own.dropout = Masked()  # type: ignore[assignment]
    queries, tokens = torch.randn(5, 1, 8), torch.randn(5, N_TOKENS, 8)
    torch.testing.assert_close(own(queries, tokens), given(queries, tokens))
