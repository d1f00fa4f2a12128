"""TabM: K networks in one (the package `tabm`)."""

from typing import Any, cast

import tabm
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from pipeline.model_config import Tabm
from pipeline.networks.dropout import Dropout, kept
from pipeline.networks.inputs import Inputs
from pipeline.types import Features

MANY_ROWS = 96  # from which on multiplying factors into weights takes less time than into rows, at a width of 128


class _Block(Function):
    """A block of the package's backbone on rows (K, B, i), a member's together: linear, ReLU, dropout; gives (K, B, o).

    The package multiplies a member's factors r and s into its rows, before and after the layer. Here they go into its
    weights, as does what dropout scales by: of many rows that, and few passes over them, halves the time.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, r: Tensor, s: Tensor, bias: Tensor, p: float) -> Tensor:
        scale = 1 / (1 - p)
        factors = (scale * s).unsqueeze(2) * r.unsqueeze(1)  # (K, o, i)
        own = factors * weight
        y = torch.baddbmm((scale * bias).unsqueeze(1), x, own.mT).clamp_(min=0)
        if p > 0:
            y.mul_(kept(y.numel(), p, y.dtype).view(y.shape))
        ctx.scale = scale
        ctx.save_for_backward(x, weight, r, s, factors, own, y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor, Tensor, Tensor, None]:
        x, weight, r, s, factors, own, y = ctx.saved_tensors
        grad = torch.ops.aten.threshold_backward(grad, y, 0)
        grad_own = torch.bmm(grad.mT, x)  # (K, o, i)
        grad_factors = (grad_own * weight).mul_(ctx.scale)
        grad_x = torch.bmm(grad, own) if ctx.needs_input_grad[0] else None
        grad_r = torch.bmm(s.unsqueeze(1), grad_factors).squeeze(1)
        grad_s = torch.bmm(grad_factors, r.unsqueeze(2)).squeeze(2)
        return grad_x, grad_own.mul_(factors).sum(0), grad_r, grad_s, grad.sum(1).mul_(ctx.scale), None


class TabM(nn.Module):
    """Inputs, K views of them, an MLP of shared weights with cheap factors a member, an output layer a member."""

    def __init__(self, config: Tabm, features: Features) -> None:
        super().__init__()
        self.inputs, self.n_members, self.variant = Inputs(config, features), config.n_members, config.variant
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
        for block in self.backbone.blocks:
            block[-1] = Dropout(config.dropout)
        self.output = tabm.LinearEnsemble(config.d_block, features.n_outputs, k=config.n_members)

    def forward(self, num: Tensor, cat: Tensor) -> Tensor:
        """num (B, n_num) and cat (B, n_cat) to outputs (B, K, C)."""
        x = self.inputs(num, cat)
        if not self._is_fast(x):
            return cast(Tensor, self.output(self.backbone(self.view(x))))
        x = x.expand(self.n_members, *x.shape)
        for linear, _, dropout in self.backbone.blocks:
            p = dropout.p if self.training else 0.0
            x = _Block.apply(x, linear.weight, linear.r, linear.s, linear.bias, p)  # type: ignore[no-untyped-call]
        return torch.baddbmm(self.output.bias.unsqueeze(1), x, self.output.weight).transpose(0, 1)

    def _is_fast(self, x: Tensor) -> bool:
        """Whether `_Block` computes the backbone's values: a graph to export has the package's own."""
        is_usual = x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
        return is_usual and self.variant == "tabm" and len(x) >= MANY_ROWS and not torch.onnx.is_in_onnx_export()
