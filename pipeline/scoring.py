"""A file of rows scored in chunks: every row gets an answer, or stands in the file of errors with the reason."""

import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TextIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from pipeline.bundle import MISSING, Bundle, Column, seconds_of
from pipeline.errors import DataError, first_line
from pipeline.rows import Fault, read_column

CHUNK_ROWS = 2**16
CSV_BLOCK = 2**23  # bytes read at a time
STANDARD = "-"  # standard input or output, CSV
SUFFIXES = (".csv", ".csv.gz", ".parquet")


class Scored(NamedTuple):
    """How many rows there were, how many could not be scored, and where the reasons stand."""

    n_rows: int
    n_faulty: int
    errors: Path | None


@dataclass
class Chunk:
    """Some rows, and the number of the first, from 1."""

    table: pa.Table
    first: int


def score(
    bundle: Bundle, source: str, target: str, *, keep: Sequence[str] = (), progress: Callable[[int, int | None], object]
) -> Scored:
    """Score the rows of a file into another.

    Args:
        bundle: the model.
        source: a CSV or Parquet file, or "-" for CSV on standard input.
        target: where the answers go, one row for each, or "-".
        keep: columns of the source that the answers keep.
        progress: is told the rows done, and the rows in all where they are known.

    Raises:
        DataError: the source cannot be read, lacks a column, or the target's kind is not known.
    """
    _require_kind(target)
    chunks, total = _chunks(source)
    errors = Errors(Path(f"{target}.errors.csv") if target != STANDARD else Path("errors.csv"))
    done = 0
    with Answers(target) as answers:
        for chunk in chunks:
            table, faults = _answered(bundle, chunk, keep)
            answers.write(table)
            errors.write(faults)
            done += chunk.table.num_rows
            progress(done, total)
        if not done:
            raise DataError(f"{source}: has no rows")
    return Scored(done, errors.n_rows, errors.close())


