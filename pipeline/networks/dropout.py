"""Dropout that draws the masks of several mini-batches at once."""

from typing import Self

import torch
from torch import Tensor, nn

LEVELS = 2**32  # of the 32 random bits that an element gets
DRAWN = 2**14  # elements drawn at a time, where a mask is smaller: its calls take longer than its random numbers


class Dropout(nn.Dropout):
    """`nn.Dropout` with 32 random bits an element, two elements a draw, on the CPU (Srivastava et al. 2014).

    Torch's own draws a double an element there, which takes longer than the linear layer before it. Masks drawn ahead
    are forgotten when the mode is set, as every epoch does, so that an epoch draws from its own seed alone.
    """

    def __init__(self, p: float) -> None:
        super().__init__(p)
        self._masks: list[Tensor] = []

    def forward(self, input: Tensor) -> Tensor:
        """x to x with elements set to zero, the others scaled up; x itself in evaluation mode."""
        if not self.training or input.device.type != "cpu" or not 0 < round(self.p * LEVELS) < LEVELS:
            return super().forward(input)
        if not self._masks or self._masks[-1].shape != input.shape or self._masks[-1].dtype != input.dtype:
            self._masks = self._draw(input)
        return input * self._masks.pop()

    def train(self, mode: bool = True) -> Self:
        """Set the mode; see the class for what else it does."""
        self._masks = []
        return super().train(mode)

    def _draw(self, like: Tensor) -> list[Tensor]:
        """Masks for inputs like this one: 0 or 1 / (1 − p) an element."""
        n_masks = max(1, DRAWN // like.numel())
        n = n_masks * like.numel()
        bits = torch.empty((n + 1) // 2, dtype=torch.int64).random_(-(2**63), None).view(torch.int32)[:n]
        kept = torch.empty(n, dtype=like.dtype)
        torch.ge(bits, round(self.p * LEVELS) - LEVELS // 2, out=kept)  # bits are in -LEVELS/2 … LEVELS/2 - 1
        return list(kept.mul_(1 / (1 - self.p)).view(n_masks, *like.shape))
