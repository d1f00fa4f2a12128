"""What a column holds: numbers, moments, text; and one kind read as another."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

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


def is_coded(column: pd.Series) -> bool:
    """Whether a column is text as files give it: codes into its distinct values."""
    return isinstance(column.dtype, pd.ArrowDtype) and pa.types.is_dictionary(column.dtype.pyarrow_dtype)


def decoded(column: pd.Series) -> pd.Series:
    """A column with its text, if it holds any, as pandas has it."""
    if not is_coded(column):
        return column
    text = pa.array(column.array).cast(pa.string()).to_pandas()
    return pd.Series(text.array, column.index, name=column.name)


def kind_of(column: pd.Series) -> str:
    """What pandas calls a column's type."""
    return "str" if is_coded(column) else str(column.dtype)


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
    column = decoded(column)
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
    column = decoded(column)
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


def as_datetime(column: pd.Series) -> pd.Series:
    """Date objects, and text that is almost throughout an ISO date, as moments; another column as it is.

    Raises:
        DataError: a value that is no date.
    """
    if not is_textual(column):
        return column
    sample = column.iloc[np.flatnonzero(column.notna())[:100]].astype(str)
    return as_moments(column) if len(sample) and sample.str.match(ISO_DATE).mean() >= ALMOST else column


def text_codes(column: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Codes (N,) into distinct texts, whole numbers without a decimal point; −1: missing. Not every text need occur."""
    if is_coded(column):
        coded = pa.chunked_array(pa.array(column.array)).combine_chunks()
        codes, values = pc.fill_null(coded.indices, -1).to_numpy(), coded.dictionary.to_pylist()
    else:
        codes, index = pd.factorize(column)
        values = index.tolist()
    labels = [str(int(v)) if isinstance(v, float) and v.is_integer() else str(v) for v in values]
    distinct = list(dict.fromkeys(labels))
    if len(distinct) < len(labels):  # values of several types that read the same
        codes = np.append(pd.Index(distinct).get_indexer(pd.Index(labels)), -1)[codes]
    return codes, distinct


def n_distinct(column: pd.Series) -> int:
    """How many distinct values occur."""
    if not is_coded(column):
        return int(column.nunique())
    codes, labels = text_codes(column)
    occurs = np.zeros(len(labels) + 1, bool)
    occurs[codes] = True  # −1, missing, the last
    return int(np.count_nonzero(occurs[:-1]))


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


def require_finite(column: pd.Series, where: str) -> None:
    """Refuse a column of numbers with infinite ones."""
    if pd.api.types.is_integer_dtype(column):
        return
    infinite = np.isinf(column.to_numpy(dtype=float, na_value=np.nan))
    if infinite.any():
        raise DataError(
            f"column '{column.name}'{where}: {int(infinite.sum())} of {len(column)} values are infinite, "
            f"first in row {row_of(infinite)}; make them missing or finite"
        )
