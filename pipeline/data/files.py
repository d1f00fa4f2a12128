"""Reading a table file: CSV, gzipped CSV, Parquet."""

import ctypes
import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from pipeline.data.columns import as_text, is_opaque, shown
from pipeline.errors import DataError

MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "<NA>", "#N/A")
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
LARGEST_CELL = 1 << 28  # bytes; beyond Arrow's block of 1 MB only where a first reading failed
GROUP_BYTES = 16 * 2**20  # of columns read at a time, so that beside the frame no second table stands in memory
DIGEST_BYTES = 2**20  # of a segment, read and digested by one thread
PIECE_BLOCKS = 64  # blocks of CSV put together


class Opened(NamedTuple):
    """A file whose columns can be taken one group after the other."""

    names: list[str]
    n_rows: int
    take: Callable[[list[str]], list[pa.ChunkedArray]]  # columns by name, each once


def read_file(
    path: str, setting: str = "data.path", *, separator: str = ",", missing_values: Sequence[str] = ()
) -> pd.DataFrame:
    """A table file as a frame; format and compression are told by the suffix.

    Raises:
        DataError: no such file, a suffix that is not read, an empty or broken file, a column name given twice.
    """
    file = _require_file(path, setting)
    is_parquet = file.suffix.lower() == ".parquet"
    try:
        opened = _open_parquet(file) if is_parquet else _open_csv(path, separator, [*MISSING, *missing_values])
        _require_sound(opened.names, opened.n_rows, path, separator)
        frame = _frame(opened)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: the header is not UTF-8 text; save the file as UTF-8") from error
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: {_first_line(error)}") from error
    frame.columns = pd.Index(_named(opened.names))
    return _without(frame, missing_values) if is_parquet and missing_values else frame


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
        with ThreadPoolExecutor(os.cpu_count()) as threads:
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


def _without(frame: pd.DataFrame, missing_values: Sequence[str]) -> pd.DataFrame:
    """The frame with cells that read as one of `missing_values` missing."""
    for name in frame:
        if not is_opaque(frame[name]):
            frame[name] = frame[name].mask(as_text(frame[name]).isin(missing_values))
    return frame


def _named(names: Sequence[str]) -> list[str]:
    """Names, unnamed columns called as pandas does."""
    return [name or f"Unnamed: {position}" for position, name in enumerate(names)]


def _frame(opened: Opened) -> pd.DataFrame:
    """The columns as pandas has them, each freed by Arrow as it is taken."""
    size = max(os.cpu_count() or 1, GROUP_BYTES // (8 * opened.n_rows))
    columns = {}
    for first in range(0, len(opened.names), size):
        group = opened.names[first : first + size]
        for name, column in zip(group, opened.take(group), strict=True):
            columns[name] = _plain(column).to_pandas(date_as_object=False).copy()  # Arrow's own has room to grow
        release_memory()
    return pd.DataFrame(columns, copy=False)


def release_memory() -> None:
    """Give back to the system what Arrow and malloc hold of columns that are freed."""
    pa.default_memory_pool().release_unused()
    getattr(ctypes.pythonapi, "malloc_trim", int)(0)  # glibc's; others do so on their own


def _open_csv(path: str, separator: str, missing: Sequence[str]) -> Opened:
    table = _read_csv(Path(path).expanduser(), separator, missing)
    table = table.rename_columns(_named(table.column_names))
    columns = dict(zip(table.column_names, table.columns, strict=True))

    def take(names: list[str]) -> list[pa.ChunkedArray]:
        for name in names:
            _require_utf8(name, columns[name], path)
        return [columns.pop(name) for name in names]

    return Opened(table.column_names, table.num_rows, take)


def _read_csv(file: Path, separator: str, missing: Sequence[str]) -> pa.Table:
    parsing = csv.ParseOptions(delimiter=separator, newlines_in_values=True)
    converting = csv.ConvertOptions(null_values=missing, strings_can_be_null=True)
    try:
        with csv.open_csv(file, parse_options=parsing, convert_options=converting) as blocks:
            return _joined(blocks)
    except pa.ArrowInvalid:  # a later block does not fit the types that the first one told
        pass
    try:
        return csv.read_csv(file, parse_options=parsing, convert_options=converting)
    except pa.ArrowInvalid:  # one thread counts rows for the message, a large block takes cells beyond 1 MB
        reading = csv.ReadOptions(use_threads=False, block_size=LARGEST_CELL)
        return csv.read_csv(file, reading, parsing, converting)


def _joined(blocks: csv.CSVStreamingReader) -> pa.Table:
    """The blocks as a table of larger pieces: freed column by column, small ones leave as many holes in memory."""
    pieces = [pa.Table.from_batches([], blocks.schema)]
    while len(pieces) == 1 or pieces[-1].num_rows:
        pieces.append(pa.Table.from_batches(islice(blocks, PIECE_BLOCKS), blocks.schema).combine_chunks())
    return pa.concat_tables(pieces)


def _open_parquet(file: Path) -> Opened:
    source = parquet.ParquetFile(file, pre_buffer=False)  # buffers would hold the file beside the table
    unnamed_index = re.compile(r"__index_level_\d+__")
    names = [name for name in source.schema_arrow.names if not unnamed_index.fullmatch(name)]
    return Opened(names, source.metadata.num_rows, lambda names: source.read(columns=names).select(names).columns)


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
