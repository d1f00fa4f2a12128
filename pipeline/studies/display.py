"""How far a study is: a live table in a terminal, a line a trial elsewhere."""

import time

from optuna.trial import FrozenTrial
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipeline.metrics import shown
from pipeline.studies.search import Progress

ROWS = 10  # trials shown in a terminal
SECONDS = 0.5  # between two looks


class StudyTable:
    """Shows trial, state, value, best and time left; a context, and a listener of `run_study`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None
        self._n_said, self._shown = 0, 0.0

    def __enter__(self) -> "StudyTable":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, progress: Progress) -> None:
        """Show where a study is."""
        if self._live is None:
            for trial in progress.ended[self._n_said :]:
                self._console.print(f"{' '.join(_row(trial, progress))}  {_left(progress)}", soft_wrap=True)
        elif time.monotonic() - self._shown > SECONDS or len(progress.ended) > self._n_said:
            self._live.update(_table(progress), refresh=True)
            self._shown = time.monotonic()
        self._n_said = len(progress.ended)


def _table(progress: Progress) -> Table:
    table = Table(title=f"{progress.n_finished} of {progress.n_trials} trials, {_left(progress)}", title_justify="left")
    for heading in ("trial", "state", "value"):
        table.add_column(heading, justify="left" if heading == "state" else "right", no_wrap=True)
    table.add_column("settings")
    for trial in progress.ended[-ROWS:]:
        number, state, value = _row(trial, progress)
        table.add_row(number.removeprefix("trial "), state, value, _settings(trial))
    for place, epoch in progress.running.items():
        table.add_row(str(place), f"epoch {epoch}" if epoch else "running", "", "")
    if progress.best is not None:
        best = progress.best
        table.add_section()
        table.add_row(str(best.number), "best", shown(best.values[0]), _settings(best))
    return table


def _row(trial: FrozenTrial, progress: Progress) -> tuple[str, str, str]:
    state = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}[trial.state.name]
    if trial.values:
        value = ", ".join(map(shown, trial.values))
    elif trial.intermediate_values:
        epoch = max(trial.intermediate_values)
        value = f"{shown(trial.intermediate_values[epoch])} at epoch {epoch}"
    else:
        value = str(trial.user_attrs.get("error", ""))
    is_best = progress.best is not None and progress.best.number == trial.number
    return f"trial {trial.number}", state, value + " (best)" * is_best


def _settings(trial: FrozenTrial) -> Text:
    """A trial's parameters, as many as there is room for on the line."""
    settings = (
        f"{name.partition('/')[0]}={value if isinstance(value, str | bool) else shown(value)}"
        for name, value in trial.params.items()
    )
    return Text(" ".join(settings), no_wrap=True, overflow="ellipsis")


def _left(progress: Progress) -> str:
    n_done = progress.n_finished - progress.n_before
    if n_done <= 0:
        return "time left not known yet"
    seconds = (time.monotonic() - progress.started) / n_done * max(0, progress.n_trials - progress.n_finished)
    return f"about {seconds:.0f} s left" if seconds < 120 else f"about {seconds / 60:.0f} min left"
