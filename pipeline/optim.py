"""Optimizers and learning-rate schedules by name."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, cos, log2, pi
from typing import Any, Literal

from torch import nn, optim
from torch.optim import lr_scheduler

from pipeline.config import AdaGrad, Adam, AdamW, Momentum, RmsProp, Scheduler, Sgd
from pipeline.config import Optimizer as OptimizerConfig
from pipeline.groups import groups_of
from pipeline.sections import Section

Groups = list[dict[str, Any]]


def rate_of(config: OptimizerConfig) -> float:
    """The learning rate, which is a number once a run is under way."""
    assert config.lr != "auto", "see lr_range.resolved"
    return config.lr


def _sgd(groups: Groups, config: Sgd) -> optim.Optimizer:
    return optim.SGD(groups, lr=rate_of(config), fused=True)


def _momentum(groups: Groups, config: Momentum) -> optim.Optimizer:
    settings = config.model_dump(include={"lr", "momentum", "dampening", "nesterov"})
    return optim.SGD(groups, **settings, fused=True)


def _adagrad(groups: Groups, config: AdaGrad) -> optim.Optimizer:
    return optim.Adagrad(groups, lr=rate_of(config), lr_decay=config.lr_decay, eps=config.eps, fused=True)


def _rmsprop(groups: Groups, config: RmsProp) -> optim.Optimizer:
    settings = config.model_dump(include={"lr", "alpha", "momentum", "centered", "eps"})
    return optim.RMSprop(groups, **settings, foreach=True)


def _adam(kind: Callable[..., optim.Optimizer]) -> Callable[[Groups, Adam | AdamW], optim.Optimizer]:
    return lambda groups, config: kind(groups, lr=rate_of(config), betas=config.betas, eps=config.eps, fused=True)


OPTIMIZERS: dict[str, Callable[[Groups, Any], optim.Optimizer]] = {
    "sgd": _sgd,
    "momentum": _momentum,
    "adagrad": _adagrad,
    "rmsprop": _rmsprop,
    "adam": _adam(optim.Adam),
    "adamw": _adam(optim.AdamW),
}


def build_optimizer(config: OptimizerConfig, network: nn.Module) -> optim.Optimizer:
    """The optimizer that `config` asks for; the network says which weights decay, and at which share of the rate.

    That share is each parameter group's `lr_factor`.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}  # as few as can be: each is a fused call
    for parameters, lr_factor, decays in groups_of(network):
        groups.setdefault((lr_factor, config.weight_decay if decays else 0.0), []).extend(parameters)
    return OPTIMIZERS[config.name](
        [
            {"params": parameters, "lr": rate_of(config) * lr_factor, "lr_factor": lr_factor, "weight_decay": decay}
            for (lr_factor, decay), parameters in groups.items()
        ],
        config,
    )


# ---------------------------------------------------------------- schedules
@dataclass(frozen=True)
class Span:
    """How long a training run may last, for the schedules that need to know."""

    max_epochs: int
    batches_per_epoch: int
    accumulate: int  # mini-batches a step of the optimizer
    higher_is_better: bool  # of the monitored metric, for plateau

    @property
    def steps_per_epoch(self) -> int:
        return ceil(self.batches_per_epoch / self.accumulate)


@dataclass(frozen=True)
class Schedule:
    """A torch scheduler and when it steps."""

    scheduler: lr_scheduler.LRScheduler
    interval: Literal["step", "epoch"]


def _none(optimizer: optim.Optimizer, config: Section, span: Span) -> Schedule | None:
    return None


def _epoch(kind: Callable[..., Any], *fields: str) -> Callable[[optim.Optimizer, Section, Span], Schedule]:
    return lambda optimizer, config, span: Schedule(kind(optimizer, **config.model_dump(include=set(fields))), "epoch")


def _cosine(optimizer: optim.Optimizer, config: Any, span: Span) -> Schedule:
    steps = span.max_epochs * span.steps_per_epoch
    return Schedule(lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps, eta_min=config.eta_min), "step")


def _coslog(optimizer: optim.Optimizer, config: Any, span: Span) -> Schedule:
    """Holzmüller et al. 2024, eq. 1: ½ (1 − cos(2π log2(1 + (2^n − 1) t))), t in the middle of a step."""
    steps, last = span.max_epochs * span.steps_per_epoch, 2**config.n_cycles - 1

    def share(step: int) -> float:
        return (1 - cos(2 * pi * log2(1 + last * (step + 0.5) / steps))) / 2

    return Schedule(lr_scheduler.LambdaLR(optimizer, share), "step")


def _one_cycle(optimizer: optim.Optimizer, config: Any, span: Span) -> Schedule:
    return Schedule(
        lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=[group["lr"] for group in optimizer.param_groups],
            total_steps=span.max_epochs * span.steps_per_epoch,
            cycle_momentum=False,  # the optimizer's own momentum stays as asked for
            pct_start=config.pct_start + 1e-12,  # torch divides by pct_start · total_steps − 1, which may be 0
            **config.model_dump(include={"div_factor", "final_div_factor"}),
        ),
        "step",
    )


def _plateau(optimizer: optim.Optimizer, config: Any, span: Span) -> Schedule:
    mode: Literal["max", "min"] = "max" if span.higher_is_better else "min"
    settings = config.model_dump(include={"factor", "patience", "min_lr"})
    return Schedule(lr_scheduler.ReduceLROnPlateau(optimizer, mode, **settings), "epoch")


SCHEDULERS: dict[str, Callable[[optim.Optimizer, Any, Span], Schedule | None]] = {
    "none": _none,
    "step": _epoch(lr_scheduler.StepLR, "step_size", "gamma"),
    "multi_step": _epoch(lr_scheduler.MultiStepLR, "milestones", "gamma"),
    "exponential": _epoch(lr_scheduler.ExponentialLR, "gamma"),
    "cosine": _cosine,
    "coslog": _coslog,
    "one_cycle": _one_cycle,
    "plateau": _plateau,
}


def build_schedule(config: Scheduler, optimizer: optim.Optimizer, span: Span) -> Schedule | None:
    """The schedule that `config` asks for; None where the rate is constant."""
    return SCHEDULERS[config.name](optimizer, config, span)


def warmup_factor(step: int, n_steps: int) -> float:
    """What the rate of a step is multiplied with: from 1 / (n + 1), so that no step is lost, to 1 after n steps."""
    return min(1.0, (step + 1) / (n_steps + 1))


def learning_rate(optimizer: optim.Optimizer) -> float:
    """The schedule's rate for the next step, before a group's own factor."""
    first = optimizer.param_groups[0]
    return float(first["lr"] / first["lr_factor"])


def regularization_strength(kind: str, progress: float) -> float:
    """The share of dropout and weight decay in force when a share `progress` of all epochs is over."""
    return 1.0 if kind == "constant" or progress <= 0.5 else (1 + cos(2 * pi * (progress - 0.5))) / 2
