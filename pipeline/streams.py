"""Files of rows, read and written in parts: CSV and Parquet, and CSV on the standard streams."""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TextIO, cast

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from pipeline.errors import DataError, first_line
from pipeline.rows import Fault

CHUNK_ROWS = 2**16
CSV_BLOCK = 2**23  # bytes read at a time
STANDARD = "-"  # standard input or output, CSV
SUFFIXES = (".csv", ".csv.gz", ".parquet")


class Chunk(NamedTuple):
    """Some rows, and the number of the first, from 1."""

    table: pa.Table
    first: int


@dataclass(frozen=True)
class Source:
    """A file's rows.

    Attributes:
        tables: parts of it in order, with the columns needed.
        n_rows: where it is known beforehand.
        textual: whether all values are text, as in CSV.
    """

    tables: Iterator[pa.Table]
    n_rows: int | None
    textual: bool


# ---------------------------------------------------------------- reading
def open_source(source: str, needed: Sequence[str], texts: Sequence[str]) -> Source:
    """The rows of a source, of which only the columns needed are read; `texts` as codes where the file has them.

    Raises:
        DataError: it cannot be read, or lacks a column.
    """
    try:
        if source == STANDARD:
            return _csv(sys.stdin.buffer, needed)
        if not Path(source).is_file():
            raise DataError(f"{source}: no such file")
        if source.endswith(".parquet"):
            return _parquet(source, needed, texts)
        require_kind(source)
        return _csv(source, needed)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{source}: cannot be read: {first_line(error)}") from error


def _present(needed: Sequence[str], names: Sequence[str]) -> list[str]:
    """The columns needed; raises DataError where one is absent."""
    for name in needed:
        if name not in names:
            raise DataError(f"column '{name}': not in the table; columns: {', '.join(names[:20])}")
        if list(names).count(name) > 1:
            raise DataError(f"column '{name}': in the table twice; give one of them another name")
    return [*needed]


def _parquet(source: str, needed: Sequence[str], texts: Sequence[str]) -> Source:
    schema = pq.read_schema(source)
    columns = _present(needed, schema.names)
    file = pq.ParquetFile(source, read_dictionary=[name for name in texts if is_text(schema.field(name).type)])
    tables = (pa.Table.from_batches([batch]) for batch in file.iter_batches(CHUNK_ROWS, columns=columns))
    return Source(tables, file.metadata.num_rows, textual=False)


def _csv(source: Any, needed: Sequence[str]) -> Source:
    """CSV as text throughout, so that a value of the wrong kind is a fault of its row alone."""
    is_file = isinstance(source, str)
    names = _fields(_first_line(source) if is_file else source.readline())
    read = pacsv.ReadOptions(block_size=CSV_BLOCK, column_names=None if is_file else names)
    types = {name: pa.string() for name in names}
    convert = pacsv.ConvertOptions(column_types=types, strings_can_be_null=True, null_values=[""])
    reader = pacsv.open_csv(source, read_options=read, convert_options=convert)
    columns = _present(needed, reader.schema.names)
    return Source((pa.Table.from_batches([batch]).select(columns) for batch in reader), None, textual=True)


def _first_line(source: str) -> bytes:
    with pa.input_stream(source, compression="detect") as stream:
        line: bytes = stream.read(2**20).partition(b"\n")[0]
    return line


def _fields(line: bytes) -> list[str]:
    return next(csv.reader([line.decode("utf-8-sig", "replace").rstrip("\r\n")]), [])


def chunks_of(source: Source) -> Iterator[Chunk]:
    """The rows in chunks; raises DataError where the source cannot be read on."""
    first = 1
    try:
        for table in source.tables:
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
                repeating = [field.name for field in schema if not pa.types.is_floating(field.type)]
                leaves = [f"{name}.list.element" for name in repeating]
                return pq.ParquetWriter(self._part, schema, use_dictionary=[*repeating, *leaves])
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


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def require_kind(path: str) -> None:
    """Raises DataError for a file that is of no kind known."""
    if path != STANDARD and not path.endswith(SUFFIXES):
        raise DataError(f"{path}: must end with {', '.join(SUFFIXES)}, or be - for CSV on a standard stream")
