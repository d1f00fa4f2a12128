"""Dropout that draws the masks of several mini-batches at once."""

from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

LEVELS = 2**16  # of the 16 random bits that an element gets
DRAWN = 2**17  # elements drawn at a time at most, where a mask is smaller: the calls take longer than small draws


class Dropout(nn.Dropout):
    """`nn.Dropout` with 16 random bits an element, four elements a draw, on the CPU (Srivastava et al. 2014).

    Torch's own draws a double an element there, which takes longer than the linear layer before it; numpy's generator,
    seeded by torch's, draws 64 bits in a quarter of the time of torch's. Each draw is of twice as many masks as the
    last, as nobody tells how many an epoch will need. Generator and masks drawn ahead are forgotten when the mode is
    set, as every epoch does, so that an epoch draws from its own seed alone. A layer has a generator of its own, so
    that networks in several threads draw what they would one after the other.
    """

    def __init__(self, p: float) -> None:
        super().__init__(p)
        self._masks: list[Tensor] = []
        self._n_masks = 1  # of the next draw
        self._bits: np.random.SFC64 | None = None

    def forward(self, input: Tensor) -> Tensor:
        """x to x with elements set to zero, the others scaled up; x itself in evaluation mode."""
        if not self.training or input.device.type != "cpu" or not 0 < self.p < 1:
            return super().forward(input)
        if not self._masks or self._masks[-1].shape != input.shape or self._masks[-1].dtype != input.dtype:
            self._masks = self._draw(input)
        return input * self._masks.pop()

    def train(self, mode: bool = True) -> Self:
        """Set the mode; see the class for what else it does."""
        self._masks, self._n_masks, self._bits = [], 1, None
        return super().train(mode)

    def begin(self) -> np.random.SFC64:
        """The generator, seeded by torch's now where it is new."""
        if self._bits is None:
            self._bits = np.random.SFC64(int(torch.randint(2**62, ())))
        return self._bits

    def kept(self, n: int, dtype: torch.dtype) -> Tensor:
        """1 for an element that stays, 0 for one that is dropped, with probability p: (n,)."""
        dropped, bits = round(self.p * LEVELS), self.begin()
        if not 0 < dropped < LEVELS:  # nearer to an end than the bits can tell
            return torch.from_numpy(np.random.Generator(bits).random(n) >= self.p).to(dtype)
        drawn = torch.from_numpy(bits.random_raw((n + 3) // 4).view(np.int16)[:n])  # -LEVELS/2 … LEVELS/2 - 1
        return torch.ge(drawn, dropped - LEVELS // 2, out=torch.empty(n, dtype=dtype))

    def _draw(self, like: Tensor) -> list[Tensor]:
        """Masks for inputs like this one: 0 or 1 / (1 − p) an element."""
        n_masks = max(1, min(self._n_masks, DRAWN // like.numel()))
        self._n_masks = 2 * n_masks
        masks = self.kept(n_masks * like.numel(), like.dtype).mul_(1 / (1 - self.p))
        return list(masks.view(n_masks, *like.shape))


def with_own_dropout(network: nn.Module) -> nn.Module:
    """A package's network, its dropout layers replaced by these."""
    for name, module in network.named_children():
        setattr(network, name, Dropout(module.p) if type(module) is nn.Dropout else with_own_dropout(module))
    return network
