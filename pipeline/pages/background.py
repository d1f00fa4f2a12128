"""What stands behind a run, as parts of its page: its data, its settings, and how to run it again."""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import yaml

from pipeline.pages.document import Html, Part, cell, code, facts, filled, joined, table, tag
from pipeline.pages.past import BEST, CONFIG, PastRun

MOST_COLUMNS, MOST_LEVELS = 200, 8
PARTS = {"train": "to train", "training": "to train", "validation": "to validate", "test": "to test"}
COMMANDS = {CONFIG: "train", "study.yaml": "study"}  # that take a file of settings
KINDS = {"number": "number", "category": "category", "datetime": "moment"}


def background_parts(run: PastRun) -> list[Part]:
    """The sections that the run has something for."""
    sections = {
        "Data": _data(run),
        "Settings": _settings(run),
        "Run it again": _again(run),
    }
    return filled(sections)


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
            tag("strong", cell(column["name"])),
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
    return ", ".join(map(cell, names[:MOST_LEVELS])) + (f" and {more} more" if more > 0 else "")


# ---------------------------------------------------------------- settings
def _settings(run: PastRun) -> Html:
    """The best or the run's whole config, other YAML files as they are; of a run without any the params."""
    paths = sorted((path for path in run.files if path.endswith(".yaml")), key=lambda path: path != BEST)
    if not paths:
        return table(["Setting", "Value"], sorted(run.params.items()), label="settings") if run.params else Html("")
    return joined(joined([tag("h3", path), *_file(run, path)]) for path in paths)


def _file(run: PastRun, path: str) -> Iterator[Html]:
    """A YAML file, of a config with what differs from the defaults before it and marked in it."""
    if path not in (CONFIG, BEST):
        yield code(run.files[path].decode(), path)
        return
    values, defaults = run.yaml(path), run.defaults.get(path, {})
    differing = _differing(values, defaults)
    if differing:
        told = joined(joined([tag("code", f"{name}={_scalar(value)}"), " "]) for name, value in differing.items())
        yield tag("p", "Differs from the defaults, and is marked: ", told)
    yield code(joined(_lines(values, differing, defaults)), path)


def _differing(values: Mapping[str, Any], defaults: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """By dotted path the values that are not the default; none where the defaults are not known."""
    found: dict[str, object] = {}
    for name, value in values.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            found |= _differing(value, defaults, f"{path}.")
        elif defaults and (path not in defaults or defaults[path] != value):
            found[path] = value
    return found


def _lines(
    values: Mapping[str, Any],
    differing: Mapping[str, object],
    defaults: Mapping[str, object],
    prefix: str = "",
    depth: int = 0,
) -> Iterator[Html]:
    """YAML lines of nested values; those by dotted path in `differing` are marked, their default beside them."""
    for name, value in values.items():
        path = f"{prefix}{name}"
        indent, key = "  " * depth, yaml.safe_dump(name, allow_unicode=True).partition("\n")[0]
        if isinstance(value, Mapping) and value:
            yield joined([indent, key, ":\n"])
            yield from _lines(value, differing, defaults, f"{path}.", depth + 1)
            continue
        line = f"{key}: {_scalar(value)}"
        if path not in differing:
            yield joined([indent, line, "\n"])
            continue
        usual = f"  # default: {_scalar(defaults[path])}" if path in defaults else ""
        yield joined([indent, tag("mark", line), tag("span", usual, class_="comment"), "\n"])


def _scalar(value: object) -> str:
    """A value in one line of YAML."""
    return (
        yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=math.inf).removesuffix("...\n").strip()
    )


# ---------------------------------------------------------------- again
def _again(run: PastRun) -> Html:
    typed = run.tags.get("mlflow.source.name", "").replace("__main__.py", "python -m pipeline", 1)
    commit, dirty = run.tags.get("mlflow.source.git.commit", ""), run.tags.get("mlflow.source.git.dirty") == "true"
    seconds = {
        name[5:]: value for name, value in run.metrics.items() if name.startswith("time/") and name != "time/epoch"
    }
    parts = []
    for file, command in COMMANDS.items():
        if file in run.files:
            parts.append(tag("p", "With the settings above saved as ", tag("code", file), ", on the same table:"))
            parts.append(code(f"pipeline {command} --config {file}", "the command"))
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
