"""How a comparison shows itself: a bar in a terminal, a line a run elsewhere; its table at the end."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pipeline.comparisons.comparison import Progress as State
from pipeline.comparisons.comparison import run_comparison
from pipeline.comparisons.plan import Plan
from pipeline.comparisons.summary import Summary, rows_of
from pipeline.studies.workers import Pool
from pipeline.tracking import root_override


class ComparisonBar:
    """Shows how many runs are done; a context, and a listener of `run_comparison`."""

    def __init__(self, console: Console) -> None:
        self._console, self._n_said = console, 0
        columns = (TextColumn("runs"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console, transient=True) if console.is_terminal else None
        self._task = self._bar.add_task("runs", total=None) if self._bar else None

    def __enter__(self) -> "ComparisonBar":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def __call__(self, state: State) -> None:
        """Show where a comparison is."""
        if self._bar and self._task is not None:
            self._bar.update(self._task, total=state.n_runs, completed=state.n_before + len(state.ended))
            return
        for place, ((label, seed), child) in enumerate(state.ended[self._n_said :], self._n_said + 1):
            done, taken = state.n_before + place, time.monotonic() - state.started
            left = taken / place * (state.n_runs - done)
            line = f"{done} of {state.n_runs}: {label}, seed {seed}: {child.told}; about {left:.0f} s left"
            self._console.print(line, soft_wrap=True, markup=False)
        self._n_said = len(state.ended)


def show_comparison(plan: Plan, pool: Pool, screen: Console, out: Console, program: str) -> None:
    """Run a comparison, its progress on `screen`, its table and verdict on `out`; `program` is how it is typed."""
    with ComparisonBar(screen) as bar:
        outcome = run_comparison(plan, pool, bar)
    out.print(_table(plan.name, outcome.summary))
    where = f"run {outcome.run_id}; look at it with: {program} ui{root_override(plan.config.tracking.root)}"
    for line in [*outcome.lines, *([where] if outcome.run_id else [])]:
        out.print(line, soft_wrap=True, markup=False)


def _table(name: str, summary: Summary) -> Table:
    rows = rows_of(summary)
    over = f": mean ± half the 95 % interval over {len(summary.seeds)} seeds" if len(summary.seeds) > 1 else ""
    table = Table(title=f"{name}{over}", title_justify="left")
    headings = list(dict.fromkeys(heading for row in rows for heading in row))
    for heading in headings:
        table.add_column(heading, overflow="fold", justify="left" if heading == "case" else "right")
    for row in rows:
        table.add_row(*(row.get(heading, "") for heading in headings))
    return table
