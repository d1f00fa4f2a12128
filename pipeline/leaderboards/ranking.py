"""Who is ahead: means over splits with their intervals, ranks, and differences from the best of each table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.comparisons.child import Child
from pipeline.comparisons.paired import p_values, t_interval
from pipeline.metrics import higher_is_better, shown
from pipeline.types import Interval

ALPHA = 0.05
NOTHING = Interval(float("nan"), float("nan"), float("nan"))
Scored = Mapping[str, Sequence[Child]]  # an entrant's fits, in the order of the seeds


@dataclass(frozen=True)
class Standing:
    """An entrant on a table; what failed with some seed has neither value nor difference."""

    table: str
    entrant: str
    metric: str
    value: Interval
    rank: float  # mean over seeds
    seconds: float  # to fit
    n_bytes: float
    row_seconds: float
    n_failed: int
    worse_by: Interval | None = None  # than the best, paired over seeds
    p: float | None = None  # that noise alone makes such a difference, Holm's correction


@dataclass(frozen=True)
class Ranking:
    """Each table's standings, the best first, and each entrant's mean rank over tables and seeds, the best first."""

    n_seeds: int
    tables: Mapping[str, Sequence[Standing]]
    ranks: Mapping[str, float]


def rank(tables: Mapping[str, Scored], metrics: Mapping[str, str]) -> Ranking:
    """The ranking of finished fits.

    Args:
        tables: fits by table, entrant and seed; every entrant stands on every table.
        metrics: the test metric of each table.
    """
    found = {table: _standings(table, scored, metrics[table]) for table, scored in tables.items()}
    entrants = list(next(iter(tables.values())))
    means = {
        name: float(np.mean([each.rank for rows in found.values() for each in rows if each.entrant == name]))
        for name in entrants
    }
    n_seeds = len(next(iter(next(iter(tables.values())).values())))
    return Ranking(n_seeds, found, dict(sorted(means.items(), key=lambda item: item[1])))


def ranks_of(values: np.ndarray) -> np.ndarray:
    """Ranks (n_entrants, n_seeds) within each seed: 1 is the lowest, ties share their average, nan comes last."""
    from scipy import stats

    return np.asarray(stats.rankdata(np.nan_to_num(values, nan=np.inf), axis=0))


def _standings(table: str, scored: Scored, metric: str) -> list[Standing]:
    sign = -1 if higher_is_better(metric) else 1
    costs = {name: np.array([sign * child.test.get(metric, np.nan) for child in own]) for name, own in scored.items()}
    ranks = ranks_of(np.stack(list(costs.values()))).mean(axis=1)
    order = sorted(costs, key=lambda name: (np.isnan(costs[name]).any(), np.nan_to_num(costs[name]).mean()))
    excess = {name: costs[name] - costs[order[0]] for name in order[1:] if not np.isnan(costs[name]).any()}
    adjusted = p_values(excess)
    rank_of = dict(zip(costs, ranks, strict=True))
    return [
        Standing(
            table=table,
            entrant=name,
            metric=metric,
            value=_over(sign * costs[name]),
            rank=float(rank_of[name]),
            seconds=_mean([child.fit_seconds for child in scored[name] if not child.error]),
            n_bytes=_mean([child.n_bytes for child in scored[name] if not child.error]),
            row_seconds=_mean([child.row_seconds for child in scored[name] if not child.error]),
            n_failed=int(np.isnan(costs[name]).sum()),
            worse_by=_over(excess[name]) if name in excess else None,
            p=adjusted.get(name),
        )
        for name in order
    ]


def _over(values: np.ndarray) -> Interval:
    return NOTHING if np.isnan(values).any() else t_interval(values)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


# ---------------------------------------------------------------- in words and as a table
def describe(ranking: Ranking) -> list[str]:
    """Who leads each table, and whom the noise over splits does not tell from the leader."""
    lines = [_verdict(rows, ranking.n_seeds) for rows in ranking.tables.values()]
    if len(ranking.tables) > 1:
        first, mean = next(iter(ranking.ranks.items()))
        lines.append(f"over {len(ranking.tables)} tables: {first} is first with a mean rank of {mean:.2f}")
    if ranking.n_seeds == 1:
        lines.append("one split cannot tell a difference from noise; write seeds=5")
    return lines


def _verdict(rows: Sequence[Standing], n_seeds: int) -> str:
    best = rows[0]
    said = f"{best.table}: {best.entrant} is first, {best.metric} {shown(best.value.value)}"
    alike = [row.entrant for row in rows[1:] if row.p is not None and row.p >= ALPHA]
    if alike:
        said += f"; not to be told apart from it: {', '.join(alike)}"
    failed = [f"{row.entrant} ({row.n_failed} of {n_seeds} seeds)" for row in rows if row.n_failed]
    return said + (f"; failed: {', '.join(failed)}" if failed else "")


def table_of(ranking: Ranking) -> dict[str, list[object]]:
    """Columns by name, a row an entrant and table, for a file."""
    columns: dict[str, list[object]] = {}
    for row in (row for rows in ranking.tables.values() for row in rows):
        worse = row.worse_by or NOTHING
        values: dict[str, object] = {"table": row.table, "entrant": row.entrant, "metric": row.metric}
        values |= {"value": row.value.value, "value, low": row.value.low, "value, high": row.value.high}
        values |= {"mean rank": row.rank, "worse by": worse.value, "worse by, low": worse.low}
        values |= {"worse by, high": worse.high, "p": row.p, "failed": row.n_failed, "seconds to fit": row.seconds}
        values |= {"kB": row.n_bytes / 1000, "ms a row": row.row_seconds * 1000}
        for name, value in values.items():
            columns.setdefault(name, []).append(value)
    return columns
