"""What a comparison says: each case's numbers over seeds, and which differences are more than noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pipeline.comparisons.child import Child
from pipeline.comparisons.paired import p_values, t_interval
from pipeline.comparisons.plan import Key, Plan
from pipeline.metrics import higher_is_better, shown, tested_metric
from pipeline.types import Interval, Task

ALPHA = 0.05
ENOUGH = 5  # seeds from which the sentence need not warn that they are few


@dataclass(frozen=True)
class CaseSummary:
    """A case over its seeds; what diverged is counted and nothing else."""

    label: str
    n_seeds: int
    n_diverged: int
    value: Interval  # the metric
    last: Mapping[str, float]  # each curve at the last epoch, mean over seeds
    test: Interval
    n_reached: int  # seeds that came to the quality
    epochs: float  # to the quality, mean over those
    quality_seconds: float
    seconds: float  # of a whole run
    worse_by: Interval | None = None  # than the best, paired over seeds; None of the best and of what diverged
    p: float | None = None  # that noise alone makes such a difference, corrected for their number by Holm


@dataclass(frozen=True)
class Summary:
    """All cases, the best first, those that diverged last."""

    metric: str
    epoch: str  # best or last
    tested: str
    quality: float
    seeds: Sequence[int]
    cases: Sequence[CaseSummary]


def summarize(plan: Plan, task: Task, children: Mapping[Key, Child]) -> Summary:
    """The summary of finished children; at least one case has all its seeds."""
    metric, asked = plan.metric(task), plan.config.comparison
    tested, sign = tested_metric(metric, task), -1 if higher_is_better(metric) else 1
    by_case = {label: [children[label, seed] for seed in plan.seeds] for label in plan.cases}
    sound = {label: own for label, own in by_case.items() if not any(child.error for child in own)}
    values = {label: np.array([child.value(metric, asked.epoch) for child in own]) for label, own in sound.items()}
    ranked = sorted(values, key=lambda label: sign * values[label].mean())
    quality = asked.quality
    if quality is None:
        quality = float(values[ranked[(len(ranked) - 1) // 2]].mean())
    excess = {label: sign * (values[label] - values[ranked[0]]) for label in ranked[1:]}
    adjusted = p_values(excess)
    cases = []
    for label in [*ranked, *(label for label in by_case if label not in values)]:
        case = _case(label, by_case[label], metric, asked.epoch, tested, quality, plan.curves(task))
        worse_by = t_interval(excess[label]) if label in excess else None
        cases.append(replace(case, worse_by=worse_by, p=adjusted.get(label)))
    return Summary(metric, asked.epoch, tested, quality, plan.seeds, cases)


def _case(
    label: str,
    children: Sequence[Child],
    metric: str,
    epoch: Literal["best", "last"],
    tested: str,
    quality: float,
    curves: Sequence[str],
) -> CaseSummary:
    """A case by itself, not yet compared."""
    sound = [child for child in children if not child.error]
    reached = [at for child in sound if (at := child.reached(metric, quality))]
    return CaseSummary(
        label=label,
        n_seeds=len(children),
        n_diverged=len(children) - len(sound),
        value=_over([child.value(metric, epoch) for child in sound]),
        last={name: _over([child.curve(name)[-1] for child in sound]).value for name in curves},
        test=_over([child.test[tested] for child in sound]),
        n_reached=len(reached),
        epochs=_over([epochs for epochs, _ in reached]).value,
        quality_seconds=_over([seconds for _, seconds in reached]).value,
        seconds=_over([child.seconds for child in sound]).value,
    )


def _over(values: Sequence[float]) -> Interval:
    return t_interval(values) if values else Interval(float("nan"), float("nan"), float("nan"))


# ---------------------------------------------------------------- in words
def describe(summary: Summary) -> list[str]:
    """What is to be said of it: which differences exceed the noise over seeds, and which do not."""
    best, *others = [case for case in summary.cases if not case.n_diverged]
    n_seeds = len(summary.seeds)
    worse = [case for case in others if case.p is not None and case.p < ALPHA]
    alike = [case for case in others if case not in worse]
    lines = [f"{summary.metric} at the {summary.epoch} epoch: {best.label} is best, {_spread(best.value, n_seeds)}"]
    if n_seeds == 1:
        lines.append("one seed cannot tell a difference from noise; write seeds=5")
    elif others:
        lines.append(_verdict(best, worse, alike, summary))
    diverged = [
        f"{case.label} ({case.n_diverged} of {case.n_seeds} seeds)" for case in summary.cases if case.n_diverged
    ]
    if diverged:
        lines.append(f"diverged, so in no test: {', '.join(diverged)}")
    return lines


def _verdict(best: CaseSummary, worse: Sequence[CaseSummary], alike: Sequence[CaseSummary], summary: Summary) -> str:
    n_seeds, n_tests = len(summary.seeds), len(worse) + len(alike)
    parts = []
    if worse:
        parts.append(f"more than the noise over {n_seeds} seeds: {', '.join(map(_behind, worse))}")
    if alike:
        parts.append(f"not to be told apart from {best.label}: {', '.join(map(_behind, alike))}")
    test = "paired t-test at 5 %" + (f", Holm's correction for {n_tests}" if n_tests > 1 else "")
    few = f"; {n_seeds} seeds show large differences only" if alike and n_seeds < ENOUGH else ""
    return f"{'; '.join(parts)} ({test}{few})"


def _behind(case: CaseSummary) -> str:
    assert case.worse_by is not None
    value, low, high = map(shown, case.worse_by)
    return f"{case.label} worse by {value} ({low} to {high})"


def _spread(interval: Interval, n_seeds: int) -> str:
    value, low, high = map(shown, interval)
    return f"{value} ({low} to {high})" if n_seeds > 1 else value


# ---------------------------------------------------------------- as a table
def table_of(summary: Summary) -> dict[str, list[object]]:
    """Columns by name, a row a case, for a file."""
    columns: dict[str, list[object]] = {}
    for case in summary.cases:
        row: dict[str, object] = {"case": case.label, "seeds": case.n_seeds, "diverged": case.n_diverged}
        row |= _ends(f"{summary.metric}, {summary.epoch} epoch", case.value)
        row |= _ends("worse than the best by", case.worse_by or Interval(*[float("nan")] * 3))
        row |= {"p": case.p, "reached": case.n_reached, "epochs to quality": case.epochs}
        row |= {"seconds to quality": case.quality_seconds, "quality": summary.quality}
        row |= {f"{name}, last epoch": value for name, value in case.last.items()}
        row |= _ends(f"test/{summary.tested}", case.test) | {"seconds": case.seconds}
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    return columns


def _ends(name: str, interval: Interval) -> dict[str, object]:
    return {name: interval.value, f"{name}, low": interval.low, f"{name}, high": interval.high}


def rows_of(summary: Summary) -> list[dict[str, str]]:
    """The table for people."""
    return [_row(case, summary) for case in summary.cases]


def _row(case: CaseSummary, summary: Summary) -> dict[str, str]:
    n_sound = case.n_seeds - case.n_diverged
    if not n_sound:
        return {"case": case.label, summary.metric: "diverged"}
    p = "" if case.p is None else "<0.001" if case.p < 0.001 else f"{case.p:.3f}"
    reached = "never" if not case.n_reached else f"epoch {case.epochs:.0f}, {case.quality_seconds:.2g} s"
    some = f" ({case.n_reached} of {case.n_seeds})" if 0 < case.n_reached < case.n_seeds else ""
    last = {f"last {name}": shown(value) for name, value in case.last.items()}
    return {
        "case": case.label,
        summary.metric: _around(case.value, n_sound),
        "worse by": _around(case.worse_by, n_sound) if case.worse_by else "",
        "p": p,
        f"to {shown(summary.quality)}": reached + some,
        **last,
        f"test/{summary.tested}": _around(case.test, n_sound),
    }


def _around(interval: Interval, n_seeds: int) -> str:
    half = f" ± {interval.high - interval.value:.2g}" if n_seeds > 1 else ""
    return f"{shown(interval.value)}{half}"
