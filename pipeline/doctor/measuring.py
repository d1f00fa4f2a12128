"""Measurements in a network while it trains: gradients, updates and activations, layer by layer."""

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from pipeline.errors import TrainingError
from pipeline.module import TableModule
from pipeline.networks.activations import ACTIVATIONS
from pipeline.types import Arrays

N_ROWS = 256  # validation rows that activations are looked at on
N_STEPS = 2  # optimizer steps of an epoch that are measured
SQUASHED = 0.01  # from the ends of sigmoid's or tanh's range: there its slope is 0.01 and 0.02
ACTIVATED = tuple({type(make()) for make in ACTIVATIONS.values()})
ZEROED = (nn.ReLU,)
RANGES: dict[type[nn.Module], tuple[float, float]] = {nn.Sigmoid: (0.0, 1.0), nn.Tanh: (-1.0, 1.0)}
EQUAL = 1e-5  # two units whose weights differ by less, as a share, are taken for the same


@dataclass(frozen=True)
class Layer:
    """What was measured in a linear layer and the activation behind it; nan: not measured, or nothing to measure."""

    name: str
    activation: str
    gradient: float = math.nan  # root mean square over its weights
    weight: float = math.nan  # the same of the weights
    update: float = math.nan  # norm of a step's change over the norm of the weights
    dead: float = math.nan  # share of ReLU units that are 0 on every row
    saturated: float = math.nan  # share of sigmoid or tanh values within SQUASHED of an end
    mean: float = math.nan  # of the activations
    std: float = math.nan  # over the rows, mean over units
    symmetric: float = math.nan  # share of units that have the weights of another one


@dataclass(frozen=True)
class Measure:
    """The layers at the end of an epoch; 0: before the first."""

    epoch: int
    layers: tuple[Layer, ...]


class Probe(pl.Callback):
    """Measures at the start, after epochs 1, 2, 4, 8, 16, … and after the last one.

    Training is not touched: rows pass in evaluation mode, and before the first epoch through a copy. `listener` gets
    each measure as it is made.
    """

    def __init__(self, rows: Arrays, listener: Callable[[Measure], None] = lambda _: None) -> None:
        self.measures: list[Measure] = []
        self.start_loss = math.nan  # of the first mini-batch, before any step
        chosen = slice(0, N_ROWS)
        self._rows = tuple(torch.from_numpy(array[chosen].copy()) for array in (rows.num, rows.cat))
        self._listener = listener
        self._watched: _Steps | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == 0:
            network = deepcopy(_network(pl_module)).train()  # batch norm knows no averages yet
            with torch.random.fork_rng(devices=[]):
                self._add(Measure(0, self._looked_at(network)))

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if is_due(trainer.current_epoch + 1) or trainer.current_epoch + 1 == trainer.max_epochs:
            self._watched = _Steps(trainer.optimizers[0], [linear for _, linear, _ in layers_of(_network(pl_module))])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TableModule)
        if self._watched is None or pl_module.interrupted:
            return
        epoch = trainer.current_epoch + 1
        if epoch == 1:
            self.start_loss = pl_module.loss_unit * float(pl_module.losses[0])
        self._measure(epoch, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TableModule)
        epoch = trainer.current_epoch  # that are over
        if not pl_module.interrupted and epoch and self.measures[-1].epoch != epoch:
            self._measure(epoch, pl_module)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """What can still be seen of a network whose loss is no number any more."""
        assert isinstance(pl_module, TableModule)
        if not isinstance(exception, TrainingError):
            return
        if trainer.current_epoch == 0 and pl_module.losses:
            self.start_loss = pl_module.loss_unit * float(pl_module.losses[0])
        self._measure(trainer.current_epoch + 1, pl_module)

    def state_dict(self) -> dict[str, Any]:
        measures = [{"epoch": one.epoch, "layers": [asdict(layer) for layer in one.layers]} for one in self.measures]
        return {"measures": measures, "start_loss": self.start_loss}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.start_loss = state_dict["start_loss"]
        self.measures = [
            Measure(one["epoch"], tuple(Layer(**layer) for layer in one["layers"])) for one in state_dict["measures"]
        ]
        for measure in self.measures:
            self._listener(measure)

    def _measure(self, epoch: int, module: pl.LightningModule) -> None:
        layers = self._looked_at(_network(module).eval())
        module.train()
        if self._watched is not None:
            layers = self._watched.added_to(layers)
            self._watched = None
        self._add(Measure(epoch, layers))

    def _add(self, measure: Measure) -> None:
        self.measures.append(measure)
        self._listener(measure)

    def _looked_at(self, network: nn.Module) -> tuple[Layer, ...]:
        parts = layers_of(network)
        weight = next(network.parameters())  # its precision and device
        seen: dict[nn.Module, Tensor] = {}
        handles = [
            activation.register_forward_hook(lambda module, _, output: seen.__setitem__(module, output))
            for _, _, activation in parts
            if activation is not None
        ]
        try:
            with torch.inference_mode():
                network(self._rows[0].to(weight), self._rows[1].to(weight.device))
        finally:
            for handle in handles:
                handle.remove()
        return tuple(_layer(name, linear, activation, seen) for name, linear, activation in parts)


