"""A moving average of a network's weights, which wanders less than the weights do at a constant rate."""

from collections.abc import Iterator
from copy import deepcopy

import torch
from torch import Tensor, nn


class Average(nn.Module):
    """A copy of a network whose weights, and running averages of batch norms, follow the network's.

    Each step brings them nearer by 1 / `window` of the difference, in the first steps by more, as TensorFlow's
    ExponentialMovingAverage does: what the weights began as is soon forgotten (Morales-Brotons et al. 2024).

    Args:
        network: whose weights are averaged.
        window: steps.
    """

    def __init__(self, network: nn.Module, window: float) -> None:
        super().__init__()
        self.network = deepcopy(network).requires_grad_(False)
        self._window = window

    def begin(self, network: nn.Module) -> None:
        """Find the tensors of both, on the device where they are trained."""
        self._own, self._followed = (list(_floating(each)) for each in (self.network, network))

    def update(self, n_steps: int) -> None:
        """Follow the network after its step number `n_steps`, from 1."""
        share = max(1 / self._window, 9 / (9 + n_steps))
        torch._foreach_lerp_(self._own, self._followed, min(1.0, share))


def _floating(network: nn.Module) -> Iterator[Tensor]:
    tensors = (*network.parameters(), *network.buffers())
    return (tensor.detach() for tensor in tensors if tensor.is_floating_point())
