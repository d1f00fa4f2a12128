"""RealMLP's mixed SELU and Mish on the CPU, in one step of autograd and few passes over the values.

Torch's own Mish takes six times as long, more than the linear layer before it, its SELU twice as long.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772  # of SELU, Klambauer et al. 2017
FAR = 20.0  # beyond it an exponential changes nothing in float32, and far below it is denormal: ten times as slow


class Rule(NamedTuple):
    """An activation f: `value` maps x to f(x) and what `slope` needs, which maps grad, x and that to grad·f'(x)."""

    value: Callable[[Tensor], tuple[Tensor, Tensor]]
    slope: Callable[[Tensor, Tensor, Tensor], Tensor]


def _selu(x: Tensor) -> tuple[Tensor, Tensor]:
    f = x.clamp(min=0).add_(x.clamp(-FAR, 0).exp_(), alpha=ALPHA).sub_(ALPHA).mul_(SCALE)
    return f, f


def _selu_slope(grad: Tensor, x: Tensor, f: Tensor) -> Tensor:
    made: Tensor = torch.ops.aten.elu_backward(grad, ALPHA, SCALE, 1.0, True, f)  # from the value, without exponentials
    return made


def _mish(x: Tensor) -> tuple[Tensor, Tensor]:
    """x·tanh(log(1 + eˣ)) = x·(1 − 2r) with r = 1 / ((1 + eˣ)² + 1)."""
    r = x.clamp(-FAR, FAR).exp_().add_(1).square_().add_(1).reciprocal_()
    return torch.addcmul(x, x, r, value=-2), r


def _mish_slope(grad: Tensor, x: Tensor, r: Tensor) -> Tensor:
    """1 − 2r − 2r'·x with r' = −2r·(1 − r)·sigmoid(x)."""
    bent = torch.addcmul(r, r, r, value=-1).mul_(x).mul_(x.sigmoid())
    return torch.addcmul(grad, grad, r.sub(bent, alpha=2), value=-2)


RULES: dict[type[nn.Module], Rule] = {nn.SELU: Rule(_selu, _selu_slope), nn.Mish: Rule(_mish, _mish_slope)}


class _Mixed(Function):
    """lerp(x, f(x), share), of a share that x's shape follows by broadcasting."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, share: Tensor, rule: Rule) -> Tensor:
        f, kept = rule.value(x)
        ctx.rule = rule
        ctx.save_for_backward(x, f, kept, share)
        return torch.lerp(x, f, share)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, f, kept, share = ctx.saved_tensors
        slope = ctx.rule.slope(grad, x, kept)
        return torch.lerp(grad, slope, share, out=slope), f.sub(x).mul_(grad).sum_to_size(share.shape), None


def mixed(x: Tensor, activation: nn.Module, share: Tensor) -> Tensor:
    """x + share·(f(x) − x), of x (B, d) and share (d,), or (M, d, B) and (M, d, 1) of M networks."""
    x = x.to(share.dtype)  # of a layer that computes in a lower precision
    rule = RULES.get(type(activation))
    is_usual = x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)
    if rule and is_usual and not torch.onnx.is_in_onnx_export():
        return cast(Tensor, _Mixed.apply(x, share, rule))  # type: ignore[no-untyped-call]
    return torch.lerp(x, activation(x), share)
