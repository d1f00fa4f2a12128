"""Raw values, as JSON, CSV or a frame has them, to what a model takes; and every value that does not fit, named."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

import numpy as np

from pipeline.bundle import MISSING, Column, Schema, seconds_of

Unknown = Literal["reject", "impute"]
Values = Sequence[Any] | np.ndarray

SHOWN_LEVELS = 10  # of a column's known categories, in what is said of a fault
EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
UNREADABLE = object()
UNSEEN = 2 * MISSING  # stands for text that is no level: what was sent may hold what onnxruntime cannot take


class Fault(NamedTuple):
    """A value that does not fit: row from 1, None where a whole column is meant."""

    row: int | None
    field: str
    value: object
    expected: str

    def __str__(self) -> str:
        where = f"row {self.row}, " if self.row is not None else ""
        return f"{where}column '{self.field}': expected {self.expected}, got {self.value!r}"


class Rows(NamedTuple):
    """Columns (N,) for `Bundle.predict`, and what does not fit; a value at fault is missing in its column."""

    columns: dict[str, np.ndarray]
    faults: list[Fault]


def read_rows(
    schema: Schema, raw: Mapping[str, Values], n_rows: int, *, unknown: Unknown, textual: bool = False
) -> Rows:
    """Rows by column, checked.

    Args:
        schema: what the model takes.
        raw: values by column name, each of `n_rows`.
        n_rows: how many rows there are.
        unknown: whether missing values where training had none, categories never seen and further columns are faults,
            or taken as they come: filled in, treated as rare ones, left out.
        textual: whether all values are text, as in CSV: then "" is missing and numbers are read from it.
    """
    if n_rows == 1 and (plain := _plain_row(schema, raw)) is not None:
        return Rows(plain, [])
    faults: list[Fault] = []
    columns = {}
    for column in schema.columns:
        if column.name not in raw:
            faults.append(Fault(None, column.name, None, f"a column of {_plural(column)}; it is absent"))
            continue
        columns[column.name] = read_column(column, raw[column.name], faults, unknown=unknown, textual=textual)
    if unknown == "reject":
        known = {column.name for column in schema.columns}
        faults += [
            Fault(None, name, None, "no such column: the model was not trained with it")
            for name in raw
            if name not in known
        ]
    return Rows(columns, faults)


def _plain_row(schema: Schema, raw: Mapping[str, Values]) -> dict[str, np.ndarray] | None:
    """A row of finite numbers, known levels and dates, in a tenth of the time; None: it needs a closer look."""
    if len(raw) != len(schema.columns):
        return None
    figures: dict[str, float] = {}
    texts: dict[str, str] = {}
    for column in schema.columns:
        (value,) = raw.get(column.name, (None,))
        if column.kind == "datetime":
            value = _moment(value) if type(value) is str else None
        elif column.kind == "category" and type(value) is bool:
            value = str(value)
        if type(value) is float or type(value) is int:
            if column.kind == "category":
                return None
            figures[column.name] = value
        elif column.kind != "category" or type(value) is not str or value not in column.known:
            return None
        else:
            texts[column.name] = value
    try:
        x, words = np.array([*figures.values()], np.float64), np.array([*texts.values()], object)
    except OverflowError:
        return None
    if not np.isfinite(x).all():
        return None
    found = {name: x[at : at + 1] for at, name in enumerate(figures)}
    return found | {name: words[at : at + 1] for at, name in enumerate(texts)}


def read_column(
    column: Column, values: Values, faults: list[Fault], *, unknown: Unknown, textual: bool = False
) -> np.ndarray:
    """A column (N,) for `Bundle.predict`; what does not fit is added to the faults."""
    return READERS[column.kind](column, values, faults, unknown, textual)


def expected(column: Column, unknown: Unknown) -> str:
    """What a column takes, in words."""
    if column.kind == "category":
        known = ", ".join(map(repr, column.levels[:SHOWN_LEVELS]))
        words = f"one of {known}{', …' if len(column.levels) > SHOWN_LEVELS else ''}" if unknown == "reject" else "text"
    elif column.kind == "datetime":
        words = "a date such as 2020-01-31 or 2020-01-31T12:00:00"
    else:
        words = "a number"
        if column.low is not None and column.high is not None:
            words += f" (in training {column.low:g} to {column.high:g})"
    return words + (" or null" if column.missing or unknown == "impute" else "")


def _plural(column: Column) -> str:
    return {"number": "numbers", "category": "categories", "datetime": "dates"}[column.kind]


# ---------------------------------------------------------------- numbers
def _numbers(column: Column, values: Values, faults: list[Fault], unknown: Unknown, textual: bool) -> np.ndarray:
    x = _as_array(values, textual)
    if x is None:
        x = _one_by_one(column, values, faults, unknown, _textual_number if textual else _number)
    infinite = np.isinf(x)
    if infinite.any():
        faults += [_fault(column, row, values, unknown) for row in np.flatnonzero(infinite).tolist()]
        x = np.where(infinite, np.nan, x)
    return _checked_missing(column, x, values, faults, unknown)


def _as_array(values: Values, textual: bool) -> np.ndarray | None:
    """Numbers at once, where they are nothing but that."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "iuf":
        return values.astype(np.float64)
    if not textual and {*map(type, values)} <= {float, int, type(None)}:
        try:
            return np.array(values, np.float64)
        except OverflowError:  # a whole number that no double holds
            return None
    return None