def is_due(epoch: int) -> bool:
    """Whether an epoch, from 1, is measured: the powers of two, so that a long training costs little more."""
    return epoch & (epoch - 1) == 0


def layers_of(network: nn.Module) -> list[tuple[str, nn.Linear, nn.Module | None]]:
    """The linear layers in order, named, each with the activation behind it; the last one is the output.

    None of a network with ways around its layers: what is known of chains does not hold there.
    """
    chain = getattr(network, "layers", network)
    found: list[tuple[nn.Linear, nn.Module | None]] = []
    for module in chain.modules() if isinstance(chain, nn.Sequential) else ():
        if isinstance(module, nn.Linear):
            found.append((module, None))
        elif isinstance(module, ACTIVATED) and found and found[-1][1] is None:
            found[-1] = (found[-1][0], module)
    names = [f"layer {number}" for number in range(1, len(found))] + ["output"] * bool(found)
    return [(name, linear, activation) for name, (linear, activation) in zip(names, found, strict=True)]


def _network(module: pl.LightningModule) -> nn.Module:
    assert isinstance(module, TableModule)
    return module.network


def _layer(name: str, linear: nn.Linear, activation: nn.Module | None, seen: dict[nn.Module, Tensor]) -> Layer:
    kind = "" if activation is None else type(activation).__name__
    layer = Layer(name, kind, weight=_rms(linear.weight), symmetric=_symmetric(linear.weight.detach()))
    if activation is None or activation not in seen:
        return layer
    values = seen[activation].float().flatten(0, -2)  # (N, H)
    ends = RANGES.get(type(activation))
    squashed = math.nan
    if ends is not None:
        squashed = float(((values < ends[0] + SQUASHED) | (values > ends[1] - SQUASHED)).float().mean())
    dead = float((values == 0).all(dim=0).float().mean()) if isinstance(activation, ZEROED) else math.nan
    std = float(values.std(dim=0, unbiased=False).mean())
    return replace(layer, dead=dead, saturated=squashed, mean=float(values.mean()), std=std)


def _share(change: Tensor, weight: Tensor) -> float:
    before = float(weight.norm())
    return float(change.norm()) / before if before else math.nan


def _rms(values: Tensor) -> float:
    return float(values.detach().square().mean().sqrt())


def _symmetric(weight: Tensor) -> float:
    """Share of the units, rows of weight (H, d), with the same weights as another: compared by one projection."""
    if len(weight) < 2:
        return math.nan
    direction = torch.linspace(1, 2, weight.shape[1], dtype=torch.float64, device=weight.device).sin()
    projected = (weight.double() @ direction).sort().values
    near = projected.diff() <= EQUAL * projected.abs()[1:]
    one = torch.zeros(1, dtype=torch.bool, device=near.device)
    return float((torch.cat([one, near]) | torch.cat([near, one])).float().mean())


class _Steps:
    """The first optimizer steps of an epoch: gradients before, the change of the weights after."""

    def __init__(self, optimizer: torch.optim.Optimizer, linears: Sequence[nn.Linear]) -> None:
        self._linears, self._n = linears, 0
        self._gradients: list[list[float]] = []
        self._updates: list[list[float]] = []
        self._handles = [
            optimizer.register_step_pre_hook(lambda *_: self._before()),
            optimizer.register_step_post_hook(lambda *_: self._after()),
        ]

    def _before(self) -> None:
        self._kept = [linear.weight.detach().clone() for linear in self._linears]
        gradients = [linear.weight.grad for linear in self._linears]
        self._gradients.append([math.nan if gradient is None else _rms(gradient) for gradient in gradients])

    def _after(self) -> None:
        pairs = zip(self._linears, self._kept, strict=True)
        self._updates.append([_share(linear.weight.detach() - kept, kept) for linear, kept in pairs])
        self._n += 1
        if self._n == N_STEPS:
            self._remove()

    def _remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def added_to(self, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        """The layers with the mean over the steps; nothing is measured from now on."""
        self._remove()
        if not self._updates:
            return layers
        gradients, updates = ([sum(values) / len(values) for values in zip(*kept, strict=True)] for kept in (
            self._gradients[: len(self._updates)], self._updates,
        ))  # fmt: skip
        measured = zip(layers, gradients, updates, strict=True)
        return tuple(replace(layer, gradient=gradient, update=update) for layer, gradient, update in measured)
