"""Dropout that draws its masks from few random numbers."""

import torch
from torch import Tensor, nn

LEVELS = 2**32  # of the 32 random bits that an element gets


class Dropout(nn.Dropout):
    """`nn.Dropout` with 32 random bits an element, two elements a draw, on the CPU (Srivastava et al. 2014).

    Torch's own draws a double an element there, which takes longer than the linear layer before it.
    """

    def forward(self, input: Tensor) -> Tensor:
        """x to x with elements set to zero, the others scaled up; x itself in evaluation mode."""
        n_dropped = round(self.p * LEVELS)
        if not self.training or input.device.type != "cpu" or not 0 < n_dropped < LEVELS:
            return super().forward(input)
        *shape, width = input.shape
        draws = torch.empty((*shape, (width + 1) // 2), dtype=torch.int64).random_(-(2**63), None)
        bits = draws.view(torch.int32)[..., :width]  # -LEVELS/2 … LEVELS/2 - 1
        kept = torch.ge(bits, n_dropped - LEVELS // 2, out=torch.empty_like(input, requires_grad=False))
        return input * kept.mul_(1 / (1 - self.p))
