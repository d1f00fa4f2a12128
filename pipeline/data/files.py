"""Reading a table file: CSV, gzipped CSV, Parquet."""

import ctypes
import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from pipeline.data.columns import as_text, decoded, is_opaque, shown
from pipeline.errors import DataError
from pipeline.threads import cores

MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "<NA>", "#N/A")
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
LARGEST_CELL = 1 << 28  # bytes; beyond Arrow's block of 1 MB only where a first reading failed
BLOCK_BYTES = 2**20  # of a CSV file, read for a glance at it
DIGEST_BYTES = 2**20  # of a segment, read and digested by one thread
CODED = pa.dictionary(pa.int32(), pa.string())


class Opened(NamedTuple):
    """A table file whose columns are read as they are taken, each once; its text comes as codes."""

    names: list[str]
    n_rows: int
    take: Callable[[str], pd.Series]


def open_file(
    path: str, setting: str = "data.path", *, separator: str = ",", missing_values: Sequence[str] = ()
) -> Opened:
    """A table file; format and compression are told by the suffix.

    Raises:
        DataError: no such file, a suffix that is not read, an empty or broken file, a column name given twice.
    """
    file = _require_file(path, setting)
    is_parquet = file.suffix.lower() == ".parquet"
    with _explained(path):
        found = _open_parquet(file) if is_parquet else _open_csv(path, separator, [*MISSING, *missing_values])
    _require_sound(found.names, found.n_rows, path, separator)
    own_names = dict(zip(_named(found.names), found.names, strict=True))

    def take(name: str) -> pd.Series:
        with _explained(path):
            column = found.take(own_names[name]).rename(name)
        return _without(column, missing_values) if is_parquet and missing_values else column

    return Opened(list(own_names), found.n_rows, take)


class Glance(NamedTuple):
    """What the head of a table file tells of it."""

    is_category: dict[str, bool]  # of each column by name: text or truth values, else numbers or moments
    n_rows: int
    is_estimate: bool  # of `n_rows`


def glance(path: str, *, separator: str = ",", missing_values: Sequence[str] = ()) -> Glance:
    """Columns and rows of a table file, of a CSV file as its first block of 1 MB tells them.

    Raises:
        DataError: as for `open_file`.
    """
    file = _require_file(path, "data.path")
    with _explained(path):
        if file.suffix.lower() == ".parquet":
            metadata = parquet.read_metadata(file)
            schema, n_rows, is_estimate = _columns_of(metadata), metadata.num_rows, False
        else:
            schema, n_rows, is_estimate = _first_block(file, separator, [*MISSING, *missing_values])
    _require_sound(_named(schema.names), n_rows, path, separator)
    is_category = [_is_category(field.type) for field in schema]
    return Glance(dict(zip(_named(schema.names), is_category, strict=True)), n_rows, is_estimate)


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """What Arrow and the system say, as one line that names the file."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: the header is not UTF-8 text; save the file as UTF-8") from error
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: {_first_line(error)}") from error


def file_digest(path: str, setting: str = "data.path") -> bytes:
    """A digest of a file's bytes: SHA-256, which processors have instructions for, of the SHA-256 of each segment.

    Raises:
        DataError: no such file, a suffix that is not read, or no permission.
    """
    file = _require_file(path, setting)

    def segment(start: int) -> bytes:
        with file.open("rb") as stream:
            stream.seek(start)
            return hashlib.sha256(stream.read(DIGEST_BYTES)).digest()

    try:
        with ThreadPoolExecutor(cores()) as threads:
            segments = threads.map(segment, range(0, file.stat().st_size, DIGEST_BYTES))
            return hashlib.sha256(b"".join(segments)).digest()
    except OSError as error:
        raise DataError(f"{path}: {_first_line(error)}") from error


def _require_file(path: str, setting: str) -> Path:
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(f"{setting}: {'is a folder, not a file' if file.is_dir() else 'no such file'}, got '{path}'")
    if not file.name.lower().endswith((".csv", ".csv.gz", ".parquet")):
        raise DataError(f"{setting}: must end in .csv, .csv.gz or .parquet, got '{path}'")
    return file


def _without(column: pd.Series, missing_values: Sequence[str]) -> pd.Series:
    """The column with cells that read as one of `missing_values` missing."""
    return column if is_opaque(column) else decoded(column).mask(as_text(column).isin(missing_values))


def _named(names: Sequence[str]) -> list[str]:
    """Names, unnamed columns called as pandas does."""
    return [name or f"Unnamed: {position}" for position, name in enumerate(names)]


def release_memory() -> None:
    """Give back to the system what Arrow and malloc hold of columns that are freed."""
    pa.default_memory_pool().release_unused()
    getattr(ctypes.pythonapi, "malloc_trim", int)(0)  # glibc's; others do so on their own


def _open_csv(path: str, separator: str, missing: Sequence[str]) -> Opened:
    table = _read_csv(Path(path).expanduser(), separator, missing)
    names, n_rows = _named(table.column_names), table.num_rows
    columns = dict(zip(names, table.columns, strict=True))
    for name, column in columns.items():
        _require_utf8(name, column, path)

    def take(name: str) -> pd.Series:
        column = columns.pop(name)
        return _as_pandas(column, is_text=_is_text(column.type) or pa.types.is_dictionary(column.type))

    return Opened(names, n_rows, take)


def _read_csv(file: Path, separator: str, missing: Sequence[str]) -> pa.Table:
    """All columns, of the types that the first block tells: to infer them from all rows takes the text itself along."""
    parsing = csv.ParseOptions(delimiter=separator, newlines_in_values=True)
    converting = partial(csv.ConvertOptions, null_values=missing, strings_can_be_null=True)
    try:
        with csv.open_csv(file, parse_options=parsing, convert_options=converting()) as blocks:
            types = {field.name: CODED if _is_text(field.type) else field.type for field in blocks.schema}
        told = {name: kind for name, kind in types.items() if not pa.types.is_null(kind)}
        return csv.read_csv(file, parse_options=parsing, convert_options=converting(column_types=told))
    except pa.ArrowInvalid:  # a later block does not fit
        pass
    try:
        return csv.read_csv(file, parse_options=parsing, convert_options=converting())
    except pa.ArrowInvalid:  # one thread counts rows for the message, a large block takes cells beyond 1 MB
        reading = csv.ReadOptions(use_threads=False, block_size=LARGEST_CELL)
        return csv.read_csv(file, reading, parsing, converting())


def _first_block(file: Path, separator: str, missing: Sequence[str]) -> tuple[pa.Schema, int, bool]:
    """Columns, rows, and whether these are estimated: a file larger than the block has rows of the same size."""
    parsing = csv.ParseOptions(delimiter=separator, newlines_in_values=True)
    converting = csv.ConvertOptions(null_values=missing, strings_can_be_null=True)
    reading = csv.ReadOptions(block_size=BLOCK_BYTES)
    try:
        with csv.open_csv(file, reading, parsing, converting) as blocks:
            schema, block = blocks.schema, next(iter(blocks), None)
    except pa.ArrowInvalid:  # a cell that is larger, or a mistake, which this tells better
        table = _read_csv(file, separator, missing)
        return table.schema, table.num_rows, False
    n_rows, n_bytes = block.num_rows if block else 0, _unpacked_bytes(file)
    is_larger = n_bytes > BLOCK_BYTES
    return schema, round(n_rows * n_bytes / BLOCK_BYTES) if is_larger else n_rows, is_larger


def _unpacked_bytes(file: Path) -> int:
    """A file's size; of a gzipped one what its last four bytes say."""
    if file.suffix.lower() != ".gz":
        return file.stat().st_size
    with file.open("rb") as stream:
        stream.seek(-4, os.SEEK_END)
        return int.from_bytes(stream.read(), "little")


