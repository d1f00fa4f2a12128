"""The shape of a table before it is read: what a network can be chosen by."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from pipeline.config import Data, FileSection
from pipeline.data.columns import is_datetime, is_number
from pipeline.data.files import glance
from pipeline.data.sources import SOURCES, require_downloaded


class Shape(NamedTuple):
    """Rows of a table, and its feature columns by kind; moments are numbers."""

    n_rows: int
    n_numbers: int
    n_categories: int
    is_estimate: bool = False  # of `n_rows`, by the head of a large file

    def __str__(self) -> str:
        n_columns = self.n_numbers + self.n_categories
        rows = f"about {float(f'{self.n_rows:.2g}'):,.0f} rows" if self.is_estimate else f"{self.n_rows:,} rows"
        categories = f", {self.n_categories} of them categories" if self.n_categories else ""
        return f"{rows}, {n_columns} column{'s' * (n_columns != 1)}{categories}"


def shape_of(values: Mapping[str, Any]) -> Shape:
    """The shape of the table that a config's section names; of a large CSV file its first megabyte is read.

    Raises:
        DataError: the table cannot be read.
    """
    data: Data = TypeAdapter(Data).validate_python(values)
    require_downloaded(data)
    if isinstance(data, FileSection):
        targets = (data.target,) if isinstance(data.target, str) else data.target
        seen = glance(data.path, separator=data.separator, missing_values=data.missing_values)
        return _counted(data, targets, seen.is_category, seen.n_rows, is_estimate=seen.is_estimate)
    raw = SOURCES[data.name](data)
    columns = {name: raw.take(name) for name in raw.names}
    is_category = {name: not (is_number(column) or is_datetime(column)) for name, column in columns.items()}
    return _counted(data, raw.targets, is_category, raw.n_rows)


def _counted(
    data: Data, targets: tuple[str, ...], is_category: Mapping[str, bool], n_rows: int, *, is_estimate: bool = False
) -> Shape:
    features = [name for name in is_category if name not in (*targets, *data.drop, data.group)]
    n_categories = sum(is_category[name] or name in data.categorical for name in features)
    return Shape(n_rows, len(features) - n_categories, n_categories, is_estimate)
