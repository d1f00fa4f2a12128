"""What baselines reach beside a network, and whether it was worth its trouble, in a plain sentence."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pipeline.baselines import Baseline, fit_baselines
from pipeline.data.datamodule import TableDataModule
from pipeline.evaluate import Evaluation
from pipeline.metrics import compute_metrics, higher_is_better, paired_bootstrap, shown, tested_metric
from pipeline.types import Interval, Task


class Standing(NamedTuple):
    """Baselines, the metrics of each as `val/…` and `test/…`, and the verdict on the network."""

    baselines: Mapping[str, Baseline]
    scores: Mapping[str, Mapping[str, float]]
    verdict: str


def beside(names: Sequence[str], data: TableDataModule, evaluation: Evaluation) -> Standing:
    """How an evaluated network stands beside the named baselines on the same `data`."""
    baselines = fit_baselines(names, data, seed=data.config.seed)
    task, y_val = data.table.task, data.targets(data.splits.val)
    scores = {
        name: _scores(task, "val", y_val, baseline.val) | _scores(task, "test", evaluation.y, baseline.test)
        for name, baseline in baselines.items()
    }
    answers = {name: baseline.test for name, baseline in baselines.items()}
    metric = tested_metric(data.config.trainer.monitor, task)
    said = verdict(task, metric, evaluation.y, evaluation.prediction, answers, seed=data.config.seed)
    return Standing(baselines, scores, said)


def _scores(task: Task, part: str, y: np.ndarray, answers: np.ndarray) -> dict[str, float]:
    return {f"{part}/{metric}": value for metric, value in compute_metrics(task, y, answers).items()}


def verdict(
    task: Task, metric: str, y: np.ndarray, prediction: np.ndarray, answers: Mapping[str, np.ndarray], *, seed: int
) -> str:
    """Whether a prediction of the test rows beats the best of the baselines' answers; empty where there are none.

    The best is that on the same rows, so that a network which beats it beats them all. `y`, `prediction` and `answers`
    are as metrics take them.
    """
    sign = 1 if higher_is_better(metric) else -1
    reached = {name: compute_metrics(task, y, answer)[metric] for name, answer in answers.items()}
    known = {name: value for name, value in reached.items() if not np.isnan(value)}
    if not known:
        return ""
    best = max(known, key=lambda name: sign * known[name])
    gain = paired_bootstrap(task, metric, y, [answers[best]], [prediction], seed=seed)
    gain = gain if sign > 0 else -gain
    own = compute_metrics(task, y, prediction)[metric]
    test = f"{_by(gain)}, paired bootstrap over {len(y):,} test rows"
    figures = f"{metric} {shown(own)} against {shown(known[best])} ({test})"
    if gain.low > 0:
        return f"the network beats {best}, the best baseline: {figures}"
    if gain.high < 0:
        return f"the network loses to {best}, the best baseline: {figures}; consider {best} instead"
    return f"the network does not beat {best}, the best baseline, by more than noise: {figures}; {best} may do as well"


def _by(gain: Interval) -> str:
    """How much better, or worse."""
    word, told = ("better", gain) if gain.value >= 0 else ("worse", -gain)
    value, low, high = map(shown, told)
    return f"{word} by {value}, 95 % interval {low} to {high}"
