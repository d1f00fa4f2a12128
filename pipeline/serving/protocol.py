"""What comes in and goes out over HTTP: MLflow's scoring protocol, as JSON or CSV, read strictly."""

import csv
import io
import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from pipeline.bundle import Schema
from pipeline.rows import Fault, Rows, Unknown, expected, read_rows

# a missing value in CSV, as training reads it
EMPTY = frozenset(("", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "<NA>", "#N/A"))
LISTED = 1000  # faults from which no more rows are looked at: millions of them would fill the memory
BLOCK = 4096  # rows read at a time
LONGEST_SHOWN = 200  # characters of a value at fault
FORMS = ("dataframe_split", "dataframe_records", "inputs", "instances")


class RefusedError(Exception):
    """A request that cannot be answered: its HTTP status, what is wrong, and each value that does not fit."""

    def __init__(self, status: int, message: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(message)
        self.status, self.message, self.faults = status, message, faults

    def body(self) -> dict[str, Any]:
        """What is answered, in MLflow's form with the faults added."""
        code = {400: "BAD_REQUEST", 422: "INVALID_PARAMETER_VALUE"}.get(self.status, "REQUEST_REFUSED")
        faults = [fault._asdict() | {"value": _shown(fault.value)} for fault in self.faults]
        return {"error_code": code, "message": self.message, "faults": faults}


class Table(NamedTuple):
    """Values by column, not looked at yet; `textual` where all of them are text."""

    columns: Mapping[str, Sequence[Any]]
    n_rows: int
    textual: bool = False


def parse(body: bytes, content_type: str, max_rows: int, known: Collection[str]) -> Table:
    """The table of a request, columns that are not `known` by name alone; raises RefusedError for what is none."""
    kind, _, parameters = content_type.lower().replace(" ", "").replace('"', "").partition(";")
    if parameters not in ("", "charset=utf-8"):
        raise RefusedError(415, f"Content-Type must say charset=utf-8 or nothing more, got {parameters}")
    if kind == "text/csv":
        table = _of_csv(body)
    elif kind in ("application/json", ""):
        table = _of_json(body, known)
    else:
        raise RefusedError(415, f"Content-Type must be application/json or text/csv, got {kind}")
    if table.n_rows == 0:
        raise RefusedError(422, "the table has no rows; send one at least")
    if table.n_rows > max_rows:
        raise RefusedError(413, f"a request may have {max_rows} rows, got {table.n_rows}; send several")
    return table


def read(schema: Schema, table: Table, unknown: Unknown) -> Rows:
    """The rows, block by block, up to the one with the LISTED-th fault."""
    parts: list[dict[str, np.ndarray]] = []
    faults: list[Fault] = []
    for start in range(0, table.n_rows, BLOCK):
        cells = {name: values[start : start + BLOCK] for name, values in table.columns.items()}
        n_rows = min(BLOCK, table.n_rows - start)
        columns, found = read_rows(schema, cells, n_rows, unknown=unknown, textual=table.textual)
        parts.append(columns)
        faults += [f._replace(row=f.row + start) if f.row else f for f in found if f.row or not start]
        if len(faults) >= LISTED:
            break
    if len(parts) == 1:
        return Rows(parts[0], faults)
    return Rows({name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, faults)


def require_fitting(rows: Rows) -> None:
    """Raise RefusedError with every value that does not fit; where they are very many, with the first ones."""
    n = len(rows.faults)
    if n > LISTED:
        raise RefusedError(422, f"{n} values or more do not fit the model; the first {LISTED}", rows.faults[:LISTED])
    if n:
        raise RefusedError(422, f"{n} value{'s do' if n > 1 else ' does'} not fit the model", rows.faults)


def _shown(value: Any) -> Any:
    """A value at fault as JSON can hold it, not too long."""
    if value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    try:
        text = str(value)
    except RecursionError:  # lists in lists in lists
        text = type(value).__name__
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"


def records(answers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Answers by column as a record a row."""
    names = list(answers)
    columns = [values.tolist() if hasattr(values, "tolist") else values for values in answers.values()]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


# ---------------------------------------------------------------- JSON
def _of_json(body: bytes, known: Collection[str]) -> Table:
    given = load(body)
    if not isinstance(given, dict):
        raise RefusedError(400, f"the body must be a JSON object with one of {', '.join(FORMS)}")
    forms = [form for form in FORMS if form in given]
    others = [name for name in given if name not in (*FORMS, "params")]
    if len(forms) != 1 or others or given.get("params"):
        what = (
            f"got {', '.join(map(repr, given)) or 'none'}" if not given.get("params") else "the model takes no params"
        )
        raise RefusedError(400, f"the body must have exactly one of {', '.join(FORMS)}; {what}")
    form, content = forms[0], given[forms[0]]
    if form == "dataframe_split":
        return _of_split(content)
    if form == "inputs" and isinstance(content, dict):
        return _of_columns(content)
    return _of_records(form, content, known)


def load(body: bytes) -> Any:
    """A JSON document; raises RefusedError. NaN and Infinity are none of JSON's numbers."""

    def refuse(word: str) -> NoReturn:
        raise RefusedError(400, f"the body is not JSON: {word} is no JSON number; use null for a missing value")

    try:
        return json.loads(body, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, f"the body is not JSON: {error}") from error


def _of_split(content: Any) -> Table:
    if not isinstance(content, dict) or not {"columns", "data"} <= {*content} <= {"columns", "data", "index"}:
        raise RefusedError(400, "dataframe_split must be an object with columns and data")
    names, data = content["columns"], content["data"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len({*names}) < len(names):
        raise RefusedError(400, "dataframe_split.columns must be a list of different names")
    if not isinstance(data, list):
        raise RefusedError(400, "dataframe_split.data must be a list of rows")
    for number, row in enumerate(data, 1):
        if not isinstance(row, list) or len(row) != len(names):
            raise RefusedError(400, f"dataframe_split.data: row {number} must be a list of {len(names)} values")
    return Table({name: [row[at] for row in data] for at, name in enumerate(names)}, len(data))


def _of_columns(content: dict[str, Any]) -> Table:
    lists = {name: values if isinstance(values, list) else [values] for name, values in content.items()}
    lengths = {len(values) for values in lists.values()}
    if len(lengths) > 1:
        raise RefusedError(400, f"inputs: columns must be of one length, got {', '.join(map(str, sorted(lengths)))}")
    return Table(lists, lengths.pop() if lengths else 0)


def _of_records(form: str, content: Any, known: Collection[str]) -> Table:
    if not isinstance(content, list):
        raise RefusedError(400, f"{form} must be a list of objects")
    for number, row in enumerate(content, 1):
        if not isinstance(row, dict):
            raise RefusedError(400, f"{form}: row {number} must be an object of column and value")
    if len(content) == 1:
        return Table({name: [value] for name, value in content[0].items()}, 1)
    names = dict.fromkeys(name for row in content for name in row)  # rows of names of their own would be a huge table
    return Table({name: [row.get(name) for row in content] if name in known else () for name in names}, len(content))


# ---------------------------------------------------------------- CSV
def _of_csv(body: bytes) -> Table:
    try:
        lines = list(csv.reader(io.StringIO(body.decode("utf-8-sig")), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise RefusedError(400, f"the body is not CSV in UTF-8: {error}") from error
    lines = [line for line in lines if line]
    if not lines:
        raise RefusedError(400, "the body is empty; the first line must name the columns")
    names, *data = lines
    if len({*names}) < len(names):
        raise RefusedError(400, "the first line must name different columns")
    for number, row in enumerate(data, 1):
        if len(row) != len(names):
            raise RefusedError(400, f"row {number} has {len(row)} values, the first line names {len(names)} columns")
    columns = {name: ["" if row[at] in EMPTY else row[at] for row in data] for at, name in enumerate(names)}
    return Table(columns, len(data), textual=True)


# ---------------------------------------------------------------- what is told of it
def describe(schema: Schema, unknown: Unknown, *, max_rows: int, max_bytes: int) -> dict[str, Any]:
    """The schema for those who send rows: columns, what is refused, what comes back."""
    from pipeline.flavor import example_row

    columns = []
    for column, example in zip(schema.columns, example_row(schema.columns), strict=True):
        told: dict[str, Any] = {"name": column.name, "kind": column.kind, "expected": expected(column, unknown)}
        told |= {"nullable": column.missing or unknown == "impute", "example": example}
        if column.kind == "category":
            told |= {"levels": list(column.levels), "open": column.rare or unknown == "impute"}
        else:
            told |= {"low": column.low, "high": column.high, "integer": column.integer}
        columns.append(told)
    rules = {
        "reject": "missing values where training had none, categories never seen and further columns are errors",
        "impute": "missing values are filled in, categories never seen taken as rare ones, further columns left out",
    }
    return {
        "name": schema.name,
        "task": schema.task,
        "targets": list(schema.targets),
        "classes": list(schema.classes),
        "columns": columns,
        "unknown": unknown,
        "rule": rules[unknown],
        "coverage": schema.coverage,
        "max_rows": max_rows,
        "max_bytes": max_bytes,
        "run_id": schema.run_id,
        "metrics": dict(schema.metrics),
        "created": schema.created,
    }
