"""Losses by name, on outputs (B, K, C): the mean over the K members' losses."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.config import AutoLoss, Bce, CrossEntropy, Huber, Loss, SmoothL1
from pipeline.errors import ConfigError
from pipeline.types import Features, Task

LossFunction = Callable[[Tensor, Tensor], Tensor]  # outputs (B, K, C), targets (B,) codes or (B, T) -> ()
FITTING: dict[Task, tuple[str, ...]] = {
    "binary": ("auto", "bce", "cross_entropy", "smoothed"),
    "multiclass": ("auto", "cross_entropy", "smoothed"),
    "regression": ("auto", "huber", "mae", "mse", "smooth_l1", "smoothed"),
}
UNIT_POWERS = {
    "mse": 2,
    "huber": 2,
    "mae": 1,
    "smooth_l1": 1,
}  # a loss of c·e is c^power times that of e, its width scaled too
MANY_ROWS, FEW_CLASSES = 256, 32  # a softmax over the first dimension takes a fifth of the time of one over the last
AUTO = {"binary": "bce", "multiclass": "cross_entropy", "regression": "mse"}


def _cross_entropy(config: AutoLoss | CrossEntropy, features: Features, weight: Tensor | None) -> LossFunction:
    """−log softmax at the target class, weighted mean over rows; on one logit it is `bce`."""
    if features.task == "binary":
        return _bce(config, features, weight)

    def loss(outputs: Tensor, y: Tensor) -> Tensor:
        codes = y.unsqueeze(1).expand(-1, outputs.shape[1])  # (B, K)
        rows, targets = outputs.flatten(0, 1), codes.flatten()
        if len(rows) >= MANY_ROWS and rows.shape[1] <= FEW_CLASSES:
            rows, targets = rows.T.unsqueeze(0), targets.unsqueeze(0)
        smoothing, reduction = config.label_smoothing, _reduction(weight)
        losses = F.cross_entropy(rows, targets, label_smoothing=smoothing, reduction=reduction)
        return losses if weight is None else _weigh(losses.view_as(codes), y, weight)

    return loss


def _bce(config: AutoLoss | CrossEntropy | Bce, features: Features, weight: Tensor | None) -> LossFunction:
    """Binary cross-entropy on a logit; smoothing s moves the target from y to y·(1 − s) + s/2."""

    def loss(outputs: Tensor, y: Tensor) -> Tensor:
        logits = outputs.squeeze(2)  # (B, K)
        target = y.to(logits.dtype) * (1 - config.label_smoothing) + config.label_smoothing / 2
        target = target.unsqueeze(1).expand_as(logits)
        return _weigh(F.binary_cross_entropy_with_logits(logits, target, reduction=_reduction(weight)), y, weight)

    return loss


def _reduction(weight: Tensor | None) -> str:
    return "mean" if weight is None else "none"


def _weigh(losses: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
    """Mean of losses (B, K) in which a row counts by its class.

    Not by torch's `weight`, which with label smoothing weighs each class's part of a row by that class.
    """
    if weight is None:
        return losses
    rows = weight.to(losses)[y].unsqueeze(1).expand_as(losses)
    return (losses * rows).sum() / rows.sum()


def _regression(loss: LossFunction) -> Callable[[Any, Features, Tensor | None], LossFunction]:
    def build(config: object, features: Features, weight: Tensor | None) -> LossFunction:
        return lambda outputs, y: loss(outputs, y.unsqueeze(1).expand_as(outputs))  # (B, K, T)

    return build


def _smooth_l1(config: SmoothL1, features: Features, weight: Tensor | None) -> LossFunction:
    return lambda outputs, y: F.smooth_l1_loss(outputs, y.unsqueeze(1).expand_as(outputs), beta=config.beta)


def _huber(config: Huber, features: Features, weight: Tensor | None) -> LossFunction:
    return lambda outputs, y: F.huber_loss(outputs, y.unsqueeze(1).expand_as(outputs), delta=config.delta)


def _auto(config: AutoLoss, features: Features, weight: Tensor | None) -> LossFunction:
    return LOSSES[AUTO[features.task]](config, features, weight)


LOSSES: dict[str, Callable[[Any, Features, Tensor | None], LossFunction]] = {
    "auto": _auto,
    "smoothed": _auto,
    "cross_entropy": _cross_entropy,
    "bce": _bce,
    "mae": _regression(F.l1_loss),
    "mse": _regression(F.mse_loss),
    "smooth_l1": _smooth_l1,
    "huber": _huber,
}


def build_loss(config: Loss, features: Features) -> LossFunction:
    """The loss that `config` asks for, as a function of outputs (B, K, C) and targets (B,) or (B, T).

    Raises:
        ConfigError: the loss, or a setting of it, does not fit the task.
    """
    check_loss(config, features)
    return LOSSES[config.name](config, features, _class_weights(config, features))


def loss_unit(config: Loss, features: Features, target_scale: float) -> float:
    """Factor from the loss on standardised targets to the one in the target's own unit.

    With several targets, which have units of their own, the loss stays on the standardised ones.
    """
    if features.task != "regression" or features.n_outputs > 1:
        return 1.0
    name = AUTO["regression"] if isinstance(config, AutoLoss) else config.name
    return float(target_scale ** UNIT_POWERS[name])


def check_loss(config: Loss, features: Features) -> None:
    """Raise ConfigError where the loss does not fit the task."""
    chosen, task = config.name, features.task
    if chosen == "bce" and task == "multiclass":
        raise ConfigError(f"loss: bce needs two classes, the target has {features.n_outputs}; use loss=cross_entropy")
    if chosen not in FITTING[task]:
        raise ConfigError(f"loss: {chosen} does not fit {task}; choices: {', '.join(FITTING[task])}")
    if config.name == "auto" and task == "regression":
        for field, neutral in (("label_smoothing", 0), ("class_weight", "none")):
            if getattr(config, field) != neutral:
                raise ConfigError(f"loss.{field}: applies to classification, and the task is regression")


def _class_weights(config: Loss, features: Features) -> Tensor | None:
    """n / (C · rows of the class), as scikit-learn's class_weight="balanced"; shape (C,)."""
    if getattr(config, "class_weight", "none") == "none":
        return None
    counts = torch.tensor(features.class_counts, dtype=torch.float32)
    return counts.sum() / (len(counts) * counts)
