"""RealMLP's mixed activations: values and gradients as torch's own functions have them."""

import pytest
import torch
from torch import Tensor, nn

from pipeline.networks.fast import mixed

X = [-100.0, -20.0, -3.0, -1.0, -1e-3, -0.0, 0.0, 1e-3, 0.5, 1.0, 5.0, 19.0, 21.0, 100.0]
ACTIVATIONS = [nn.SELU, nn.Mish, nn.Tanh]


def value_and_slopes(activation: nn.Module, dtype: torch.dtype, *, is_own: bool) -> list[Tensor]:
    x = torch.tensor([X, X[::-1]], dtype=dtype, requires_grad=True)
    share = torch.linspace(-0.5, 1.5, len(X), dtype=dtype, requires_grad=True)
    out = mixed(x, activation, share) if is_own else torch.lerp(x, activation(x), share)
    weights = torch.arange(1.0, out.numel() + 1, dtype=dtype).view_as(out)
    return [out.detach(), *torch.autograd.grad((out * weights).sum(), [x, share])]


@pytest.mark.parametrize("kind", ACTIVATIONS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-7)])
def test_values_and_gradients_are_those_of_torch(kind: type[nn.Module], dtype: torch.dtype, tolerance: float) -> None:
    for pair in zip(*(value_and_slopes(kind(), dtype, is_own=own) for own in (True, False)), strict=True):
        torch.testing.assert_close(*pair, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_lower_precisions_are_torchs_own(kind: type[nn.Module]) -> None:
    x, share, activation = torch.tensor([X]), torch.ones(len(X)), kind()
    low = mixed(x.bfloat16(), activation, share.bfloat16())
    assert torch.equal(low, activation(x.bfloat16()))


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_not_a_number_stays_one(kind: type[nn.Module]) -> None:
    assert mixed(torch.tensor([[float("nan")]]), kind(), torch.ones(1)).isnan().all()
