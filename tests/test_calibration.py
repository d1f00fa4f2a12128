"""Temperature, sets and intervals: the least log loss, and the coverage that was asked for."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from pipeline.calibration import (
    Calibration,
    calibrate,
    conformal_quantile,
    fit_margins,
    fit_temperature,
    fit_threshold,
    measure,
    prediction_sets,
)


def logits_of(n_rows: int, n_classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, 1, C) that are calibrated as they are, and codes drawn from them."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(n_rows, n_classes))
    y = (softmax(logits, axis=1).cumsum(axis=1) < rng.random((n_rows, 1))).sum(axis=1)
    return logits[:, None, :], y


# ---------------------------------------------------------------- temperature
@pytest.mark.parametrize("factor", [0.2, 1.0, 5.0])
def test_the_temperature_undoes_a_factor_on_the_logits(factor: float) -> None:
    logits, y = logits_of(20_000)
    assert fit_temperature(factor * logits, y) == pytest.approx(factor, rel=0.03)


def test_the_temperature_is_the_one_of_least_log_loss() -> None:
    logits, y = logits_of(5_000, seed=1)
    logits = 3 * logits

    def loss(temperature: float) -> float:
        return float(-log_softmax(logits[:, 0] / temperature, axis=1)[np.arange(len(y)), y].mean())

    best = minimize_scalar(loss, bounds=(0.1, 10), method="bounded", options={"xatol": 1e-6}).x
    assert fit_temperature(logits, y) == pytest.approx(best, rel=1e-3)


def test_one_logit_of_two_classes_is_scaled_as_two_logits_are() -> None:
    logits, y = logits_of(2_000, n_classes=2)
    logits = 4 * (logits - logits[:, :, :1])
    assert fit_temperature(logits[:, :, 1:], y) == pytest.approx(fit_temperature(logits, y), rel=1e-6)


def test_members_are_averaged_as_probabilities() -> None:
    logits, y = logits_of(2_000)
    rng = np.random.default_rng(2)
    members = 3 * np.concatenate([logits, logits + rng.normal(size=logits.shape)], axis=1)

    def loss(temperature: float) -> float:
        return float(-np.log(softmax(members / temperature, axis=2).mean(axis=1)[np.arange(len(y)), y]).mean())

    found = fit_temperature(members, y)
    assert loss(found) <= min(loss(found * factor) for factor in (0.9, 0.99, 1.01, 1.1))


@pytest.mark.parametrize("n_rows", [1, 10, 100])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e6])
def test_rows_that_are_all_right_make_the_answers_surer_but_not_certain(n_rows: int, size: float) -> None:
    logits = np.full((n_rows, 1, 1), size)
    temperature = fit_temperature(logits, np.ones(n_rows, int))
    assert 1 / 50 <= temperature <= 1.0


@pytest.mark.parametrize("logits", [np.full((5, 1, 3), 1e30), np.zeros((5, 1, 3)), np.full((5, 1, 1), -1e30)])
def test_the_temperature_is_finite_for_any_logits(logits: np.ndarray) -> None:
    assert 1 / 50 <= fit_temperature(logits, np.array([0, 1, 1, 0, 1])) <= 50


# ---------------------------------------------------------------- sets and intervals
def test_the_conformal_quantile_has_the_correction_for_few_rows() -> None:
    scores = np.arange(1.0, 20.0)[::-1, None]  # 1 … 19: (19 + 1) · 0.9 is the 18th
    assert conformal_quantile(scores, 0.9).tolist() == [18.0]
    assert conformal_quantile(scores, 0.95).tolist() == [19.0]
    assert conformal_quantile(scores, 0.96).tolist() == [np.inf]
    assert conformal_quantile(np.hstack([scores, -scores]), 0.5).tolist() == [10.0, -10.0]


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.99])
def test_sets_hold_the_truth_as_often_as_asked_also_for_a_bad_network(coverage: float) -> None:
    held = []
    for seed in range(200):
        logits, y = logits_of(200, seed=seed)
        probabilities = softmax(5 * logits[:, 0] + 1, axis=1)  # far too sure
        threshold = fit_threshold(probabilities[:100], y[:100], coverage)
        held.append(measure("multiclass", y[100:], probabilities[100:], Calibration(coverage, threshold=threshold)))
    mean = np.mean([found["coverage"] for found in held])
    assert mean == pytest.approx(coverage, abs=0.01) or mean > coverage  # the top class makes it more
    assert {*held[0]} == {"coverage", "mean_set_size"}


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9])
def test_intervals_hold_each_target_as_often_as_asked(coverage: float) -> None:
    rng, held = np.random.default_rng(0), []
    for _ in range(200):
        errors = rng.standard_t(2, size=(200, 2)) * [1.0, 100.0]
        margins = fit_margins(np.zeros((100, 2)), errors[:100], coverage)
        held.append(measure("regression", errors[100:], np.zeros((100, 2)), Calibration(coverage, margins=margins)))
    assert np.mean([found["coverage"] for found in held]) == pytest.approx(coverage, abs=0.01)
    assert {*held[0]} == {"coverage", "mean_interval_width"}


def test_a_set_is_never_empty() -> None:
    probabilities = np.array([[0.3, 0.4, 0.3], [0.9, 0.05, 0.05], [0.5, 0.5, 0.0]])
    assert prediction_sets(probabilities, 0.6).tolist() == [
        [False, True, False], [True, False, False], [True, True, False],
    ]  # fmt: skip


def test_too_few_rows_give_every_class_and_the_largest_residual() -> None:
    probabilities, y = np.array([[0.2, 0.8], [0.6, 0.4]]), np.array([1, 0])
    assert prediction_sets(probabilities, fit_threshold(probabilities, y, 0.9)).all()
    assert fit_margins(np.zeros((3, 1)), np.array([[1.0], [-4.0], [2.0]]), 0.9) == (4.0,)


def test_a_calibration_holds_what_its_task_needs() -> None:
    probabilities, y = np.array([[0.2, 0.8], [0.6, 0.4], [0.3, 0.7]]), np.array([1, 0, 1])
    found = calibrate("binary", y, probabilities, 0.5, 2.0)
    assert found == Calibration(0.5, temperature=2.0, threshold=0.7)
    found = calibrate("regression", np.array([[1.0], [2.0], [4.0]]), np.zeros((3, 1)), 0.5, 1.0)
    assert found == Calibration(0.5, margins=(2.0,))
