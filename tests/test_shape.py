"""The shape of a table: counted, or estimated by the head of a large file, without reading the rest."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.compose import compose_values
from pipeline.data.files import BLOCK_BYTES
from pipeline.data.shape import Shape, shape_of
from pipeline.data.sources import load_table
from pipeline.errors import DataError
from tests.conftest import mixed_frame, write_csv


def shape(*overrides: str) -> Shape:
    return shape_of(compose_values(overrides)["data"])


def of_file(path: str, *overrides: str) -> Shape:
    return shape("data=csv", f"data.path={path}", "data.target=amount", *overrides)


def large_csv(path: Path, n_rows: int = 40_000) -> str:
    rng = np.random.default_rng(0)
    content = pd.DataFrame(rng.normal(size=(n_rows, 3)), columns=["amount", "x", "z"]).to_csv(index=False)
    assert len(content) > BLOCK_BYTES
    path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())
    return str(path)


@pytest.mark.parametrize(
    ("choice", "found"),
    [("iris", Shape(150, 4, 0)), ("sparse", Shape(2000, 0, 12)), ("digits", Shape(1797, 64, 0))],
)
def test_a_table_in_memory_is_counted(choice: str, found: Shape) -> None:
    assert shape(f"data={choice}") == found


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "parquet"])
def test_a_file_is_counted_by_kind_of_column(suffix: str, tmp_path: Path) -> None:
    path, frame = str(tmp_path / f"t.{suffix}"), mixed_frame()
    frame.to_parquet(path) if suffix == "parquet" else frame.to_csv(path, index=False)
    assert of_file(path) == Shape(200, n_numbers=6, n_categories=4)  # a date is a number


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("data.drop=[city,x]", Shape(200, 5, 3)),
        ("data.group=city", Shape(200, 6, 3)),
        ("data.categorical=[count]", Shape(200, 5, 5)),
        ("data.target=[amount,second]", Shape(200, 5, 4)),
        ("data.missing_values=[red]", Shape(200, 6, 4)),
    ],
)
def test_columns_count_as_they_are_used(override: str, found: Shape, tmp_path: Path) -> None:
    assert of_file(write_csv(tmp_path / "t.csv", mixed_frame()), override) == found


def test_a_parquet_file_gives_pandas_categories_and_no_unnamed_index(tmp_path: Path) -> None:
    frame = pd.DataFrame({"amount": [1.0, 2.0], "kind": pd.Categorical(["a", "b"])}, index=[3, 5])
    frame.to_parquet(tmp_path / "t.parquet")
    assert of_file(str(tmp_path / "t.parquet")) == Shape(2, 0, 1)


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_a_large_csv_file_is_estimated_by_its_head(name: str, tmp_path: Path) -> None:
    found = of_file(large_csv(tmp_path / name))
    assert found.is_estimate
    assert found.n_rows == pytest.approx(40_000, rel=0.01)


def test_no_more_than_the_head_of_a_large_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = large_csv(tmp_path / "t.csv")
    monkeypatch.setattr("pipeline.data.files.csv.read_csv", lambda *_: pytest.fail("the whole file is read"))
    assert of_file(path).n_numbers == 2


def test_a_cell_larger_than_the_head_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"amount,text\n1,{'a' * (3 * BLOCK_BYTES)}\n2,b\n")
    assert of_file(str(tmp_path / "t.csv")) == Shape(2, 0, 1)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", "t.csv: Empty CSV file"),
        ("amount,x\n", "t.csv: has no rows"),
        ("amount,x\n1,2\n3\n", "t.csv: row 2: expected 2 columns, got 1: 3"),
        ("amount,x,x\n1,2,3\n", "t.csv: column name 'x' stands 2 times; names must differ"),
    ],
)
def test_what_cannot_be_read_is_refused_as_reading_it_would(content: str, line: str) -> None:
    Path("t.csv").write_text(content)
    for look in (shape_of, _load):
        with pytest.raises(DataError) as refused:
            look(compose_values(["data=csv", "data.path=t.csv", "data.target=amount"])["data"])
        assert str(refused.value) == line


def _load(values: dict[str, Any]) -> None:
    from pipeline.config import Csv

    load_table(Csv.model_validate(values))


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Shape(1338, 3, 3), "1,338 rows, 6 columns, 3 of them categories"),
        (Shape(2000, 20, 0), "2,000 rows, 20 columns"),
        (Shape(53_412, 0, 1, is_estimate=True), "about 53,000 rows, 1 column, 1 of them categories"),
    ],
)
def test_a_shape_is_said_in_a_few_words(found: Shape, text: str) -> None:
    assert str(found) == text