@contextmanager
def counting(console: Console) -> Iterator[Callable[[int, int | None], object]]:
    """A progress bar for `score`, where there is a terminal."""
    columns = (SpinnerColumn(), MofNCompleteColumn(), TextColumn("rows"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("rows", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


# ---------------------------------------------------------------- a chunk
def _answered(bundle: Bundle, chunk: Chunk, keep: Sequence[str]) -> tuple[pa.Table, list[Fault]]:
    table = chunk.table
    for name in (*keep, *(column.name for column in bundle.schema.columns)):
        if name not in table.column_names:
            raise DataError(f"column '{name}': not in the table; columns: {', '.join(table.column_names[:20])}")
    faults: list[Fault] = []
    columns = {column.name: _values(column, table[column.name], faults) for column in bundle.schema.columns}
    answers = bundle.table(bundle.predict(columns))
    kept = {name: table[name].combine_chunks() for name in keep}
    scored = {name: pa.array(values) for name, values in answers.items()}
    if faults:
        bad = np.zeros(table.num_rows, bool)
        bad[[fault.row - 1 for fault in faults if fault.row is not None]] = True
        scored = {
            name: pc.if_else(pa.array(bad), pa.scalar(None, values.type), values) for name, values in scored.items()
        }
    return pa.table(kept | scored), [fault._replace(row=(fault.row or 0) + chunk.first - 1) for fault in faults]


def _values(column: Column, cells: pa.ChunkedArray, faults: list[Fault]) -> np.ndarray:
    """A column as the model takes it: at once where its type allows, else value by value."""
    cells = cells.combine_chunks()
    if pa.types.is_dictionary(cells.type):
        cells = cells.cast(cells.type.value_type)
    kind, textual = cells.type, pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type)
    if column.kind == "category" and textual:
        found: np.ndarray = pc.fill_null(cells, MISSING).to_numpy(zero_copy_only=False)
        if "" not in column.levels:
            found[found == ""] = MISSING
        return found
    if column.kind == "number" and textual:
        with suppress(pa.ArrowInvalid):  # where a value is no number they are read one by one
            cells = cells.cast(pa.float64())
    if column.kind == "number" and (pa.types.is_integer(cells.type) or pa.types.is_floating(cells.type)):
        x = cells.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return read_column(column, x, faults, unknown="impute")
    if column.kind == "datetime" and (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        moments = cells.cast(pa.timestamp("us"), safe=False)
        x = seconds_of(pc.fill_null(moments.cast(pa.int64()), 0).to_numpy(zero_copy_only=False))
        return np.where(moments.is_null().to_numpy(zero_copy_only=False), np.nan, x)
    return read_column(column, cells.to_pylist(), faults, unknown="impute", textual=textual)


# ---------------------------------------------------------------- reading
def _chunks(source: str) -> tuple[Iterator[Chunk], int | None]:
    """The rows of a source in chunks, and how many there are where that is known beforehand."""
    try:
        if source == STANDARD:
            return _numbered(_csv(sys.stdin.buffer)), None
        if not Path(source).is_file():
            raise DataError(f"{source}: no such file")
        if source.endswith(".parquet"):
            file = pq.ParquetFile(source)
            batches = (pa.Table.from_batches([batch]) for batch in file.iter_batches(CHUNK_ROWS))
            return _numbered(batches), file.metadata.num_rows
        _require_kind(source)
        return _numbered(_csv(source)), None
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{source}: cannot be read: {first_line(error)}") from error


def _csv(source: Any) -> Iterator[pa.Table]:
    """CSV as text throughout, so that a value of the wrong kind is a fault of its row alone."""
    read = pacsv.ReadOptions(block_size=CSV_BLOCK)
    names = _header(source) if isinstance(source, str) else None
    types = {name: pa.string() for name in names} if names is not None else None
    convert = pacsv.ConvertOptions(column_types=types, strings_can_be_null=True, null_values=[""])
    with pacsv.open_csv(source, read_options=read, convert_options=convert) as reader:
        for batch in reader:
            yield pa.Table.from_batches([batch])


def _header(source: str) -> list[str]:
    with pa.input_stream(source, compression="detect") as stream:
        line = stream.read(2**20).decode("utf-8-sig", "replace").partition("\n")[0]
    return next(csv.reader([line]), [])


def _numbered(tables: Iterator[pa.Table]) -> Iterator[Chunk]:
    first = 1
    try:
        for table in tables:
            for start in range(0, table.num_rows, CHUNK_ROWS):
                part = table.slice(start, CHUNK_ROWS)
                yield Chunk(part, first)
                first += part.num_rows
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"the table cannot be read after row {first - 1}: {first_line(error)}") from error


# ---------------------------------------------------------------- writing
class Answers:
    """The file of answers: written beside its place, and moved there when it is whole."""

    def __init__(self, target: str) -> None:
        self._target, self._writer = target, cast(Any, None)  # one of pyarrow's two
        self._part = Path(f"{target}.part")

    def __enter__(self) -> "Answers":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._target != STANDARD and self._part.exists():
            self._part.unlink() if kind else self._part.rename(self._target)

    def write(self, table: pa.Table) -> None:
        """Add rows."""
        if not self._target.endswith(".parquet"):
            table = _as_text(table)
        if self._writer is None:
            self._writer = self._open(table.schema)
        self._writer.write_table(table)

    def _open(self, schema: pa.Schema) -> Any:
        try:
            if self._target.endswith(".parquet"):
                return pq.ParquetWriter(self._part, schema)
            sink: Any = sys.stdout.buffer
            if self._target != STANDARD:
                sink = pa.output_stream(self._part, compression="gzip" if self._target.endswith(".gz") else None)
            return pacsv.CSVWriter(sink, schema)
        except OSError as error:
            raise DataError(f"{self._target}: cannot be written: {first_line(error)}") from error


def _as_text(table: pa.Table) -> pa.Table:
    """A table for CSV, which knows no lists: they become JSON."""
    for place, field in enumerate(table.schema):
        if pa.types.is_list(field.type):
            cells = [
                None if cell is None else json.dumps(cell, ensure_ascii=False) for cell in table[place].to_pylist()
            ]
            table = table.set_column(place, field.name, pa.array(cells, pa.string()))
    return table


class Errors:
    """The file of errors, made when there is one: row from 1, column, value, what was expected."""

    def __init__(self, file: Path) -> None:
        self._file, self.n_rows = file, 0
        self._stream: TextIO | None = None

    def write(self, faults: Sequence[Fault]) -> None:
        """Add faults of further rows."""
        if not faults:
            return
        if self._stream is None:
            self._stream = self._file.open("w", newline="", encoding="utf-8")
            csv.writer(self._stream).writerow(["row", "column", "value", "expected"])
        csv.writer(self._stream).writerows((fault.row, fault.field, fault.value, fault.expected) for fault in faults)
        self.n_rows += len({fault.row for fault in faults})

    def close(self) -> Path | None:
        """Where it is; None where there was no error."""
        if self._stream is None:
            return None
        self._stream.close()
        return self._file


def _require_kind(path: str) -> None:
    if path != STANDARD and not path.endswith(SUFFIXES):
        raise DataError(f"{path}: must end with {', '.join(SUFFIXES)}, or be - for CSV on a standard stream")
