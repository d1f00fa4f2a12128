"""What a study, a comparison or another run with runs under it found, as parts of its page: tables, trials, runs."""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.metrics import CLASSIFICATION, REGRESSION
from pipeline.pages.document import Html, Part, cell, escaped, filled, joined, table, tag
from pipeline.pages.past import HEADLINES, PastRun

TRIALS = "trials.parquet"
MOST_TRIALS, MOST_ROWS = 20, 50


def nested_parts(run: PastRun) -> list[Part]:
    """The sections that the run has something for."""
    return filled({"Table": _tables(run), "Trials": _trials(run), "Runs": _children(run)})


def _trials(run: PastRun) -> Html:
    """The best trials of a study, each with what was drawn for it."""
    if TRIALS not in run.files:
        return Html("")
    trials = _rows(run.files[TRIALS])
    ids = {child.tags["trial"]: child.run_id for child in run.children if "trial" in child.tags}
    told = sorted(trials, key=_order(run, trials))[:MOST_TRIALS]
    rows = [_trial(trial, ids.get(str(trial["number"]), "")) for trial in told]
    headings = ["Trial", "State", "Settings drawn", "Run", "Value", "Epochs", "Seconds"]
    more = f"The best {len(rows)} of {len(trials)} trials; all of them are in the artifact {TRIALS}."
    return joined([table(headings, rows, label="trials", numbers=3), tag("p", more, class_="mute")])


def _order(run: PastRun, trials: Sequence[Mapping[str, Any]]) -> Any:
    """Best first: the best value, which the run knows, is the lowest or the highest; trials without one come last."""
    values = [trial["value 0"] for trial in trials if _has_value(trial)]
    best = run.metrics.get("best/value", math.nan)
    sign = -1 if values and best == max(values) != min(values) else 1
    return lambda trial: (not _has_value(trial), sign * trial["value 0"] if _has_value(trial) else trial["number"])


def _has_value(trial: Mapping[str, Any]) -> bool:
    return trial.get("state") == "COMPLETE" and cell(trial.get("value 0")) != "–"


def _trial(trial: Mapping[str, Any], run_id: str) -> list[object]:
    drawn = {name.removeprefix("param "): cell(value) for name, value in trial.items() if name.startswith("param ")}
    codes = (joined([tag("code", f"{name}={value}"), " "]) for name, value in drawn.items() if value != "–")
    values = [cell(value) for name, value in trial.items() if name.startswith("value ")]
    state = str(trial["state"]).lower()
    measured = [", ".join(values), cell(trial.get("n_epochs")), cell(trial.get("seconds"))]
    return [trial["number"], state, tag("div", *codes, class_="drawn"), _id(run_id), *measured]


def _id(run_id: str) -> Html:
    """A run's id, short enough for a table, whole when pointed at; `pipeline report` takes the short one."""
    return tag("code", run_id[:8], title=run_id, class_="id") if run_id else Html("–")


def _tables(run: PastRun) -> Html:
    """Parquet files beside a run's folders, such as a comparison's table."""
    paths = [path for path in run.files if "/" not in path and path.endswith(".parquet") and path != TRIALS]
    return joined(_table(path, _rows(run.files[path])) for path in paths)


def _table(path: str, rows: Sequence[Mapping[str, Any]]) -> Html:
    """The first rows of a table; what `NAME, low` and `NAME, high` hold stands below the value of NAME.

    A column that says the same in all rows is told once, below, for what differs to find room beside one another.
    """
    named = [name for name in (rows[0] if rows else ()) if not name.endswith((", low", ", high"))]
    texts = [name for name in named if any(isinstance(row[name], str | bool) for row in rows)]
    plain = [name for name in named if f"{name}, low" not in rows[0]]
    same = [name for name in plain if len({cell(row[name]) for row in rows}) == 1 < len(rows)]
    if set(texts) <= set(same):
        same = [name for name in same if name != named[0]]  # rows need a name
    names = [name for name in named if name not in same]
    numbers = next((place for place, name in enumerate(reversed(names)) if name in texts), len(names))
    cells = [[_with_ends(row, name) for name in names] for row in rows[:MOST_ROWS]]
    told = [f"In all rows: {', '.join(f'{name} {cell(rows[0][name])}' for name in same)}."] if same else []
    if len(rows) > MOST_ROWS:
        told.append(f"The first {MOST_ROWS} of {len(rows)} rows of {path}.")
    notes = [tag("p", line, class_="mute") for line in told]
    return joined([table(names, cells, label=path, numbers=numbers), *notes])


def _with_ends(row: Mapping[str, Any], name: str) -> Html:
    value, low, high = (cell(row.get(key)) for key in (name, f"{name}, low", f"{name}, high"))
    if "–" in (value, low, high):
        return escaped(value)
    return joined([value, " ", tag("div", f"({low} to {high})", class_="mute")])


def _rows(parquet: bytes) -> list[dict[str, Any]]:
    from pyarrow import parquet as reader

    rows: list[dict[str, Any]] = reader.read_table(io.BytesIO(parquet)).to_pylist()
    return rows


def _children(run: PastRun) -> Html:
    """Nested runs but for trials, which a study's table has, with what they reached in the test."""
    children = [child for child in run.children if child.kind != "trial"]
    if not children:
        return Html("")
    names = next((HEADLINES[task] for child in children if (task := child.tags.get("task", "")) in HEADLINES), ())
    rows = [
        [_what(child), child.status.lower(), _id(child.run_id)]
        + [cell(child.metrics.get(f"test/{name}")) for name in names]
        for child in children[:MOST_ROWS]
    ]
    headings = ["Name", "Status", "Run", *((CLASSIFICATION | REGRESSION)[name].label for name in names)]
    told = f"The first {MOST_ROWS} of {len(children)} runs." if len(children) > MOST_ROWS else "Metrics are the test's."
    return joined([table(headings, rows, label="nested runs", numbers=len(names)), tag("p", told, class_="mute")])


def _what(child: PastRun) -> str:
    """A nested run's name, after the role it has in a study, with its seed."""
    role, seed = child.tags.get("role"), child.params.get("seed")
    name = f"{role}, seed {seed}: {child.name}" if role and seed else child.name
    return name if child.kind in ("refit", "comparison-run", "leaderboard-run") else f"{name} ({child.kind})"
