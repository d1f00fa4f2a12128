"""What a column holds: numbers, moments, text; and one kind read as another."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import DataError

ALMOST = 0.8  # share of numbers (or dates) from which a text column is a column of them with mistakes in it
LONGEST_SHOWN = 50  # characters of a value in a message
ISO_DATE = r"\d{4}-\d{2}-\d{2}([T ]|$)"


def is_number(column: pd.Series) -> bool:
    """Whether a column holds numbers (booleans are categories)."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def is_datetime(column: pd.Series) -> bool:
    """Whether a column holds dates or times."""
    return pd.api.types.is_datetime64_any_dtype(column)


def row_of(bad: pd.Series | np.ndarray) -> int:
    """Number, from 1, of the first row marked."""
    return int(np.asarray(bad).argmax()) + 1


def misfits(column: pd.Series, bad: pd.Series | np.ndarray, what: str, where: str = "", fix: str = "") -> DataError:
    """The error for values that are not what they should be; `bad` marks them."""
    return DataError(
        f"column '{column.name}'{where}: {int(np.sum(bad))} of {len(column)} values are not {what}, "
        f"first is '{shown(column[np.asarray(bad)].iloc[0])}' in row {row_of(bad)}{fix}"
    )


def shown(value: object) -> str:
    """A value as a message shows it: on one line, not too long."""
    text = " ".join(str(value).split())
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"


def override(setting: str, value: str) -> str:
    """`setting=[value]` as it can be typed in a shell."""
    return f"{setting}=[{value}]" if re.fullmatch(r"[a-zA-Z]\w*", value, re.ASCII) else f"'{setting}=[\"{value}\"]'"


def as_numbers(column: pd.Series, where: str = "") -> pd.Series:
    """A column of numbers, booleans or text that says numbers, as numbers.

    Raises:
        DataError: another value.
    """
    if is_number(column):
        return column
    numbers = pd.to_numeric(column, errors="coerce")
    bad = column.notna() & (numbers.isna() | is_datetime(column))
    if bad.any():
        raise misfits(column, bad, "numbers", where)
    return numbers


def as_moments(column: pd.Series, where: str = "") -> pd.Series:
    """A column of dates, or of text that says dates as ISO 8601 does, as moments in UTC.

    Raises:
        DataError: another value.
    """
    if column.isna().all():
        return pd.Series(pd.NaT, column.index, "datetime64[us, UTC]", column.name)
    try:
        if not is_number(column):
            return pd.to_datetime(column, utc=True, format="ISO8601")
    except (ValueError, TypeError):
        pass
    raise misfits(column, ~column.map(_is_moment), "dates such as 2020-01-31", where)


def _is_moment(value: Any) -> bool:
    if isinstance(value, (int, float)):
        return value != value
    try:
        pd.to_datetime(value, format="ISO8601")
    except (ValueError, TypeError):
        return False
    return True


def as_datetimes(frame: pd.DataFrame, *, besides: Sequence[str] = ()) -> pd.DataFrame:
    """Date objects, and text that is almost throughout an ISO date, become moments; columns of `besides` stay."""
    found: dict[str, pd.Series] = {}
    for name, column in frame.items():
        if name in besides or not is_textual(column):
            continue
        sample = column.dropna().head(100).astype(str)
        if len(sample) and sample.str.match(ISO_DATE).mean() >= ALMOST:
            found[str(name)] = as_moments(column)
    return frame.assign(**found)


def text_codes(column: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Codes (N,) into a column's distinct values as text, whole numbers without a decimal point; −1: missing."""
    codes, values = pd.factorize(column)
    return codes, [str(int(v)) if isinstance(v, float) and v.is_integer() else str(v) for v in values.tolist()]


def as_text(column: pd.Series) -> pd.Series:
    """A column's values as text, missing ones kept."""
    codes, labels = text_codes(column)
    return pd.Series(np.array([*labels, None], dtype=object)[codes], column.index, object, column.name)


def is_textual(column: pd.Series) -> bool:
    """Whether a column may hold text: whatever has no more telling type."""
    return not (
        is_number(column) or is_datetime(column) or pd.api.types.is_bool_dtype(column) or column.dtype == "category"
    )


def is_opaque(column: pd.Series) -> bool:
    """Whether values are lists, structs, bytes: nothing that a feature or a target can be made of."""
    if column.dtype != object:
        return False
    kind = pd.api.types.infer_dtype(column)
    return kind == "bytes" or (kind == "mixed" and not column.dropna().map(pd.api.types.is_scalar).all())
