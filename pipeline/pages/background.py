"""What stands behind a run, as parts of its page: its trials or parts, data, settings, and how to run it again."""

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import yaml

from pipeline.metrics import metrics_of, shown
from pipeline.pages.document import Html, Part, code, escaped, facts, joined, table, tag
from pipeline.pages.past import BEST, CONFIG, PastRun

TRIALS = "trials.parquet"
MOST_TRIALS, MOST_ROWS, MOST_COLUMNS, MOST_LEVELS = 20, 50, 200, 8
PARTS = {"train": "to train", "training": "to train", "validation": "to validate", "test": "to test"}
KINDS = {"number": "number", "category": "category", "datetime": "moment"}


def background_parts(run: PastRun) -> Iterator[Part]:
    """The sections that the run has something for."""
    sections = {
        "Trials": _trials(run),
        "Table": _tables(run),
        "Runs": _children(run),
        "Data": _data(run),
        "Settings": _settings(run),
        "Run it again": _again(run),
    }
    yield from (Part(title, content) for title, content in sections.items() if content)


def cell(value: object) -> str:
    """A value of a table for people: missing is –, four digits of what is no whole number."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else shown(value)
    return str(value)


# ---------------------------------------------------------------- trials, tables, nested runs
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
    settings = joined(joined([tag("code", f"{name}={value}"), " "]) for name, value in drawn.items() if value != "–")
    values = [cell(value) for name, value in trial.items() if name.startswith("value ")]
    state = str(trial["state"]).lower()
    measured = [", ".join(values), cell(trial.get("n_epochs")), cell(trial.get("seconds"))]
    return [trial["number"], state, settings, _id(run_id), *measured]


def _id(run_id: str) -> Html:
    """A run's id, short enough for a table, whole when pointed at; `pipeline report` takes the short one."""
    return tag("code", run_id[:8], title=run_id) if run_id else Html("–")


def _tables(run: PastRun) -> Html:
    """Parquet files beside a run's folders, such as a comparison's table."""
    parts = []
    for path, content in run.files.items():
        if "/" not in path and path.endswith(".parquet") and path != TRIALS:
            rows = _rows(content)
            headings = [*rows[0]] if rows else []
            numbers = next((at for at, name in enumerate(reversed(headings)) if not _is_number(rows[0][name])), 0)
            cells = [[cell(value) for value in row.values()] for row in rows[:MOST_ROWS]]
            parts.append(table(headings, cells, label=path, numbers=numbers))
            if len(rows) > MOST_ROWS:
                parts.append(tag("p", f"The first {MOST_ROWS} of {len(rows)} rows of {path}.", class_="mute"))
    return joined(parts)


def _rows(parquet: bytes) -> list[dict[str, Any]]:
    from pyarrow import parquet as reader

    rows: list[dict[str, Any]] = reader.read_table(io.BytesIO(parquet)).to_pylist()
    return rows


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _children(run: PastRun) -> Html:
    """Nested runs but for trials, which a study's table has, with what they reached in the test."""
    children = [child for child in run.children if child.kind != "trial"]
    if not children:
        return Html("")
    names = _told_metrics(children)
    rows = [
        [_what(child), child.name, child.status.lower(), _id(child.run_id)]
        + [cell(child.metrics.get(name)) for name in names]
        for child in children[:MOST_ROWS]
    ]
    headings = ["Part", "Name", "Status", "Run", *names]
    more = [tag("p", f"{MOST_ROWS} of {len(children)} runs.", class_="mute")] if len(children) > MOST_ROWS else []
    return joined([table(headings, rows, label="nested runs", numbers=len(names)), *more])


def _told_metrics(children: Sequence[PastRun]) -> list[str]:
    """The first three test metrics that any of them has."""
    found = {name for child in children for name in child.metrics}
    known = [f"test/{name}" for task in ("binary", "regression") for name in metrics_of(task)]  # type: ignore[arg-type]
    return [name for name in known if name in found][:3]


def _what(child: PastRun) -> str:
    named = [child.tags.get(tag_name, "") for tag_name in ("role", "label")]
    seed = [f"seed {child.params['seed']}"] if "seed" in child.params else []
    return ", ".join([*filter(None, named), *seed]) or child.kind


# ---------------------------------------------------------------- data
def _data(run: PastRun) -> Html:
    schema = run.schema
    if not schema and not run.splits:
        return Html("")
    sizes = ", ".join(f"{rows:,} {PARTS.get(name, name)}" for name, rows in run.splits.items())
    classes = [str(label) for label in schema.get("classes", ())]
    told = {
        "Data set": run.tags.get("data"),
        "Source": tag("code", run.source) if run.source else None,
        "Task": run.tags.get("task"),
        "Target": ", ".join(schema.get("targets", ())),
        "Classes": _few(classes),
        "Rows": sizes,
        "Columns": str(len(schema.get("columns", ()))) if schema else None,
        "Digest of the table": tag("code", run.tags["digest"]) if "digest" in run.tags else None,
    }
    return joined([facts(told), _columns(schema["columns"]) if schema else ""])