def _number(value: Any) -> Any:
    if value is None:
        return math.nan
    if isinstance(value, bool | np.bool_ | str):
        return UNREADABLE
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan if str(value) in ("NaT", "<NA>") else UNREADABLE


def _textual_number(value: Any) -> Any:
    text = str(value).strip()
    if not text:
        return math.nan
    try:
        return float(text) if text.isascii() and "_" not in text else UNREADABLE
    except ValueError:
        return UNREADABLE


# ---------------------------------------------------------------- datetimes
def _seconds(column: Column, values: Values, faults: list[Fault], unknown: Unknown, textual: bool) -> np.ndarray:
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        x = np.where(np.isnat(values), np.nan, seconds_of(values.astype("datetime64[us]").astype(np.int64)))
    else:
        x = _one_by_one(column, values, faults, unknown, _moment)
    return _checked_missing(column, x, values, faults, unknown)


def _moment(value: Any) -> Any:
    """Seconds since 1970 of ISO 8601 text or of a date; in UTC where no zone is given."""
    if value is None or value == "" or value != value:
        return math.nan
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return UNREADABLE
    if not isinstance(value, datetime):
        return UNREADABLE
    try:
        passed = ((value if value.tzinfo else value.replace(tzinfo=UTC)) - EPOCH) // MICROSECOND
    except (OverflowError, ValueError):
        return UNREADABLE
    seconds, following = passed / 10**6, float(passed // 10**6 + 1)
    return seconds if seconds < following else math.nextafter(following, -math.inf)  # as `seconds_of` does of many


# ---------------------------------------------------------------- categories
def _texts(column: Column, values: Values, faults: list[Fault], unknown: Unknown, textual: bool) -> np.ndarray:
    found = np.empty(len(values), object)
    is_blank = textual or "" not in column.levels
    for row, value in enumerate(values.tolist() if isinstance(values, np.ndarray) else values):
        text = value if type(value) is str else _text(value)
        if textual and type(text) is str and text not in column.known:
            text = _as_a_file_is_read(text)
        if text is UNREADABLE or text == MISSING:
            faults.append(_fault(column, row, values, unknown))
            text = MISSING
        elif text is None or (is_blank and text == ""):
            if unknown == "reject" and not column.missing:
                faults.append(_fault(column, row, values, unknown))
            text = MISSING
        elif text not in column.known:
            if unknown == "reject" and not column.rare:
                faults.append(_fault(column, row, values, unknown))
            text = UNSEEN
        found[row] = text
    return found


def _as_a_file_is_read(text: str) -> str:
    """What training makes of a cell of CSV in a column of truths or of numbers: True of true, 1 of 1.0."""
    if text.lower() in ("true", "false"):
        return text.capitalize()
    number = _textual_number(text)
    return str(_text(number)) if isinstance(number, float) and math.isfinite(number) else text


def _text(value: Any) -> Any:
    """A value as training reads it: whole numbers without a decimal point; None for missing."""
    if value is None or value != value or str(value) in ("NaT", "<NA>"):
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    return str(value) if isinstance(value, str | int | np.generic) else UNREADABLE


# ---------------------------------------------------------------- faults
def _one_by_one(
    column: Column, values: Values, faults: list[Fault], unknown: Unknown, read: Callable[[Any], Any]
) -> np.ndarray:
    found = [read(value) for value in values]
    for row, value in enumerate(found):
        if value is UNREADABLE:
            faults.append(_fault(column, row, values, unknown))
            found[row] = math.nan
    return np.array(found, np.float64)


def _checked_missing(
    column: Column, x: np.ndarray, values: Values, faults: list[Fault], unknown: Unknown
) -> np.ndarray:
    if unknown == "reject" and not column.missing:
        told = {fault.row for fault in faults if fault.field == column.name} if faults else ()
        rows = np.flatnonzero(np.isnan(x)).tolist()
        faults += [_fault(column, row, values, unknown) for row in rows if row + 1 not in told]
    return x


def _fault(column: Column, row: int, values: Values, unknown: Unknown) -> Fault:
    value = values[row]
    return Fault(
        row + 1, column.name, value.item() if isinstance(value, np.generic) else value, expected(column, unknown)
    )


Reader = Callable[[Column, Values, list[Fault], Unknown, bool], np.ndarray]
READERS: dict[str, Reader] = {"number": _numbers, "datetime": _seconds, "category": _texts}
