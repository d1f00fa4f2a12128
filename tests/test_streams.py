"""Files of rows: the columns needed, in chunks, whatever kind of file they are in."""

import io
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import streams
from pipeline.errors import DataError
from pipeline.streams import chunks_of, open_source

ROWS = pd.DataFrame({"a.b": [1, 2, 3], "colour": ["red", None, "red"], "other": [0.1, 0.2, 0.3]})


def kept(tmp_path: Path, name: str) -> str:
    path = str(tmp_path / name)
    ROWS.to_parquet(path) if name.endswith("parquet") else ROWS.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet"])
def test_columns_that_are_not_needed_are_not_read(name: str, tmp_path: Path) -> None:
    (chunk,) = chunks_of(open_source(kept(tmp_path, name), ["colour", "a.b"], ["colour"]))
    assert chunk.first == 1
    assert chunk.table.column_names == ["colour", "a.b"]
    assert [str(value) for value in chunk.table["a.b"].to_pylist()] == ["1", "2", "3"]
    assert chunk.table["colour"].to_pylist() == ["red", None, "red"]


def test_text_of_a_parquet_file_is_not_written_out_a_row(tmp_path: Path) -> None:
    (chunk,) = chunks_of(open_source(kept(tmp_path, "t.parquet"), ["colour", "a.b"], ["colour", "a.b"]))
    assert pa.types.is_dictionary(chunk.table["colour"].type)
    assert pa.types.is_int64(chunk.table["a.b"].type)  # categories that are numbers come as those


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_needed_column_that_is_there_twice_is_named(name: str, tmp_path: Path) -> None:
    twice = pa.table([[1], [2]], names=["x", "x"])
    path = str(tmp_path / name)
    if name.endswith("csv"):
        Path(path).write_text("x,x\n1,2\n")
    else:
        pq.write_table(twice, path)
    with pytest.raises(DataError) as error:
        open_source(path, ["x"], [])
    assert str(error.value) == "column 'x': in the table twice; give one of them another name"


def test_a_value_of_another_kind_far_down_on_standard_input_is_no_reason_to_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams, "CSV_BLOCK", 64)
    text = "\ufeffx,y\r\n" + "1,2\r\n" * 50 + "many,2\r\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    chunks = list(chunks_of(open_source("-", ["x"], [])))
    assert [cell for chunk in chunks for cell in chunk.table["x"].to_pylist()] == ["1"] * 50 + ["many"]
    assert [chunk.first for chunk in chunks[:2]] == [1, 1 + chunks[0].table.num_rows]
