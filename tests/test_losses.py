"""Losses against the plain formulas in numpy, on outputs of several members."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax
from sklearn.utils.class_weight import compute_class_weight

from pipeline.config import AutoLoss, Bce, CrossEntropy, Huber, Loss, Mae, Mse, SmoothL1
from pipeline.errors import ConfigError
from pipeline.losses import build_loss, loss_unit
from pipeline.types import Features

N, K, C = 50, 3, 4
BINARY = Features("binary", 2, (), 1, (30, 20))
MULTICLASS = Features("multiclass", 2, (), C, (5, 10, 15, 20))
REGRESSION = Features("regression", 2, (), 1)
SEVERAL = Features("regression", 2, (), 3)


def random(n_outputs: int, n_classes: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Outputs (N, K, n_outputs), and targets (N,) codes or (N, n_outputs) values."""
    rng = np.random.default_rng(0)
    outputs = 3 * rng.normal(size=(N, K, n_outputs))
    return outputs, rng.integers(n_classes, size=N) if n_classes else 3 * rng.normal(size=(N, n_outputs))


def ours(config: Loss, features: Features, outputs: np.ndarray, y: np.ndarray) -> float:
    return float(build_loss(config, features)(torch.from_numpy(outputs), torch.from_numpy(y)))


def classes(kind: type[AutoLoss | CrossEntropy | Bce], smoothing: float = 0, weight: str = "none") -> Any:
    name = {AutoLoss: "auto", CrossEntropy: "cross_entropy", Bce: "bce"}[kind]
    return kind.model_validate({"name": name, "label_smoothing": smoothing, "class_weight": weight})


def row_weights(features: Features, y: np.ndarray, weight: str) -> np.ndarray:
    if weight == "none":
        return np.ones(len(y))
    trained_on = np.repeat(np.arange(len(features.class_counts)), features.class_counts)
    balanced: np.ndarray = compute_class_weight("balanced", classes=np.unique(trained_on), y=trained_on)
    return np.asarray(balanced[y])


@pytest.mark.parametrize("weight", ["none", "balanced"])
@pytest.mark.parametrize("smoothing", [0, 0.1, 0.9])
@pytest.mark.parametrize("kind", [AutoLoss, CrossEntropy])
def test_cross_entropy(kind: type[AutoLoss | CrossEntropy], smoothing: float, weight: str) -> None:
    outputs, y = random(C, C)
    truth = np.eye(C)[y] * (1 - smoothing) + smoothing / C
    losses = -(truth[:, None] * log_softmax(outputs, axis=2)).sum(axis=2)  # (N, K)
    expected = np.average(losses.mean(axis=1), weights=row_weights(MULTICLASS, y, weight))
    assert ours(classes(kind, smoothing, weight), MULTICLASS, outputs, y) == pytest.approx(expected)


@pytest.mark.parametrize("weight", ["none", "balanced"])
@pytest.mark.parametrize("smoothing", [0, 0.1, 0.9])
@pytest.mark.parametrize("kind", [AutoLoss, CrossEntropy, Bce])
def test_binary_cross_entropy(kind: type[AutoLoss | CrossEntropy | Bce], smoothing: float, weight: str) -> None:
    outputs, y = random(1, 2)
    truth, p = (y * (1 - smoothing) + smoothing / 2)[:, None], expit(outputs[:, :, 0])
    losses = -(truth * np.log(p) + (1 - truth) * np.log(1 - p))  # (N, K)
    expected = np.average(losses.mean(axis=1), weights=row_weights(BINARY, y, weight))
    assert ours(classes(kind, smoothing, weight), BINARY, outputs, y) == pytest.approx(expected)


def test_two_classes_cost_the_same_by_one_logit_and_by_two() -> None:
    outputs, y = random(1, 2)
    config = classes(CrossEntropy, 0.2, "balanced")
    both = np.concatenate([np.zeros_like(outputs), outputs], axis=2)
    two_logits = Features("multiclass", 2, (), 2, BINARY.class_counts)
    assert ours(config, BINARY, outputs, y) == pytest.approx(ours(config, two_logits, both, y))


