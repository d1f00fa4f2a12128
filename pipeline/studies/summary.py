"""What came of a study, in numbers and words."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from pipeline.metrics import shown
from pipeline.studies.plan import Plan
from pipeline.studies.storage import finished

EDGE = 0.02  # of a range, within which a best value lies at its edge


@dataclass(frozen=True)
class Summary:
    """Trials by state, what pruning saved, and where the best values lie."""

    states: Mapping[str, int]
    best: FrozenTrial | None  # of several objectives the front's best by the first
    front: Sequence[int]  # numbers of the trials that no other beats in every objective
    default: float | None  # trial 0's value
    epochs_run: int
    epochs_saved: float
    edges: Sequence[str]


def summarize(plan: Plan, study: optuna.Study) -> Summary:
    """Sum up the trials so far."""
    trials = finished(study.get_trials(deepcopy=False))
    by_state = {state.name: [trial for trial in trials if trial.state == state] for state in TrialState}
    complete, pruned = by_state["COMPLETE"], by_state["PRUNED"]
    front = study.best_trials if complete else []
    best = _best(plan, front)
    n_epochs = [_epochs(trial) for trial in complete]
    usual = sum(n_epochs) / len(n_epochs) if n_epochs else 0
    names = (("COMPLETE", "complete"), ("PRUNED", "pruned"), ("FAIL", "failed"))
    return Summary(
        states={name: len(by_state[state]) for state, name in names},
        best=best,
        front=[trial.number for trial in front],
        default=next((trial.values[0] for trial in complete if trial.number == 0), None),
        epochs_run=sum(map(_epochs, [*complete, *pruned])),
        epochs_saved=sum(max(0.0, usual - _epochs(trial)) for trial in pruned),
        edges=edges(best) if best else [],
    )


def _best(plan: Plan, front: Sequence[FrozenTrial]) -> FrozenTrial | None:
    sign = 1 if plan.directions[0] == "minimize" else -1
    return min(front, key=lambda trial: (sign * trial.values[0], trial.number), default=None)


def _epochs(trial: FrozenTrial) -> int:
    return int(trial.user_attrs.get("ran", {}).get("n_epochs", 0))


def edges(trial: FrozenTrial) -> list[str]:
    """A line for each value that lies at an end of its range: the best may lie beyond."""
    found = []
    for name, value in trial.params.items():
        kind = trial.distributions[name]
        if isinstance(kind, CategoricalDistribution) or kind.single():
            continue
        assert isinstance(kind, FloatDistribution | IntDistribution)
        low, at, high = (math.log(x) if kind.log else x for x in (kind.low, value, kind.high))
        share = (at - low) / (high - low)
        if share <= EDGE or share >= 1 - EDGE:
            end = "lower" if share <= EDGE else "upper"
            found.append(f"{name} = {shown(value)} lies at the {end} end of {shown(kind.low)} to {shown(kind.high)}")
    return found


def describe(plan: Plan, summary: Summary) -> list[str]:
    """The summary in lines."""
    counts = ", ".join(f"{count} {state}" for state, count in summary.states.items())
    lines = [f"{sum(summary.states.values())} trials finished: {counts}"]
    if summary.epochs_saved:
        share = summary.epochs_saved / (summary.epochs_run + summary.epochs_saved)
        lines.append(f"pruning saved about {summary.epochs_saved:.0f} epochs, {share:.0%} of the compute")
    if summary.best is not None:
        values = ", ".join(
            f"{name} {shown(value)}" for name, value in zip(plan.objectives, summary.best.values, strict=True)
        )
        lines.append(f"best: trial {summary.best.number}, {values}")
        if summary.default is not None:
            lines[-1] += f" (default {shown(summary.default)})"
    if len(plan.objectives) > 1:
        lines.append(f"Pareto front: trials {', '.join(map(str, summary.front)) or 'none'}")
    return lines + [f"at an edge: {edge}; a wider range may hold better" for edge in summary.edges]


def table_of(study: optuna.Study) -> list[dict[str, Any]]:
    """A row a trial: number, state, values, seconds, epochs, parameters."""
    return [
        {
            "number": trial.number,
            "state": trial.state.name,
            **{f"value {position}": value for position, value in enumerate(trial.values or ())},
            **trial.user_attrs.get("ran", {}),
            **{"error": trial.user_attrs.get("error")},
            **{f"param {name}": value for name, value in trial.params.items()},
        }
        for trial in study.get_trials(deepcopy=False)
    ]


def as_metrics(summary: Summary) -> dict[str, float]:
    """The summary's numbers, for the study's run."""
    values: dict[str, float] = {f"trials/{state}": count for state, count in summary.states.items()}
    values |= {"epochs_run": summary.epochs_run, "epochs_saved": summary.epochs_saved}
    if summary.best is not None:
        values |= {"best/value": summary.best.values[0], "best/trial": summary.best.number}
    return values