def _open_parquet(file: Path) -> Opened:
    metadata = parquet.read_metadata(file)
    schema = _columns_of(metadata)
    texts = {field.name for field in schema if _is_text(field.type)}

    def take(name: str) -> pd.Series:  # with a reader of its own: threads take columns at the same time
        source = parquet.ParquetFile(
            file, metadata=metadata, pre_buffer=False, buffer_size=2**20, read_dictionary=texts & {name}
        )
        column = source.read(columns=[name], use_threads=False).column(name)
        return _as_pandas(column, is_text=name in texts)

    return Opened(schema.names, metadata.num_rows, take)


def _columns_of(metadata: parquet.FileMetaData) -> pa.Schema:
    """The columns of a Parquet file, without those that pandas keeps an unnamed index in."""
    fields = metadata.schema.to_arrow_schema()
    return pa.schema([field for field in fields if not re.fullmatch(r"__index_level_\d+__", field.name)])


def _is_category(kind: pa.DataType) -> bool:
    return _is_text(kind) or bool(pa.types.is_boolean(kind) or pa.types.is_dictionary(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _as_pandas(column: pa.ChunkedArray, *, is_text: bool) -> pd.Series:
    """A column as pandas has it, in Arrow's own memory where that is one piece without gaps; text as codes."""
    if not is_text:
        return pd.Series(_plain(column).to_pandas(date_as_object=False))
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    return pd.Series(pd.arrays.ArrowExtensionArray(coded.unify_dictionaries()))


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of decimals, durations or times of day as float64 numbers, the latter two in seconds."""
    kind = column.type
    if pa.types.is_decimal(kind) or pa.types.is_float16(kind):
        return column.cast(pa.float64())
    if pa.types.is_duration(kind) or pa.types.is_time(kind):
        ticks = column.cast(pa.int32() if pa.types.is_time32(kind) else pa.int64()).cast(pa.float64())
        return pc.divide(ticks, PER_SECOND[kind.unit])
    return column


def _require_sound(names: Sequence[str], n_rows: int, path: str, separator: str) -> None:
    name, count = Counter(names).most_common(1)[0] if names else ("", 0)
    if count > 1:
        raise DataError(f"{path}: column name '{name}' stands {count} times; names must differ")
    if not n_rows:
        raise DataError(f"{path}: has no rows")
    others = [mark for mark in ",;\t|" if mark != separator and mark in names[0]] if len(names) == 1 else []
    if others:
        mark, shell = ("\\t", "$") if others[0] == "\t" else (others[0], "")
        raise DataError(
            f"{path}: has one column, '{shown(names[0])}'; "
            f"if '{mark}' separates fields, set {shell}'data.separator=\"{mark}\"'"
        )


def _require_utf8(name: str, column: pa.ChunkedArray, path: str) -> None:
    """Arrow takes a CSV column that is not UTF-8 for one of bytes."""
    if pa.types.is_binary(column.type):
        cells = (cell or b"" for cell in column.to_pylist())
        row = next(row for row, cell in enumerate(cells, start=1) if not _is_utf8(cell))
        raise DataError(f"{path}: column '{name}' is not UTF-8 text in row {row}; save the file as UTF-8")


def _is_utf8(cell: bytes) -> bool:
    try:
        return bool(cell.decode() or True)
    except UnicodeDecodeError:
        return False


def _first_line(error: BaseException) -> str:
    text = (str(error) or type(error).__name__).splitlines()[0].removeprefix("CSV parse error: ").rstrip(".")
    return re.sub(r"^Row #(\d+): E", lambda row: f"row {int(row[1]) - 1}: e", text)  # the header is Arrow's row 1
