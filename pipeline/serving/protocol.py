"""What comes in and goes out over HTTP: MLflow's scoring protocol, as JSON or CSV, read strictly."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from pipeline.bundle import Schema
from pipeline.rows import Fault, Unknown, expected, read_rows

FORMS = ("dataframe_split", "dataframe_records", "inputs", "instances")


class RefusedError(Exception):
    """A request that cannot be answered: its HTTP status, what is wrong, and each value that does not fit."""

    def __init__(self, status: int, message: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(message)
        self.status, self.message, self.faults = status, message, faults

    def body(self) -> dict[str, Any]:
        """What is answered, in MLflow's form with the faults added."""
        code = {400: "BAD_REQUEST", 422: "INVALID_PARAMETER_VALUE"}.get(self.status, "REQUEST_REFUSED")
        return {"error_code": code, "message": self.message, "faults": [fault._asdict() for fault in self.faults]}


class Table(NamedTuple):
    """Values by column, not looked at yet; `textual` where all of them are text."""

    columns: Mapping[str, Sequence[Any]]
    n_rows: int
    textual: bool = False


def parse(body: bytes, content_type: str, max_rows: int) -> Table:
    """The table of a request; raises RefusedError for what is none."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "text/csv":
        table = _of_csv(body)
    elif kind in ("application/json", ""):
        table = _of_json(body)
    else:
        raise RefusedError(415, f"Content-Type must be application/json or text/csv, got {kind}")
    if table.n_rows == 0:
        raise RefusedError(422, "the table has no rows; send one at least")
    if table.n_rows > max_rows:
        raise RefusedError(413, f"a request may have {max_rows} rows, got {table.n_rows}; send several")
    return table


def checked(schema: Schema, table: Table, unknown: Unknown) -> dict[str, Any]:
    """Columns for `Bundle.predict`; raises RefusedError with every value that does not fit."""
    rows = read_rows(schema, table.columns, table.n_rows, unknown=unknown, textual=table.textual)
    if rows.faults:
        n = len(rows.faults)
        raise RefusedError(422, f"{n} value{'s do' if n > 1 else ' does'} not fit the model", rows.faults)
    return rows.columns


def records(answers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Answers by column as a record a row."""
    names = list(answers)
    columns = [values.tolist() if hasattr(values, "tolist") else values for values in answers.values()]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


# ---------------------------------------------------------------- JSON
def _of_json(body: bytes) -> Table:
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
    return _of_records(form, content)


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


def _of_records(form: str, content: Any) -> Table:
    if not isinstance(content, list):
        raise RefusedError(400, f"{form} must be a list of objects")
    for number, row in enumerate(content, 1):
        if not isinstance(row, dict):
            raise RefusedError(400, f"{form}: row {number} must be an object of column and value")
    if len(content) == 1:
        return Table({name: [value] for name, value in content[0].items()}, 1)
    names = dict.fromkeys(name for row in content for name in row)
    return Table({name: [row.get(name) for row in content] for name in names}, len(content))


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
    return Table({name: [row[at] for row in data] for at, name in enumerate(names)}, len(data), textual=True)


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
