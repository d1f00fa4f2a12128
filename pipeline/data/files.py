"""Reading a table file: CSV, gzipped CSV, Parquet."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from pipeline.data.columns import as_text, is_opaque, shown
from pipeline.errors import DataError

MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "<NA>", "#N/A")
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
LARGEST_CELL = 1 << 28  # bytes; beyond Arrow's block of 1 MB only where a first reading failed


def read_file(
    path: str, setting: str = "data.path", *, separator: str = ",", missing_values: Sequence[str] = ()
) -> pd.DataFrame:
    """A table file as a frame; format and compression are told by the suffix.

    Raises:
        DataError: no such file, a suffix that is not read, an empty or broken file, a column name given twice.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(f"{setting}: no such file, got '{path}'")
    if not file.name.lower().endswith((".csv", ".csv.gz", ".parquet")):
        raise DataError(f"{setting}: must end in .csv, .csv.gz or .parquet, got '{path}'")
    is_parquet = file.suffix.lower() == ".parquet"
    try:
        table = _read_parquet(file) if is_parquet else _read_csv(file, separator, [*MISSING, *missing_values])
        names = [name or f"Unnamed: {position}" for position, name in enumerate(table.column_names)]  # as pandas
        _require_sound(table.rename_columns(names), path, separator)
        frame: pd.DataFrame = table.to_pandas(
            ignore_metadata=True, date_as_object=False, split_blocks=True, self_destruct=True
        )
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: the header is not UTF-8 text; save the file as UTF-8") from error
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: {_first_line(error)}") from error
    frame.columns = pd.Index(names)
    return _without(frame, missing_values) if is_parquet and missing_values else frame


def _without(frame: pd.DataFrame, missing_values: Sequence[str]) -> pd.DataFrame:
    """The frame with cells that read as one of `missing_values` missing."""
    for name in frame:
        if not is_opaque(frame[name]):
            frame[name] = frame[name].mask(as_text(frame[name]).isin(missing_values))
    return frame


def _read_csv(file: Path, separator: str, missing: Sequence[str]) -> pa.Table:
    def read(options: csv.ReadOptions) -> pa.Table:
        return csv.read_csv(
            file,
            read_options=options,
            parse_options=csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=csv.ConvertOptions(null_values=missing, strings_can_be_null=True),
        )

    try:
        table = read(csv.ReadOptions())
    except pa.ArrowInvalid:  # one thread counts rows for the message, a large block takes cells beyond 1 MB
        table = read(csv.ReadOptions(use_threads=False, block_size=LARGEST_CELL))
    return _plain(table)


def _read_parquet(file: Path) -> pa.Table:
    table = parquet.read_table(file)
    unnamed_index = [name for name in table.column_names if re.fullmatch(r"__index_level_\d+__", name)]
    return _plain(table.drop_columns(unnamed_index))


def _plain(table: pa.Table) -> pa.Table:
    """The table with decimals, durations and times of day as float64 numbers, the latter two in seconds."""
    for position, field in enumerate(table.schema):
        column, kind = table.column(position), field.type
        if pa.types.is_decimal(kind) or pa.types.is_float16(kind):
            column = column.cast(pa.float64())
        elif pa.types.is_duration(kind) or pa.types.is_time(kind):
            ticks = column.cast(pa.int32() if pa.types.is_time32(kind) else pa.int64()).cast(pa.float64())
            column = pc.divide(ticks, PER_SECOND[kind.unit])
        else:
            continue
        table = table.set_column(position, field.name, column)
    return table


def _require_sound(table: pa.Table, path: str, separator: str) -> None:
    names = table.column_names
    name, count = Counter(names).most_common(1)[0] if names else ("", 0)
    if count > 1:
        raise DataError(f"{path}: column name '{name}' stands {count} times; names must differ")
    if not table.num_rows:
        raise DataError(f"{path}: has no rows")
    others = [mark for mark in ",;\t|" if mark != separator and mark in names[0]]
    if len(names) == 1 and others:
        mark, shell = ("\\t", "$") if others[0] == "\t" else (others[0], "")
        raise DataError(
            f"{path}: has one column, '{shown(names[0])}'; "
            f"if '{mark}' separates fields, set {shell}'data.separator=\"{mark}\"'"
        )
    if path.lower().endswith((".csv", ".csv.gz")):
        _require_utf8(table, path)


def _require_utf8(table: pa.Table, path: str) -> None:
    """Arrow takes a CSV column that is not UTF-8 for one of bytes."""
    for field in table.schema:
        if pa.types.is_binary(field.type):
            cells = (cell or b"" for cell in table[field.name].to_pylist())
            row = next(row for row, cell in enumerate(cells, start=1) if not _is_utf8(cell))
            raise DataError(f"{path}: column '{field.name}' is not UTF-8 text in row {row}; save the file as UTF-8")


def _is_utf8(cell: bytes) -> bool:
    try:
        return bool(cell.decode() or True)
    except UnicodeDecodeError:
        return False


def _first_line(error: BaseException) -> str:
    text = (str(error) or type(error).__name__).splitlines()[0].removeprefix("CSV parse error: ").rstrip(".")
    return re.sub(r"^Row #(\d+): E", lambda row: f"row {int(row[1]) - 1}: e", text)  # the header is Arrow's row 1
