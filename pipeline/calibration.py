"""How far a network's answers can be trusted, learned on the validation rows: probabilities, sets, intervals.

Probabilities are calibrated by temperature scaling (Guo et al. 2017). Sets of classes and intervals are split-conformal
(Vovk et al. 2005): for rows like the validation rows they hold the truth at least as often as `coverage` says. Sets are
those with the least average size, of all classes with at least some probability (LAC, Sadinle et al. 2019), intervals
the value ± a quantile of the absolute residuals (Lei et al. 2018), a target each. The validation rows also picked the
epoch, so that coverage is measured again on the test rows.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.types import Task

TEMPERATURES = 1 / 50, 50.0  # searched; beyond them the network knows nothing, or the rows are too few to tell
PRIOR_DEVIATION = 1.0  # of log T about 0: keeps T finite where every validation row is right, and hardly moves it else
PRECISION = 1e-4  # of log T
GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Calibration:
    """What was learned: `temperature` and `threshold` of classifiers, `margins` (T,) of regression."""

    coverage: float
    temperature: float = 1.0  # that logits are divided by
    threshold: float = 0.0  # probability from which a class is in the set
    margins: tuple[float, ...] = ()  # half the width of each target's interval


def fit_temperature(logits: np.ndarray, y: np.ndarray) -> float:
    """The temperature with the least log loss on validation rows, under a weak prior for 1.

    Args:
        logits: (N, K, C) of K members, whose probabilities are averaged; C is 1 for two classes.
        y: codes (N,).
    """

    def cost(log_temperature: float) -> float:
        prior = (log_temperature / PRIOR_DEVIATION) ** 2 / (2 * len(y))
        return _log_loss(logits / math.exp(log_temperature), y) + prior

    found = _minimum(cost, *map(math.log, TEMPERATURES))
    return math.exp(found) if cost(found) < cost(0.0) else 1.0


def _log_loss(logits: np.ndarray, y: np.ndarray) -> float:
    """Mean over rows of −log of the members' mean probability of the true class."""
    if logits.shape[2] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=2)
    true = np.take_along_axis(logits, y[:, None, None], axis=2)[:, :, 0]  # (N, K)
    member = true - _log_sum_exp(logits)
    return float(np.mean(math.log(member.shape[1]) - _log_sum_exp(member)))


def _log_sum_exp(x: np.ndarray) -> np.ndarray:
    largest = x.max(axis=-1)
    total: np.ndarray = largest + np.log(np.exp(x - largest[..., None]).sum(axis=-1))
    return total


def _minimum(cost: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one minimum in [low, high] has it, by golden section."""
    first, second = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_first, at_second = cost(first), cost(second)
    while high - low > PRECISION:
        if at_first < at_second:
            high, second, at_second = second, first, at_first
            first = high - GOLDEN * (high - low)
            at_first = cost(first)
        else:
            low, first, at_first = first, second, at_second
            second = low + GOLDEN * (high - low)
            at_second = cost(second)
    return (low + high) / 2


def fit_threshold(probabilities: np.ndarray, y: np.ndarray, coverage: float) -> float:
    """The probability from which a class is in the set, of validation rows (N, C) and codes (N,)."""
    scores = -probabilities[np.arange(len(y)), y]
    bound = conformal_quantile(scores[:, None], coverage)[0]
    return max(0.0, -float(bound))  # 0: every class, where the rows are too few


def fit_margins(values: np.ndarray, y: np.ndarray, coverage: float) -> tuple[float, ...]:
    """Half the width of each target's interval, of validation rows (N, T); the largest residual of too few rows."""
    residuals = np.abs(y - values)
    return tuple(np.minimum(conformal_quantile(residuals, coverage), residuals.max(axis=0)).tolist())


def conformal_quantile(scores: np.ndarray, coverage: float) -> np.ndarray:
    """The ⌈(N + 1) · coverage⌉-th smallest of the scores (N, T), a column each; infinite where that is beyond N."""
    rank = math.ceil(round((len(scores) + 1) * coverage, 9))
    if rank > len(scores):
        return np.full(scores.shape[1], np.inf)
    return np.asarray(np.partition(scores, rank - 1, axis=0)[rank - 1])


def prediction_sets(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """The classes (N, C) that may be true; never none: the most probable one is always among them."""
    return np.asarray((probabilities >= threshold) | (probabilities == probabilities.max(axis=1, keepdims=True)))


def calibrate(task: Task, y: np.ndarray, prediction: np.ndarray, coverage: float, temperature: float) -> Calibration:
    """The calibration of validation rows: y and prediction, at that temperature, as metrics take them."""
    if task == "regression":
        return Calibration(coverage, margins=fit_margins(prediction, y, coverage))
    return Calibration(coverage, temperature, fit_threshold(prediction, y, coverage))


def measure(task: Task, y: np.ndarray, prediction: np.ndarray, calibration: Calibration) -> dict[str, float]:
    """How often sets or intervals hold the truth on rows that nothing was learned on, and how large they are.

    With several targets both are means over them: each has an interval of its own.
    """
    if task == "regression":
        margins = np.array(calibration.margins)
        return {
            "coverage": float(np.mean(np.abs(y - prediction) <= margins)),
            "mean_interval_width": float(2 * margins.mean()),
        }
    sets = prediction_sets(prediction, calibration.threshold)
    return {"coverage": float(sets[np.arange(len(y)), y].mean()), "mean_set_size": float(sets.sum(axis=1).mean())}
