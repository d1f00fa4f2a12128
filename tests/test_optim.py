"""Optimizers against textbook formulas in numpy, schedules against closed formulas and torch's own schedulers."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import nn, optim
from torch.optim import lr_scheduler

from pipeline.config import (
    AdaGrad,
    Adam,
    AdamW,
    Cosine,
    CosLog,
    Exponential,
    Momentum,
    MultiStep,
    NoScheduler,
    OneCycle,
    Optimizer,
    Plateau,
    RmsProp,
    Scheduler,
    Sgd,
    StepSchedule,
)
from pipeline.optim import (
    Schedule,
    Span,
    build_optimizer,
    build_schedule,
    learning_rate,
    regularization_strength,
    warmup_factor,
)

LR, EPS = 0.1, 1e-3
N_STEPS = 6
Rule = Callable[[np.ndarray, Iterator[np.ndarray]], np.ndarray]  # first weights, gradients -> last weights


# ---------------------------------------------------------------- optimizers
def sgd(w: np.ndarray, gradients: Iterator[np.ndarray]) -> np.ndarray:
    for g in gradients:
        w = w - LR * g
    return w


def momentum(beta: float, dampening: float = 0, *, nesterov: bool = False) -> Rule:
    def rule(w: np.ndarray, gradients: Iterator[np.ndarray]) -> np.ndarray:
        v = None
        for g in gradients:
            v = g if v is None else beta * v + (1 - dampening) * g
            w = w - LR * (g + beta * v if nesterov else v)
        return w

    return rule


def adagrad(w: np.ndarray, gradients: Iterator[np.ndarray]) -> np.ndarray:
    total = np.zeros_like(w)
    for step, g in enumerate(gradients):
        total = total + g**2
        w = w - LR / (1 + step * 0.5) * g / (np.sqrt(total) + EPS)
    return w


def rmsprop(*, centered: bool, beta: float) -> Rule:
    def rule(w: np.ndarray, gradients: Iterator[np.ndarray]) -> np.ndarray:
        square, mean, v = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
        for g in gradients:
            square, mean = 0.9 * square + 0.1 * g**2, 0.9 * mean + 0.1 * g
            v = beta * v + g / (np.sqrt(square - centered * mean**2) + EPS)
            w = w - LR * v
        return w

    return rule


def adam(w: np.ndarray, gradients: Iterator[np.ndarray]) -> np.ndarray:
    m, s = np.zeros_like(w), np.zeros_like(w)
    for step, g in enumerate(gradients, 1):
        m, s = 0.8 * m + 0.2 * g, 0.9 * s + 0.1 * g**2
        w = w - LR * (m / (1 - 0.8**step)) / (np.sqrt(s / (1 - 0.9**step)) + EPS)
    return w


def momentum_section(beta: float, dampening: float = 0, *, nesterov: bool = False) -> Momentum:
    return Momentum(name="momentum", lr=LR, momentum=beta, dampening=dampening, nesterov=nesterov, weight_decay=0)


def rmsprop_section(*, centered: bool, momentum: float) -> RmsProp:
    return RmsProp(name="rmsprop", lr=LR, alpha=0.9, momentum=momentum, centered=centered, eps=EPS, weight_decay=0)


RULES: dict[str, tuple[Optimizer, Rule]] = {
    "sgd": (Sgd(name="sgd", lr=LR, weight_decay=0), sgd),
    "momentum": (momentum_section(0.9), momentum(0.9)),
    "dampened": (momentum_section(0.9, 0.3), momentum(0.9, 0.3)),
    "nesterov": (momentum_section(0.9, nesterov=True), momentum(0.9, nesterov=True)),
    "adagrad": (AdaGrad(name="adagrad", lr=LR, lr_decay=0.5, eps=EPS, weight_decay=0), adagrad),
    "rmsprop": (rmsprop_section(centered=False, momentum=0), rmsprop(centered=False, beta=0)),
    "centered rmsprop": (rmsprop_section(centered=True, momentum=0), rmsprop(centered=True, beta=0)),
    "rmsprop with momentum": (rmsprop_section(centered=False, momentum=0.5), rmsprop(centered=False, beta=0.5)),
    "adam": (Adam(name="adam", lr=LR, betas=(0.8, 0.9), eps=EPS, weight_decay=0), adam),
    "adamw": (AdamW(name="adamw", lr=LR, betas=(0.8, 0.9), eps=EPS, weight_decay=0), adam),
}


def gradients(n_steps: int = N_STEPS) -> list[np.ndarray]:
    return list(np.random.default_rng(1).normal(size=(n_steps, 3, 4)))


def stepped(config: Optimizer, n_steps: int = N_STEPS) -> tuple[np.ndarray, np.ndarray]:
    """Weights (3, 4) before and after the steps."""
    layer = nn.Linear(4, 3, bias=False).double()
    before = layer.weight.detach().clone().numpy()
    optimizer = build_optimizer(config, layer)
    for gradient in gradients(n_steps):
        layer.weight.grad = torch.from_numpy(gradient)
        optimizer.step()
    return before, layer.weight.detach().numpy()


@pytest.mark.parametrize(("config", "rule"), RULES.values(), ids=RULES)
def test_steps_are_the_textbooks(config: Optimizer, rule: Rule) -> None:
    before, after = stepped(config)
    np.testing.assert_allclose(after, rule(before, iter(gradients())), rtol=1e-9)


def test_dampening_of_beta_is_the_moving_average_and_none_is_1_over_1_minus_beta_as_long() -> None:
    def moving_average(w: np.ndarray) -> np.ndarray:
        v = gradients()[0]  # torch starts from the first gradient, whole
        w = w - LR * v
        for g in gradients()[1:]:
            v = 0.9 * v + 0.1 * g
            w = w - LR * v
        return w

    before, after = stepped(momentum_section(0.9, 0.9))
    np.testing.assert_allclose(after, moving_average(before))

    def steady(dampening: float) -> float:
        """Length of the last of many steps down an even slope."""
        layer = nn.Linear(1, 1, bias=False)
        optimizer = build_optimizer(momentum_section(0.9, dampening), layer)
        for _ in range(300):
            last = layer.weight.item()
            layer.weight.grad = torch.ones(1, 1)
            optimizer.step()
        return last - layer.weight.item()

    assert steady(0) / steady(0.9) == pytest.approx(10, rel=1e-3)


def decayed(config: Optimizer) -> dict[str, float]:
    """What a step without gradient makes of weights that are 1."""
    network = nn.Sequential(nn.Embedding(2, 3), nn.Linear(3, 3), nn.BatchNorm1d(3))
    for parameter in network.parameters():
        nn.init.ones_(parameter)
        parameter.grad = torch.zeros_like(parameter)
    build_optimizer(config, network).step()
    return {name: float(parameter.detach().flatten()[0]) for name, parameter in network.named_parameters()}


SPARED = {"1.bias": 1.0, "2.weight": 1.0, "2.bias": 1.0}


def test_weight_decay_is_on_matrices_alone() -> None:
    weight = pytest.approx(1 - LR * 0.5)
    assert decayed(Sgd(name="sgd", lr=LR, weight_decay=0.5)) == {"0.weight": weight, "1.weight": weight} | SPARED


def test_adam_adds_decay_to_the_gradient_and_adamw_keeps_it_apart() -> None:
    adam = decayed(Adam(name="adam", lr=LR, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.5))
    assert adam == {"0.weight": pytest.approx(1 - LR), "1.weight": pytest.approx(1 - LR)} | SPARED
    adamw = decayed(AdamW(name="adamw", lr=LR, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.5))
    apart = pytest.approx(1 - LR * 0.5)
    assert adamw == {"0.weight": apart, "1.weight": apart} | SPARED


def test_frozen_weights_are_left_alone() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    network[0].requires_grad_(False)
    groups = build_optimizer(Sgd(name="sgd", lr=LR, weight_decay=0.5), network).param_groups
    assert sum(len(group["params"]) for group in groups) == 2


# ---------------------------------------------------------------- schedules
SPAN = Span(max_epochs=10, batches_per_epoch=7, accumulate=2, higher_is_better=False)
EPOCH_STEPS = 4  # of SPAN: three pairs of mini-batches and one alone


def make_optimizer() -> optim.Optimizer:
    return optim.SGD([{"params": [nn.Parameter(torch.zeros(1))], "lr_factor": 1.0}], lr=LR)


def walked(optimizer: optim.Optimizer, scheduler: lr_scheduler.LRScheduler, n: int) -> list[float]:
    found = []
    for _ in range(n):
        found.append(learning_rate(optimizer))
        optimizer.step()
        scheduler.step()
    return found


def rates(config: Scheduler, interval: str, n: int, span: Span = SPAN) -> list[float]:
    """The rates of n steps or epochs."""
    optimizer = make_optimizer()
    schedule = build_schedule(config, optimizer, span)
    assert schedule is not None
    assert schedule.interval == interval
    return walked(optimizer, schedule.scheduler, n)


def torchs(scheduler: Callable[[optim.Optimizer], lr_scheduler.LRScheduler], n: int) -> list[float]:
    optimizer = make_optimizer()
    return walked(optimizer, scheduler(optimizer), n)


def cosine_between(top: float, bottom: float, share: float) -> float:
    return bottom + (top - bottom) * (1 + math.cos(math.pi * share)) / 2


def test_steps_an_epoch_count_a_last_accumulation_that_is_short() -> None:
    assert SPAN.steps_per_epoch == EPOCH_STEPS


def test_none_is_constant() -> None:
    assert build_schedule(NoScheduler(name="none", warmup_epochs=0), make_optimizer(), SPAN) is None


def test_step_drops_every_step_size_epochs() -> None:
    found = rates(StepSchedule(name="step", step_size=3, gamma=0.5, warmup_epochs=0), "epoch", 10)
    assert found == pytest.approx([LR * 0.5 ** (epoch // 3) for epoch in range(10)])
    assert found == torchs(lambda o: lr_scheduler.StepLR(o, 3, 0.5), 10)


def test_multi_step_drops_at_each_milestone() -> None:
    found = rates(MultiStep(name="multi_step", milestones=(2, 7), gamma=0.5, warmup_epochs=0), "epoch", 10)
    assert found == pytest.approx([LR] * 2 + [LR / 2] * 5 + [LR / 4] * 3)
    assert found == torchs(lambda o: lr_scheduler.MultiStepLR(o, [2, 7], 0.5), 10)


def test_exponential_drops_every_epoch() -> None:
    found = rates(Exponential(name="exponential", gamma=0.9, warmup_epochs=0), "epoch", 10)
    assert found == pytest.approx([LR * 0.9**epoch for epoch in range(10)])
    assert found == torchs(lambda o: lr_scheduler.ExponentialLR(o, 0.9), 10)


def test_cosine_falls_step_by_step_to_eta_min_at_the_end() -> None:
    n = 10 * EPOCH_STEPS
    found = rates(Cosine(name="cosine", eta_min=0.01, warmup_epochs=0), "step", n + 1)
    assert found == pytest.approx([cosine_between(LR, 0.01, step / n) for step in range(n + 1)])
    assert found == torchs(lambda o: lr_scheduler.CosineAnnealingLR(o, n, 0.01), n + 1)


def one_cycle(pct_start: float) -> OneCycle:
    return OneCycle(name="one_cycle", pct_start=pct_start, div_factor=10, final_div_factor=100)


def test_one_cycle_rises_to_lr_and_falls_to_next_to_nothing_step_by_step() -> None:
    n, top = 10 * EPOCH_STEPS, 0.25 * 10 * EPOCH_STEPS - 1
    found = rates(one_cycle(0.25), "step", n)
    rise = [cosine_between(LR / 10, LR, step / top) for step in range(int(top))]
    fall = [cosine_between(LR, LR / 1000, step / (n - 1 - top)) for step in range(n - int(top))]
    assert found == pytest.approx(rise + fall)
    theirs = torchs(
        lambda o: lr_scheduler.OneCycleLR(
            o, LR, n, pct_start=0.25, div_factor=10, final_div_factor=100, cycle_momentum=False
        ),
        n,
    )
    assert found == pytest.approx(theirs, rel=1e-9)


def test_coslog_rises_and_falls_in_cycles_each_twice_as_long() -> None:
    span = Span(max_epochs=150, batches_per_epoch=10, accumulate=1, higher_is_better=False)
    found = np.array(rates(CosLog(name="coslog", n_cycles=4, warmup_epochs=0), "step", 1500, span)) / LR
    t = (np.arange(1500) + 0.5) / 1500
    np.testing.assert_allclose(found, (1 - np.cos(2 * np.pi * np.log2(1 + 15 * t))) / 2, atol=1e-9)
    lows = [step for step in range(1, 1499) if found[step] < min(found[step - 1], found[step + 1])]
    assert lows == pytest.approx([100, 300, 700], abs=1)
    assert max(found[0], found[-1]) < 1e-3


@pytest.mark.parametrize(("kind", "at_end"), [("constant", [1, 1, 1, 1, 1]), ("flat_cos", [1, 1, 1, 0.5, 0])])
def test_regularization_keeps_its_strength_or_falls_in_the_second_half(kind: str, at_end: list[float]) -> None:
    assert [regularization_strength(kind, share) for share in (0, 0.25, 0.5, 0.75, 1)] == pytest.approx(at_end)


@pytest.mark.parametrize(
    ("max_epochs", "pct_start"), [(1, 0.3), (2, 0.5), (3, 1 / 3), (10, 0.1), (1, 0.999), (2, 1e-6)]
)
def test_one_cycle_of_few_steps_has_a_rate_for_each(max_epochs: int, pct_start: float) -> None:
    span = Span(max_epochs, batches_per_epoch=1, accumulate=1, higher_is_better=False)
    found = rates(one_cycle(pct_start), "step", max_epochs, span)
    assert all(0 < rate <= LR * (1 + 1e-9) for rate in found)


@pytest.mark.parametrize("higher", [False, True])
def test_plateau_drops_after_patience_epochs_without_improvement(higher: bool) -> None:
    span = Span(10, 7, 2, higher_is_better=higher)
    optimizer = make_optimizer()
    config = Plateau(name="plateau", factor=0.5, patience=1, min_lr=0.03, warmup_epochs=0)
    schedule = build_schedule(config, optimizer, span)
    assert isinstance(schedule, Schedule)
    assert schedule.interval == "epoch"
    found = []
    for value in (1.0, 2.0, 2.0, 2.0, 1.5, 1.5, 1.5, 1.5):  # improves once where higher is better, else never
        schedule.scheduler.step(value)  # type: ignore[arg-type]
        found.append(learning_rate(optimizer) / LR)
    improving, never = [1, 1, 1, 0.5, 0.5, 0.3, 0.3, 0.3], [1, 1, 0.5, 0.5, 0.3, 0.3, 0.3, 0.3]
    assert found == pytest.approx(improving if higher else never)


@pytest.mark.parametrize(
    ("n_steps", "factors"),
    [(0, [1, 1, 1]), (1, [1 / 2, 1, 1]), (4, [1 / 5, 2 / 5, 3 / 5, 4 / 5, 1, 1])],
)
def test_warm_up_rises_evenly_and_loses_no_step(n_steps: int, factors: list[float]) -> None:
    assert [warmup_factor(step, n_steps) for step in range(len(factors))] == pytest.approx(factors)
