"""A file of rows scored in chunks: every row gets an answer, or stands in the file of errors with the reason."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from pipeline.bundle import Bundle, Column, Label, seconds_of
from pipeline.errors import DataError
from pipeline.graph import past_look_ups
from pipeline.rows import Fault, read_column
from pipeline.streams import STANDARD, Answers, Chunk, Errors, chunks_of, is_text, open_source, require_kind
from pipeline.threads import cores


class Scored(NamedTuple):
    """How many rows there were, how many could not be scored, and where the reasons stand."""

    n_rows: int
    n_faulty: int
    errors: Path | None


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
    require_kind(target)
    scorer = Scorer(bundle, keep)
    rows = open_source(source, scorer.needed, scorer.texts)
    errors = Errors(Path(f"{target}.errors.csv") if target != STANDARD else Path("errors.csv"))
    done = 0
    with Answers(target) as answers:
        for table, faults in _in_order(lambda chunk: scorer.answered(chunk, textual=rows.textual), chunks_of(rows)):
            answers.write(table)
            errors.write(faults)
            done += table.num_rows
            progress(done, rows.n_rows)
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
class Scorer:
    """A bundle that is given codes instead of texts, each distinct text of a chunk being looked up once.

    Attributes:
        needed: columns of the source, the model's and those to keep.
        texts: those of them that are categories.
    """

    def __init__(self, bundle: Bundle, keep: Sequence[str]) -> None:
        model, self._codes = past_look_ups(bundle.model)
        self._bundle, self._keep = bundle.entered_by(model), keep
        columns = bundle.schema.columns
        self.needed = [*dict.fromkeys([*keep, *(column.name for column in columns)])]
        self.texts = [column.name for column in columns if column.kind == "category"]

    def answered(self, chunk: Chunk, *, textual: bool) -> tuple[pa.Table, list[Fault]]:
        """The answers to a chunk, and what could not be read in it, by rows of the source."""
        table, schema = chunk.table, self._bundle.schema
        faults: list[Fault] = []
        columns = {
            column.name: self._codes_of(column, table[column.name].combine_chunks(), faults, textual=textual)
            if column.kind == "category"
            else _figures(column, _decoded(table[column.name]), faults)
            for column in schema.columns
        }
        predictions = self._bundle.predict(columns)
        answers = self._bundle.table(predictions, _lists)
        if taken := [name for name in self._keep if name in answers]:
            raise DataError(f"column '{taken[0]}': cannot be kept, the answers have a column of that name; rename it")
        scored = {name: values if name == "set" else pa.array(values) for name, values in answers.items()}
        if faults:
            bad = np.zeros(table.num_rows, bool)
            bad[[fault.row - 1 for fault in faults if fault.row is not None]] = True
            scored = {
                name: pc.if_else(pa.array(bad), pa.scalar(None, values.type), values) for name, values in scored.items()
            }
        kept = {name: _decoded(table[name]) for name in self._keep}
        return pa.table(kept | scored), [fault._replace(row=(fault.row or 0) + chunk.first - 1) for fault in faults]

    def _codes_of(self, column: Column, cells: pa.Array, faults: list[Fault], *, textual: bool) -> np.ndarray:
        """Codes (N,) of a column of categories."""
        codes: Mapping[str, int] = self._codes.get(column.name, {})
        known, told = _encoded(cells), list[Fault]()
        if known is not None:
            values = [*known.dictionary.to_pylist(), None]
            texts = read_column(column, values, told, unknown="impute", textual=textual)
            which = pc.fill_null(known.indices.cast(pa.int64()), -1).to_numpy()
        if known is None or told:  # a fault is to name its row
            texts = read_column(column, cells.to_pylist(), faults, unknown="impute", textual=textual)
            which = np.arange(len(texts))
        found: np.ndarray = np.array([codes.get(text, 0) for text in texts], np.int64)[which]
        return found


def _encoded(cells: pa.Array) -> pa.DictionaryArray | None:
    """Cells with each distinct value once; None for lists and the like, of which no two are compared."""
    if pa.types.is_dictionary(cells.type):
        return cells
    try:
        return cells.dictionary_encode()
    except pa.ArrowNotImplementedError:
        return None


def _lists(sets: np.ndarray, classes: Sequence[Label]) -> pa.Array:
    """A column of lists: for each row of sets (N, C) its classes."""
    ends = np.cumsum(np.concatenate([[0], sets.sum(axis=1)]), dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(classes).take(pa.array(np.nonzero(sets)[1])))


def _decoded(cells: pa.ChunkedArray) -> pa.Array:
    cells = cells.combine_chunks()
    return cells.cast(cells.type.value_type) if pa.types.is_dictionary(cells.type) else cells


def _figures(column: Column, cells: pa.Array, faults: list[Fault]) -> np.ndarray:
    """A column of numbers or dates as the model takes it: at once where its type allows, else value by value."""
    kind, textual = cells.type, is_text(cells.type)
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


Answer = tuple[pa.Table, list[Fault]]


def _in_order(work: Callable[[Chunk], Answer], chunks: Iterator[Chunk]) -> Iterator[Answer]:
    """What is made of each chunk, in order, by a thread a core and few chunks ahead."""
    n_threads = cores()
    with ThreadPoolExecutor(n_threads) as pool:
        waiting: deque[Future[Answer]] = deque()
        for chunk in chunks:
            waiting.append(pool.submit(work, chunk))
            if len(waiting) > n_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