def square_then_line(e: np.ndarray, width: float) -> np.ndarray:
    return np.where(np.abs(e) < width, e**2 / 2, width * (np.abs(e) - width / 2))


@pytest.mark.parametrize("features", [REGRESSION, SEVERAL], ids=["one", "three"])
@pytest.mark.parametrize("width", [0.3, 1, 4])
def test_regression_losses(features: Features, width: float) -> None:
    outputs, y = random(features.n_outputs)
    e = outputs - y[:, None]
    auto = classes(AutoLoss)
    pairs: list[tuple[Loss, np.ndarray]] = [
        (Mae(name="mae"), np.abs(e)),
        (Mse(name="mse"), e**2),
        (auto, e**2),
        (SmoothL1(name="smooth_l1", beta=width), square_then_line(e, width) / width),
        (Huber(name="huber", delta=width), square_then_line(e, width)),
    ]
    for config, losses in pairs:
        assert ours(config, features, outputs, y) == pytest.approx(losses.mean()), config.name


@pytest.mark.parametrize(
    "config", [Mse(name="mse"), Mae(name="mae"), classes(AutoLoss)], ids=lambda config: config.name
)
def test_unit_of_a_simple_loss(config: Loss) -> None:
    outputs, y = random(1)
    scaled = ours(config, REGRESSION, outputs * 7, y * 7)
    assert ours(config, REGRESSION, outputs, y) * loss_unit(config, REGRESSION, 7) == pytest.approx(scaled)


def test_unit_of_a_loss_with_a_width_in_deviations_of_the_target() -> None:
    outputs, y = random(1)
    pairs: list[tuple[Loss, Loss]] = [
        (Huber(name="huber", delta=0.5), Huber(name="huber", delta=3.5)),
        (SmoothL1(name="smooth_l1", beta=0.5), SmoothL1(name="smooth_l1", beta=3.5)),
    ]
    for standard, own in pairs:
        expected = ours(own, REGRESSION, outputs * 7, y * 7)
        assert ours(standard, REGRESSION, outputs, y) * loss_unit(standard, REGRESSION, 7) == pytest.approx(expected)


@pytest.mark.parametrize("features", [BINARY, MULTICLASS, SEVERAL], ids=["binary", "multiclass", "several"])
def test_classes_and_several_targets_have_no_unit(features: Features) -> None:
    assert loss_unit(classes(AutoLoss), features, 7) == 1


@pytest.mark.parametrize("logit", [-1e4, 1e4])
def test_extreme_logits_stay_finite(logit: float) -> None:
    for features, n_outputs in ((BINARY, 1), (MULTICLASS, C)):
        outputs = torch.full((2, 1, n_outputs), logit, requires_grad=True)
        loss = build_loss(classes(AutoLoss), features)(outputs, torch.tensor([0, 1]))
        loss.backward()
        assert torch.isfinite(loss)
        assert outputs.grad is not None
        assert torch.isfinite(outputs.grad).all()


@pytest.mark.parametrize(
    ("config", "features", "message"),
    [
        (Mse(name="mse"), BINARY, "loss: mse does not fit binary; choices: auto, bce, cross_entropy, smoothed"),
        (Mae(name="mae"), MULTICLASS, "loss: mae does not fit multiclass; choices: auto, cross_entropy, smoothed"),
        (
            classes(CrossEntropy),
            REGRESSION,
            "loss: cross_entropy does not fit regression; choices: auto, huber, mae, mse, smooth_l1, smoothed",
        ),
        (
            classes(Bce),
            MULTICLASS,
            "loss: bce needs two classes, the target has 4; use loss=cross_entropy",
        ),
        (
            classes(AutoLoss, smoothing=0.1),
            REGRESSION,
            "loss.label_smoothing: applies to classification, and the task is regression",
        ),
        (
            classes(AutoLoss, weight="balanced"),
            REGRESSION,
            "loss.class_weight: applies to classification, and the task is regression",
        ),
    ],
)
def test_what_does_not_fit_the_task_is_refused(config: Loss, features: Features, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        build_loss(config, features)
    assert str(refused.value) == message