def _columns(columns: Sequence[Mapping[str, Any]]) -> Html:
    headings = ["Column", "Kind", "Missing", "In the training rows", "Example"]
    rows = [
        [
            tag("strong", column["name"]),
            f"whole {column['kind']}" if column["integer"] and column["kind"] == "number" else KINDS[column["kind"]],
            "some" if column["missing"] else "none",
            _range(column),
            _value(column["example"], column["kind"]),
        ]
        for column in columns[:MOST_COLUMNS]
    ]
    more = len(columns) - len(rows)
    told = [tag("p", f"And {more} more columns.", class_="mute")] if more else []
    return joined([table(headings, rows, label="columns"), *told])


def _range(column: Mapping[str, Any]) -> str:
    if column["kind"] == "category":
        return f"{len(column['levels'])} levels: {_few(column['levels'])}{' and rare ones' * bool(column.get('rare'))}"
    return f"{_value(column['low'], column['kind'])} to {_value(column['high'], column['kind'])}"


def _value(value: Any, kind: str) -> str:
    """A value of a column; moments are stored as seconds since 1970."""
    if kind == "datetime" and isinstance(value, int | float):
        moment = datetime.fromtimestamp(value, UTC)
        return f"{moment:%Y-%m-%d}" if value % 86400 == 0 else f"{moment:%Y-%m-%d %H:%M}"
    return cell(value)


def _few(names: Sequence[str]) -> str:
    more = len(names) - MOST_LEVELS
    return ", ".join(names[:MOST_LEVELS]) + (f" and {more} more" if more > 0 else "")


# ---------------------------------------------------------------- settings
def _settings(run: PastRun) -> Html:
    """Whole configs with what differs from the defaults marked, other YAML files as they are; else the params."""
    parts, marked = [], False
    for path in sorted((path for path in run.files if path.endswith(".yaml")), key=lambda path: path != BEST):
        if path in (CONFIG, BEST):
            marked = bool(run.defaults.get(path))
            text = joined(_lines(run.yaml(path), run.defaults.get(path, {})))
        else:
            text = escaped(run.files[path].decode())
        parts += [tag("h3", path), code(text, path)]
    if not parts:
        rows = sorted(run.params.items())
        return table(["Setting", "Value"], rows, label="settings") if rows else Html("")
    told = "Marked: what differs from the defaults of the chosen groups, with the default beside it."
    return joined([tag("p", told, class_="mute") if marked else "", *parts])


def _lines(values: Mapping[str, Any], defaults: Mapping[str, object], prefix: str = "", depth: int = 0) -> Iterator[Html]:
    """YAML lines of nested values; those that differ from their default by dotted path are marked."""
    for name, value in values.items():
        path = f"{prefix}{name}"
        indent, key = "  " * depth, yaml.safe_dump(name, allow_unicode=True).partition("\n")[0]
        if isinstance(value, Mapping) and value:
            yield joined([indent, key, ":\n"])
            yield from _lines(value, defaults, f"{path}.", depth + 1)
            continue
        line = f"{key}: {_scalar(value)}"
        if path in defaults and defaults[path] != value:
            told = tag("span", f"  # default: {_scalar(defaults[path])}", class_="comment")
            yield joined([indent, tag("mark", line), told, "\n"])
        elif defaults and path not in defaults:
            yield joined([indent, tag("mark", line), "\n"])
        else:
            yield joined([indent, line, "\n"])


def _scalar(value: object) -> str:
    """A value in one line of YAML."""
    return yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=math.inf).removesuffix("...\n").strip()


# ---------------------------------------------------------------- again
def _again(run: PastRun) -> Html:
    typed = run.tags.get("mlflow.source.name", "").replace("__main__.py", "python -m pipeline", 1)
    commit, dirty = run.tags.get("mlflow.source.git.commit", ""), run.tags.get("mlflow.source.git.dirty") == "true"
    seconds = {name[5:]: value for name, value in run.metrics.items() if name.startswith("time/") and name != "time/epoch"}
    parts = []
    if CONFIG in run.files:
        parts.append(tag("p", "With the settings above saved as ", tag("code", CONFIG), ", on the same table:"))
        parts.append(code(f"pipeline train --config {CONFIG}", "the command"))
    versions = {name[8:]: number for name, number in sorted(run.tags.items()) if name.startswith("version.")}
    told = {
        "Run": tag("code", run.run_id),
        "Started by": tag("code", typed) if typed else None,
        "User": run.tags.get("mlflow.user"),
        "Git commit": joined([tag("code", commit[:12]), " with changes" if dirty else ""]) if commit else None,
        "Registered": run.registered,
        "Torch threads": run.tags.get("threads"),
        "Digest of the test rows": tag("code", run.tags["test_digest"]) if "test_digest" in run.tags else None,
        "Seconds by part": ", ".join(f"{part} {value:.2g}" for part, value in seconds.items()),
        "Packages": ", ".join(f"{name} {number}" for name, number in versions.items()),
    }
    return joined([*parts, facts(told | _seeds(run))])


def _seeds(run: PastRun) -> dict[str, object]:
    config = run.yaml(CONFIG) or {}
    found = {"Seed": config.get("seed"), "Seed of the split": config.get("data", {}).get("split_seed")}
    return {name: str(value) for name, value in found.items() if value is not None}
