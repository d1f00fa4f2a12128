"""What raw columns hold, as a model's bundle tells it, and their values as a bundle takes them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.bundle import MISSING, Column, seconds_of
from pipeline.data.columns import as_moments, as_numbers, decoded, is_datetime, is_number, text_codes

EPOCH = pd.Timestamp("1970-01-01", tz="UTC").as_unit("s")  # the nanoseconds that are the default end in 2262
SAMPLED_ROWS = 256  # test rows kept as they were read: a bundle is compared with its network on them


def raw_values(column: pd.Series) -> np.ndarray:
    """A column (N,) as `Bundle.predict` takes it; numbers and moments as float64, else objects of str."""
    if is_number(column):
        return as_numbers(column).to_numpy(dtype=np.float64, na_value=np.nan)
    if is_datetime(column):  # whole microseconds: nanoseconds before midnight would round to midnight
        passed = (as_moments(column) - EPOCH).to_numpy().astype("timedelta64[us]")
        return np.where(np.isnat(passed), np.nan, seconds_of(passed.astype(np.int64)))
    codes, labels = text_codes(decoded(column))  # of a few rows, not every text of the column
    texts: np.ndarray = np.array([*labels, MISSING], dtype=object)[codes]  # −1, missing, takes the last
    return texts


def describe_numbers(column: pd.Series, train: np.ndarray) -> Column:
    """What a column of numbers or moments holds in its training rows, `train` as `raw_values` gives them."""
    seen = train[~np.isnan(train)]
    is_moment = is_datetime(column)
    return Column(
        name=str(column.name),
        kind="datetime" if is_moment else "number",
        missing=len(seen) < len(train),
        integer=bool(not is_moment and len(seen) and np.array_equal(seen, np.floor(seen))),
        low=float(seen.min()) if len(seen) else None,
        high=float(seen.max()) if len(seen) else None,
        levels=(),
        example=None if np.isnan(train[0]) else float(train[0]),
    )


def describe_categories(
    name: str, codes: np.ndarray, labels: Sequence[str], levels: tuple[str, ...], *, missing: bool, rare: bool
) -> Column:
    """What a categorical column holds: codes (N,) into `labels`, of which `levels` are known to the model."""
    example = labels[codes[0]] if codes[0] >= 0 else None
    return Column(name, "category", missing, False, None, None, levels, example, rare)


def sampled(n_rows: int) -> np.ndarray:
    """Positions of the rows kept of `n_rows`, spread evenly."""
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, SAMPLED_ROWS)).astype(np.int64))
