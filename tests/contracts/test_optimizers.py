"""What every optimizer and every schedule does."""

from copy import deepcopy
from functools import cache

import pytest
import torch
from torch import nn

from pipeline.compose import list_groups, load_config
from pipeline.config import Config, choices_of
from pipeline.optim import OPTIMIZERS, SCHEDULERS, Span, build_optimizer, build_schedule, learning_rate, rate_of

OPTIONS = list_groups()["optimizer"]  # the registered ones, and ready settings of them such as nesterov
SPAN = Span(max_epochs=5, batches_per_epoch=4, accumulate=1, higher_is_better=False)


@cache
def config(option: str) -> Config:
    return load_config([option])


def test_registries_are_the_configs_choices() -> None:
    assert set(OPTIMIZERS) == set(choices_of("optimizer")) <= set(OPTIONS)
    assert set(SCHEDULERS) == set(choices_of("scheduler"))


def descend(option: str) -> tuple[list[float], nn.Module]:
    """The losses of 200 steps down a bowl with an axis ten times as steep as the other."""
    torch.manual_seed(0)
    layer = nn.Linear(2, 1)
    nn.init.constant_(layer.weight, 0.5)
    nn.init.constant_(layer.bias, -0.5)
    optimizer = build_optimizer(config(f"optimizer={option}").optimizer, layer)
    losses = []
    for _ in range(200):
        loss = (layer.weight.square() * torch.tensor([1.0, 10.0])).sum() / 10 + layer.bias.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses, layer


@pytest.mark.parametrize("option", OPTIONS)
def test_a_quadratic_gets_smaller(option: str) -> None:
    losses, _ = descend(option)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("option", OPTIONS)
def test_the_same_steps_twice_are_the_same_bit_for_bit(option: str) -> None:
    assert descend(option)[0] == descend(option)[0]


@pytest.mark.parametrize("option", OPTIONS)
def test_state_makes_a_round_trip(option: str) -> None:
    _, layer = descend(option)
    first = build_optimizer(config(f"optimizer={option}").optimizer, layer)
    for parameter in layer.parameters():
        parameter.grad = torch.ones_like(parameter)
    first.step()
    kept = nn.Linear(2, 1)
    kept.load_state_dict(layer.state_dict())
    second = build_optimizer(config(f"optimizer={option}").optimizer, kept)
    second.load_state_dict(deepcopy(first.state_dict()))
    for optimizer, network in ((first, layer), (second, kept)):
        for parameter in network.parameters():
            parameter.grad = torch.full_like(parameter, 0.3)
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(layer.parameters(), kept.parameters(), strict=True))


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_schedule_starts_at_or_below_the_rate_asked_for_and_stays_there(name: str) -> None:
    whole = config(f"scheduler={name}")
    optimizer = build_optimizer(whole.optimizer, nn.Linear(2, 1))
    schedule = build_schedule(whole.scheduler, optimizer, SPAN)
    for _ in range(SPAN.max_epochs * SPAN.steps_per_epoch):
        assert 0 < learning_rate(optimizer) <= rate_of(whole.optimizer) * (1 + 1e-9)
        optimizer.step()
        if schedule is not None:
            schedule.scheduler.step(*([1.0] if name == "plateau" else []))  # type: ignore[arg-type]
