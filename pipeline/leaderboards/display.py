"""How a leaderboard shows itself: progress as of a comparison; a table a table, and one of mean ranks, at the end."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from pipeline.comparisons.display import ComparisonBar
from pipeline.leaderboards.leaderboard import run_leaderboard
from pipeline.leaderboards.plan import Plan
from pipeline.leaderboards.ranking import Standing
from pipeline.metrics import shown
from pipeline.studies.workers import Pool
from pipeline.tracking import root_override
from pipeline.types import Interval


def show_leaderboard(plan: Plan, pool: Pool, screen: Console, out: Console, program: str) -> None:
    """Run a leaderboard, its progress on `screen`, its tables on `out`; `program` is how it is typed."""
    with ComparisonBar(screen) as bar:
        outcome = run_leaderboard(plan, pool, bar)
    for name, rows in outcome.ranking.tables.items():
        out.print(_standings(name, rows))
    if len(outcome.ranking.tables) > 1:
        out.print(_ranks(outcome.ranking.ranks))
    override = root_override(plan.config.tracking.root)
    where = f"run {outcome.run_id}; its page with: {program} report {outcome.run_id}{override}"
    for line in [*outcome.lines, *([where] if outcome.run_id else [])]:
        out.print(line, soft_wrap=True, markup=False)


def _standings(name: str, rows: Sequence[Standing]) -> Table:
    table = Table(title=name, title_justify="left")
    for heading in ("entrant", rows[0].metric, "worse by", "p", "mean rank", "fit, s", "kB", "ms a row"):
        table.add_column(heading, overflow="fold", justify="left" if heading == "entrant" else "right")
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: Standing) -> list[str]:
    p = "" if row.p is None else "<0.001" if row.p < 0.001 else f"{row.p:.3f}"
    worse = _around(row.worse_by) if row.worse_by else ""
    value = "failed" if row.n_failed else _around(row.value)
    costs = [_known(each) for each in (row.seconds, row.n_bytes / 1000, row.row_seconds * 1000)]
    return [row.entrant, value, worse, p, f"{row.rank:.2f}", *costs]


def _around(interval: Interval) -> str:
    """A mean and half its 95 % interval."""
    half = interval.high - interval.value
    return shown(interval.value) + ("" if half != half else f" ± {half:.2g}")


def _known(value: float) -> str:
    return "–" if value != value else f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _ranks(ranks: Mapping[str, float]) -> Table:
    table = Table(title="over all tables", title_justify="left")
    table.add_column("entrant")
    table.add_column("mean rank", justify="right")
    for name, mean in ranks.items():
        table.add_row(name, f"{mean:.2f}")
    return table
