"""What every loss does on every task it fits."""

from functools import cache

import pytest
import torch
from torch import Tensor

from pipeline.compose import load_config
from pipeline.config import Loss, choices_of
from pipeline.errors import ConfigError
from pipeline.losses import FITTING, LOSSES, UNIT_POWERS, LossFunction, build_loss
from pipeline.types import Features

TASKS = {
    "binary": Features("binary", 2, (), 1, (3, 2)),
    "multiclass": Features("multiclass", 2, (), 3, (2, 2, 1)),
    "regression": Features("regression", 2, (), 1),
    "two targets": Features("regression", 2, (), 2),
}
PAIRS = [(name, task) for name in LOSSES for task in TASKS]
MISFITS = [(name, task) for name, task in PAIRS if name not in FITTING[TASKS[task].task]]

fitting = pytest.mark.parametrize(("name", "task"), [pair for pair in PAIRS if pair not in MISFITS])


@cache
def section(name: str) -> Loss:
    return load_config([f"loss={name}"]).loss


def build(name: str, task: str) -> LossFunction:
    return build_loss(section(name), TASKS[task])


def targets(task: str) -> Tensor:
    if task == "binary":
        return torch.tensor([0, 1, 1, 0, 0])
    return torch.tensor([0, 2, 1, 0, 1]) if task == "multiclass" else torch.randn(5, TASKS[task].n_outputs)


def perfect(task: str) -> Tensor:
    """Outputs (5, 2, C) of two members that know the targets."""
    y = targets(task)
    if task == "binary":
        return (200.0 * y - 100).reshape(5, 1, 1).expand(5, 2, 1)
    if task == "multiclass":
        return 100 * torch.eye(3)[y].unsqueeze(1).expand(5, 2, 3)
    return y.unsqueeze(1).expand(5, 2, -1)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_registries_are_the_configs_choices() -> None:
    assert set(LOSSES) == set(choices_of("loss"))
    assert set(LOSSES) == {name for names in FITTING.values() for name in names}
    assert set(UNIT_POWERS) == set(FITTING["regression"]) - {"auto", "smoothed"}


@fitting
def test_zero_where_all_is_known_and_positive_elsewhere(name: str, task: str) -> None:
    loss = build(name, task)
    state = torch.get_rng_state()
    outputs = perfect(task)
    torch.set_rng_state(state)
    y = targets(task)
    if getattr(section(name), "label_smoothing", 0) == 0:
        assert float(loss(outputs, y)) == pytest.approx(0, abs=1e-6)
    assert float(loss(outputs + torch.randn(5, 2, outputs.shape[2]) * 200, y)) > 0.1


@fitting
def test_value_is_finite_and_gradient_reaches_every_output(name: str, task: str) -> None:
    outputs = torch.randn(5, 3, TASKS[task].n_outputs, requires_grad=True)
    loss = build(name, task)(outputs, targets(task))
    loss.backward()
    assert loss.shape == ()
    assert torch.isfinite(loss)
    assert outputs.grad is not None
    assert (outputs.grad != 0).all()


@fitting
def test_several_members_cost_their_mean(name: str, task: str) -> None:
    loss, y = build(name, task), targets(task)
    outputs = torch.randn(5, 4, TASKS[task].n_outputs)
    alone = torch.stack([loss(outputs[:, [member]], y) for member in range(4)])
    torch.testing.assert_close(loss(outputs, y), alone.mean())


@fitting
def test_outputs_in_double_precision_give_a_loss_in_it(name: str, task: str) -> None:
    """Targets stay float32 when a network trained in double precision is evaluated."""
    loss, y = build(name, task), targets(task)
    outputs = torch.randn(5, 2, TASKS[task].n_outputs)
    double = loss(outputs.double(), y)
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), loss(outputs, y))


@pytest.mark.parametrize(("name", "task"), MISFITS)
def test_another_task_is_refused(name: str, task: str) -> None:
    with pytest.raises(ConfigError, match=rf"^loss: {name} (does not fit|needs)"):
        build(name, task)
