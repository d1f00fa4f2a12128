"""The learning-rate range test (Smith 2017, section 3.3): `optimizer.lr=auto`."""

import logging
import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.config import Config
from pipeline.data.datamodule import TableDataModule, batch_rows
from pipeline.errors import TrainingError
from pipeline.losses import build_loss
from pipeline.optim import build_optimizer

N_STEPS = 100
LOWEST, HIGHEST = 1e-6, 10.0
SMOOTHING = 0.9  # of the losses' exponential mean
RUINED = 4.0  # times the lowest smoothed loss, at which the test ends
FALLEN = 0.5  # share of the whole fall that is reached at the rate chosen: steep, and far from where it rises again

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RangeTest:
    """Rates (n,) of n steps with the losses (n,) there, smoothed, and the rate that follows."""

    rates: np.ndarray
    losses: np.ndarray
    rate: float

    @property
    def line(self) -> str:
        """The choice explained."""
        lowest = float(self.rates[np.nanargmin(self.losses)])
        return (
            f"optimizer.lr=auto: {self.rate:g}, at which the loss had fallen half way to its lowest at {lowest:.2g}, "
            f"in {len(self.rates)} steps from {LOWEST:g} up (range test, Smith 2017)"
        )


def resolved(config: Config, data: TableDataModule, network: nn.Module) -> tuple[Config, RangeTest | None]:
    """The config with a number for its learning rate, and the test that gave it; None where it was a number already.

    The network and the generators of random numbers stay as they are.

    Raises:
        TrainingError: the loss fell at no rate.
    """
    if config.optimizer.lr != "auto":
        return config, None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        found = _range_test(config, data, deepcopy(network).train())
    logger.info("%s", found.line)
    optimizer = config.optimizer.model_copy(update={"lr": found.rate})
    return config.model_copy(update={"optimizer": optimizer}), found


def _range_test(config: Config, data: TableDataModule, network: nn.Module) -> RangeTest:
    """Train with a rate that grows from step to step, until the loss is ruined."""
    loss = build_loss(config.loss, data.features)
    optimizer = build_optimizer(config.optimizer.model_copy(update={"lr": LOWEST}), network)
    rates = np.geomspace(LOWEST, HIGHEST, N_STEPS)
    smoothed: list[float] = []
    mean = 0.0
    for step, ((num, cat, y), rate) in enumerate(zip(_mini_batches(config, data), rates, strict=False)):
        for group in optimizer.param_groups:
            group["lr"] = float(rate) * group["lr_factor"]
        optimizer.zero_grad()
        value = loss(network(num, cat), y)
        mean = SMOOTHING * mean + (1 - SMOOTHING) * float(value.detach())
        smoothed.append(mean / (1 - SMOOTHING ** (step + 1)))
        if not math.isfinite(mean) or smoothed[-1] > RUINED * min(smoothed):
            break
        value.backward()
        optimizer.step()
    return _chosen(rates[: len(smoothed)], np.array(smoothed))


def _chosen(rates: np.ndarray, losses: np.ndarray) -> RangeTest:
    sound = np.where(np.isfinite(losses), losses, np.inf)
    lowest = int(sound.argmin())
    if sound[lowest] > 0.99 * sound[0]:
        raise TrainingError(
            f"optimizer.lr=auto: the loss fell at no rate from {LOWEST:g} to {rates[-1]:.2g}; "
            "give a rate, as optimizer.lr=1e-3, and see model.init and preprocess"
        )
    half_way = int((sound <= sound[0] - FALLEN * (sound[0] - sound[lowest])).argmax())
    return RangeTest(rates, losses, float(f"{rates[half_way]:.2g}"))


def _mini_batches(config: Config, data: TableDataModule) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Mini-batches of training rows without end."""
    num, cat, y = (torch.from_numpy(array) for array in data.train)
    size = min(batch_rows(config.trainer), len(y))
    while True:
        order = torch.randperm(len(y))
        for rows in order[: len(y) - len(y) % size].split(size):
            yield num[rows], cat[rows], y[rows]
