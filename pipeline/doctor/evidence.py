"""What is known of a run, and what rules ask of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median

import numpy as np

from pipeline.config import Config
from pipeline.doctor.measuring import Layer, Measure
from pipeline.types import Interval, Task

FIRST_UPDATE, LARGE_UPDATE = 0.5, 0.1  # of the weights' size, which a step may change: in the first epoch, and later
FALLING = 0.05  # of the training loss, in the last quarter of the epochs


@dataclass(frozen=True)
class Outcome:
    """What a trained network says on rows: N of validation, M of training, and what else was tried on them."""

    y: np.ndarray  # as metrics take them
    prediction: np.ndarray
    y_train: np.ndarray
    prediction_train: np.ndarray
    classes: tuple[str, ...]
    class_counts: tuple[int, ...]
    temperature: float  # that calibrated probabilities need
    ece: float  # expected calibration error of the network's own
    linear: Interval | None  # how much lower a linear model's loss is on validation rows, with two standard errors
    alone: tuple[str, float] | None  # the column that tells most by itself, and the share of what is to tell

    @property
    def gap(self) -> Interval:
        """Accuracy or R² on training rows less that on validation rows, with two standard errors."""
        (train, e_train), (val, e_val) = (
            _score(y, prediction, is_class=bool(self.classes))
            for y, prediction in ((self.y_train, self.prediction_train), (self.y, self.prediction))
        )
        error = 2 * math.hypot(e_train, e_val)
        return Interval(train - val, train - val - error, train - val + error)


def _score(y: np.ndarray, prediction: np.ndarray, *, is_class: bool) -> tuple[float, float]:
    """Accuracy or R², and its standard error."""
    if is_class:
        right = prediction.argmax(axis=1) == y
        return float(right.mean()), float(right.std() / math.sqrt(len(y)))
    unexplained = (np.square(y - prediction) / np.maximum(y.var(axis=0), 1e-12)).mean(axis=1)
    return 1 - float(unexplained.mean()), float(unexplained.std() / math.sqrt(len(y)))


@dataclass(frozen=True)
class Evidence:
    """All that is known of a run; the parts of its end are absent where it was cut off."""

    config: Config
    task: Task
    constant_loss: float  # of the best constant answer, in the unit of train/loss
    neutral_loss: float  # of outputs that are all 0
    start_loss: float  # of the first mini-batch, before any step
    measures: Sequence[Measure]
    history: Sequence[Mapping[str, float]]
    spreads: Mapping[str, float] = field(default_factory=dict)  # of each number's column as the network gets it
    diverged: bool = False  # the loss was no number any more
    outcome: Outcome | None = None

    @property
    def start(self) -> Measure:
        """Before the first step."""
        return self.measures[0]

    @property
    def last(self) -> Measure:
        """The latest measure."""
        return self.measures[-1]

    @cached_property
    def stepped(self) -> Sequence[Measure]:
        """The measures that have gradients and updates."""
        return [measure for measure in self.measures if any(math.isfinite(part.update) for part in measure.layers)]

    @cached_property
    def losses(self) -> np.ndarray:
        """train/loss of each epoch."""
        return np.array([row["train/loss"] for row in self.history])

    @cached_property
    def val_losses(self) -> np.ndarray:
        """val/loss of each epoch."""
        return np.array([row["val/loss"] for row in self.history])

    @property
    def is_stuck(self) -> bool:
        """Whether training has hardly beaten a constant answer."""
        return len(self.losses) > 0 and bool(self.losses.min() > 0.98 * self.constant_loss)

    @property
    def is_falling(self) -> bool:
        """Whether training ended with max_epochs or max_time while both losses still fell."""
        n, losses, asked = len(self.losses), self.losses, self.config.trainer
        if n < 4 or (n < asked.max_epochs and asked.max_time is None):
            return False
        before = losses[-1 - self.quarter]
        is_much = before - losses[-1] > max(FALLING * before, 0.01 * self.constant_loss)
        return bool(self.best >= 0.9 * n - 1 and is_much)

    @property
    def quarter(self) -> int:
        """Epochs in a quarter of the run."""
        return max(1, len(self.losses) // 4)

    @property
    def best(self) -> int:
        """The epoch, from 0, with the lowest validation loss: about the one whose weights the model has."""
        return int(self.val_losses.argmin())

    @property
    def rise(self) -> float:
        """How far the validation loss ends above its lowest, as a share of that."""
        val = self.val_losses
        return float(val[-1] / val.min() - 1) if len(val) and val.min() > 0 else 0.0

    @property
    def jumps(self) -> float:
        """How far the training loss rises from an epoch to the next, on average in the second half, of a constant's."""
        half = self.losses[len(self.losses) // 2 :]
        return float(np.maximum(np.diff(half), 0).mean() / self.constant_loss) if len(half) > 2 else 0.0

    @property
    def largest_update(self) -> float:
        """The largest step, median over layers, as a multiple of what is sound; optimizers begin with large ones."""
        multiples = [
            median(updates_of(measure)) / (FIRST_UPDATE if measure.epoch == 1 else LARGE_UPDATE)
            for measure in self.stepped
        ]
        return max(multiples, default=0.0)

    @property
    def has_auto_init(self) -> bool:
        """Whether the initial weights are those that fit the activation."""
        init = getattr(self.config.model, "init", "default")  # the other networks begin as their packages have it
        return init in ("auto", "default", "data") or isinstance(init, tuple)


def updates_of(measure: Measure) -> list[float]:
    """The layers' updates that were measured."""
    return [layer.update for layer in measure.layers if math.isfinite(layer.update)]


def worst(measure: Measure, quantity: str) -> Layer | None:
    """The hidden layer with most of a quantity; None where none has it."""
    known = [layer for layer in measure.layers[:-1] if math.isfinite(getattr(layer, quantity))]
    return max(known, key=lambda layer: float(getattr(layer, quantity)), default=None)
