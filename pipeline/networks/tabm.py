"""TabM: K networks in one (the package `tabm`)."""

from typing import Any, cast

import tabm
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from pipeline.model_config import Tabm
from pipeline.networks.dropout import Dropout, with_own_dropout
from pipeline.networks.inputs import Inputs
from pipeline.types import Features


class _InRows(Function):
    """A block of the package's backbone on rows (K, B, i), a member's together: linear, ReLU, dropout; gives (K, B, o).

    A member's factors r and s are multiplied into its rows, before and after the layer, as the package does, in fewer
    passes over them. What dropout does not drop it leaves as it is: what it scales by is in s and the bias already.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, r: Tensor, s: Tensor, bias: Tensor, dropout: Dropout | None
    ) -> Tensor:
        r, s = r.unsqueeze(1), s.unsqueeze(1)
        own = x * r
        z = (own.flatten(0, 1) @ weight.mT).unflatten(0, own.shape[:2])
        y = _dropped(torch.addcmul(bias.unsqueeze(1), z, s).clamp_(min=0), dropout)
        ctx.save_for_backward(x, weight, r, s, own, z, y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, r, s, own, z, y = ctx.saved_tensors
        grad = torch.ops.aten.threshold_backward(grad, y, 0)
        grad_s, grad_bias = (grad * z).sum(1), grad.sum(1)
        flat = grad.mul_(s).flatten(0, 1)
        grad_weight = flat.mT @ own.flatten(0, 1)
        grad_own = (flat @ weight).view_as(own)
        grad_r = (grad_own * x).sum(1)
        grad_x = grad_own.mul_(r) if ctx.needs_input_grad[0] else None
        return grad_x, grad_weight, grad_r, grad_s, grad_bias, None


class _InWeights(Function):
    """As `_InRows`, with the factors multiplied into the weights of each member: fewer passes over the rows."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, r: Tensor, s: Tensor, bias: Tensor, dropout: Dropout | None
    ) -> Tensor:
        factors = s.unsqueeze(2) * r.unsqueeze(1)  # (K, o, i)
        own = factors * weight
        y = _dropped(torch.baddbmm(bias.unsqueeze(1), x, own.mT).clamp_(min=0), dropout)
        ctx.save_for_backward(x, weight, r, s, factors, own, y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, r, s, factors, own, y = ctx.saved_tensors
        grad = torch.ops.aten.threshold_backward(grad, y, 0)
        grad_own = torch.bmm(grad.mT, x)  # (K, o, i)
        grad_factors = grad_own * weight
        grad_x = torch.bmm(grad, own) if ctx.needs_input_grad[0] else None
        grad_r = torch.bmm(s.unsqueeze(1), grad_factors).squeeze(1)
        grad_s = torch.bmm(grad_factors, r.unsqueeze(2)).squeeze(2)
        return grad_x, grad_own.mul_(factors).sum(0), grad_r, grad_s, grad.sum(1), None


def _dropped(y: Tensor, dropout: Dropout | None) -> Tensor:
    """The values, in place, without those that dropout drops; the others are not scaled."""
    return y.mul_(dropout.kept(y.numel(), y.dtype).view_as(y)) if dropout and dropout.p > 0 else y


class TabM(nn.Module):
    """Inputs, K views of them, an MLP of shared weights with cheap factors a member, an output layer a member."""

    def __init__(self, config: Tabm, features: Features) -> None:
        super().__init__()
        self.inputs = Inputs(config, features)
        self.n_members, self.variant, self.width = config.n_members, config.variant, config.d_block
        self.view = tabm.EnsembleView(k=config.n_members)
        self.backbone = tabm.make_tabm_backbone(
            d_in=self.inputs.width,
            n_blocks=config.n_blocks,
            d_block=config.d_block,
            dropout=config.dropout,
            k=config.n_members,
            arch_type=config.variant,
            start_scaling_init="random-signs" if self.inputs.numbers is None else "normal",  # as the package advises
            start_scaling_init_chunks=self.inputs.widths,
        )
        with_own_dropout(self.backbone)
        self.output = tabm.LinearEnsemble(config.d_block, features.n_outputs, k=config.n_members)

    def forward(self, num: Tensor, cat: Tensor) -> Tensor:
        """num (B, n_num) and cat (B, n_cat) to outputs (B, K, C)."""
        x = self.inputs(num, cat)
        if self.variant != "tabm" or x.device.type != "cpu" or torch.onnx.is_in_onnx_export():
            return cast(Tensor, self.output(self.backbone(self.view(x))))
        if torch.is_autocast_enabled("cpu"):
            x = x.to(torch.get_autocast_dtype("cpu"))
        block = self._block(x)
        x = x.expand(self.n_members, *x.shape)
        for linear, _, dropout in self.backbone.blocks:
            scale = 1 / (1 - dropout.p) if self.training else 1.0
            given = (linear.weight, linear.r, scale * linear.s, scale * linear.bias)
            own = (value.to(x.dtype) for value in given)
            x = block.apply(x, *own, dropout if self.training else None)  # type: ignore[no-untyped-call]
        with torch.autocast("cpu", enabled=False):
            out = torch.baddbmm(self.output.bias.unsqueeze(1), x.to(self.output.bias.dtype), self.output.weight)
        return out.transpose(0, 1)

    def _block(self, x: Tensor) -> type[_InRows] | type[_InWeights]:
        """The order that takes less time: as measured, widths of 128 to 512 and up to 1024 rows."""
        enough = 2 * self.width if x.dtype == torch.bfloat16 else self.width / 2
        return _InWeights if len(x) >= enough else _InRows
