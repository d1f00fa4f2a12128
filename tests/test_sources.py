"""Sources: what is read, what is inferred, and each thing that is refused, word for word."""

import gzip
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from pipeline.compose import load_config
from pipeline.config import Csv, Data, Preprocess
from pipeline.data import files
from pipeline.data.prepared import prepare
from pipeline.data.sources import load_table
from pipeline.errors import DataError
from pipeline.types import Table
from tests.conftest import mixed_frame, write_csv
from tests.test_preprocess import fitted_to, rows_of

DEFAULTS = load_config(["data=csv", "data.path=table.csv", "data.target=y"]).data.model_dump()
PREPROCESS = Preprocess(scaling="standard", min_frequency=5, max_onehot=9)


def whole_table(data: Data) -> Table:
    """The table that `data` names with all its features, which otherwise stand in memory one at a time."""
    table, columns = load_table(data)
    rows = np.arange(table.n_rows)
    frame = pd.DataFrame({name: columns.take(name, rows) for name in columns.names})
    return replace(table, frame=frame, notes=(*table.notes, *chain(*columns.notes.values())))


def load(content: str | bytes | pd.DataFrame | pa.Table = "", name: str = "table.csv", **fields: Any) -> Table:
    """The table that a file of this content gives."""
    write(content, name)
    return whole_table(Csv.model_validate({**DEFAULTS, "path": name, **fields}))


def write(content: str | bytes | pd.DataFrame | pa.Table, name: str) -> None:
    if isinstance(content, pa.Table):
        parquet.write_table(content, name)
    elif isinstance(content, pd.DataFrame):
        content.to_parquet(name) if name.endswith(".parquet") else content.to_csv(name, index=False)
    else:
        text = content.encode() if isinstance(content, str) else content
        Path(name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)


def columns(table: Table) -> dict[str, list[Any]]:
    return {str(name): column.tolist() for name, column in table.frame.items()}


def message(content: str | bytes | pd.DataFrame | pa.Table = "", name: str = "table.csv", **fields: Any) -> str:
    """The one line a user sees for this file."""
    with pytest.raises(DataError) as error:
        load(content, name, **fields)
    assert "\n" not in str(error.value)
    return str(error.value)


# ---------------------------------------------------------------- shipped and fetched sets
@pytest.mark.parametrize(
    ("name", "shape", "task", "classes"),
    [
        ("breast_cancer", (569, 30), "binary", ("benign", "malignant")),
        ("iris", (150, 4), "multiclass", ("setosa", "versicolor", "virginica")),
        ("wine", (178, 13), "multiclass", ("class_0", "class_1", "class_2")),
        ("digits", (1797, 64), "multiclass", tuple("0123456789")),
        ("diabetes", (442, 10), "regression", ()),
    ],
)
def test_a_set_shipped_with_scikit_learn(
    name: str, shape: tuple[int, int], task: str, classes: tuple[str, ...]
) -> None:
    from sklearn import datasets

    table = whole_table(load_config([f"data={name}"]).data)
    assert (table.frame.shape, table.task, table.classes) == (shape, task, classes)
    bunch = getattr(datasets, f"load_{name}")()
    np.testing.assert_array_equal(table.frame, bunch.data)
    given = np.asarray(bunch.target_names)[bunch.target].astype(str) if classes else bunch.target
    read = np.array(classes)[table.targets.iloc[:, 0]] if classes else table.targets.iloc[:, 0]
    np.testing.assert_array_equal(read, given)


def _bunch(**other: object) -> SimpleNamespace:
    frame = pd.DataFrame({"a": range(6), "y": [1.5, 2.5, 3.5, 4.5, 5.5, 6.5]})
    return SimpleNamespace(frame=frame, **{"target_names": ["y"], "details": {"id": "7"}, **other})


def _answer(value: object) -> Callable[..., object]:
    def fetch(*_: object, **__: object) -> object:
        if isinstance(value, BaseException):
            raise value
        return value

    return fetch


def test_california_housing_is_read_from_the_fetchers_bunch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sklearn.datasets.fetch_california_housing", _answer(_bunch()))
    table = whole_table(load_config(["data=california_housing"]).data)
    assert (table.task, list(table.frame), list(table.targets["y"])) == (
        "regression",
        ["a"],
        [1.5, 2.5, 3.5, 4.5, 5.5, 6.5],
    )


def test_openml_passes_name_version_and_target_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}
    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda **query: asked.update(query) or _bunch())
    table = whole_table(load_config(["data=openml", "data.dataset=credit-g", "data.version=2", "data.target=y"]).data)
    assert asked == {"name": "credit-g", "version": 2, "target_column": "y", "as_frame": True}
    assert table.source == "openml.org/d/7"
    whole_table(load_config(["data=openml", "data.dataset=31"]).data)
    assert asked["data_id"] == 31


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            URLError("no route"),
            "could not be downloaded (no route); without a network use data=csv data.path=FILE data.target=COLUMN",
        ),
        (
            TimeoutError("timed out"),
            "could not be downloaded (timed out); without a network use data=csv data.path=FILE data.target=COLUMN",
        ),
        (ValueError("Dataset x\nnot found."), "Dataset x not found."),
        (KeyError("Could not find target_column='z'"), "Could not find target_column='z'"),
    ],
)
def test_a_failed_download_is_one_line(monkeypatch: pytest.MonkeyPatch, error: Exception, said: str) -> None:
    monkeypatch.setattr("sklearn.datasets.fetch_openml", _answer(error))
    with pytest.raises(DataError) as raised:
        whole_table(load_config(["data=openml", "data.dataset=x"]).data)
    assert str(raised.value) == f"data.dataset=x: {said}"


def test_openml_without_a_target_asks_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sklearn.datasets.fetch_openml", _answer(_bunch(target_names=[])))
    with pytest.raises(DataError, match=r"^data.dataset=31: has no target of its own; set data.target=COLUMN$"):
        whole_table(load_config(["data=openml", "data.dataset=31"]).data)


def test_openml_number_and_version_exclude_each_other() -> None:
    with pytest.raises(DataError, match=r"^data.version: goes with a data set's name, not with its number 31$"):
        whole_table(load_config(["data=openml", "data.dataset=31", "data.version=2"]).data)


def test_mobile_price_says_where_to_get_it() -> None:
    with pytest.raises(DataError) as error:
        whole_table(load_config(["data=mobile_price"]).data)
    assert str(error.value) == (
        "data.path: no such file, got 'train.csv'; download train.csv from "
        "https://www.kaggle.com/datasets/iabhishekofficial/mobile-price-classification "
        "and give its place: data.path=FOLDER/train.csv"
    )


def test_mobile_price_reads_kaggles_file(tmp_path: Path) -> None:
    frame = pd.DataFrame({"ram": range(8), "price_range": [0, 1, 2, 3] * 2})
    path = write_csv(tmp_path / "train.csv", frame)
    table = whole_table(load_config(["data=mobile_price", f"data.path={path}"]).data)
    assert (table.name, table.task, table.classes) == ("mobile_price", "multiclass", ("0", "1", "2", "3"))


# ---------------------------------------------------------------- formats
@pytest.mark.parametrize("target", ["bought", "grade", "amount", "member"])
def test_csv_gzip_and_parquet_give_the_same_arrays(target: str) -> None:
    frame = mixed_frame()
    frame.loc[3:9, ["colour", "joined"]] = None
    tables = [load(frame.to_csv(index=False), name, target=target) for name in ("t.csv", "t.csv.gz")]
    tables.append(load(frame, "t.parquet", target=target))
    rows = np.arange(len(frame))
    first = fitted_to(tables[0], rows, PREPROCESS)
    for table in tables:
        assert (table.task, table.classes, table.name) == (tables[0].task, tables[0].classes, "t")
        other = fitted_to(table, rows, PREPROCESS)
        for one, two in zip(rows_of(first, tables[0], rows), rows_of(other, table, rows), strict=True):
            np.testing.assert_array_equal(one, two)


CLOCK = [datetime(2020, 1, 1, 10), None, datetime(2021, 2, 3), datetime(2020, 1, 1)]
EXTENSION: dict[str, Any] = {
    "int": pd.Series([1, None, 3, 4], dtype="Int64"),
    "small": pd.Series([1, None, 3, 4], dtype="UInt8"),
    "float": pd.Series([0.5, None, 3, 4], dtype="Float32"),
    "flag": pd.Series([True, None, False, True], dtype="boolean"),
    "text": pd.Series(["a", None, "b", "a"], dtype="string"),
    "category": pd.Series(["a", None, "b", "a"], dtype="category"),
    "codes": pd.Series(pd.array([1, None, 3, 1], dtype="Int64"), dtype="category"),
    "arrow_int": pd.Series([1, None, 3, 4], dtype=pd.ArrowDtype(pa.int32())),
    "arrow_flag": pd.Series([True, None, False, True], dtype=pd.ArrowDtype(pa.bool_())),
    "arrow_text": pd.Series(["a", None, "b", "a"], dtype=pd.ArrowDtype(pa.string())),
    "arrow_time": pd.Series(CLOCK, dtype=pd.ArrowDtype(pa.timestamp("us"))),
}
PLAIN: dict[str, Any] = {
    **{name: [1.0, None, 3.0, 4.0] for name in ("int", "small", "arrow_int")},
    "float": [0.5, None, 3.0, 4.0],
    **{name: [True, None, False, True] for name in ("flag", "arrow_flag")},
    **{name: ["a", None, "b", "a"] for name in ("text", "category", "arrow_text")},
    "codes": ["1", None, "3", "1"],
    "arrow_time": pd.Series(CLOCK),
}


@pytest.mark.parametrize("name", EXTENSION)
@pytest.mark.parametrize("through_file", [True, False])
def test_extension_dtypes_prepare_as_plain_ones_do(name: str, through_file: bool) -> None:
    y = ["p", "q", "p", "q"]
    plain = load(pd.DataFrame({"x": PLAIN[name], "y": y}), "plain.parquet")
    frame = pd.DataFrame({"x": EXTENSION[name], "y": y})
    preprocessor = fitted_to(plain, np.arange(4), PREPROCESS.model_copy(update={"min_frequency": 1}))
    given = load(frame, "extension.parquet").frame if through_file else frame
    expected = preprocessor.transform(plain.frame)[0]
    assert expected.any()
    np.testing.assert_array_equal(preprocessor.transform(given)[0], expected)


def test_a_frame_of_extension_dtypes_is_learned_from_as_it_is() -> None:
    frame = pd.DataFrame(EXTENSION)
    plain = load(pd.DataFrame({name: PLAIN[name] for name in EXTENSION} | {"y": list("pqpq")}), "plain.parquet")
    table = Table("t", "", "", frame, plain.targets, "binary", plain.classes)
    config = PREPROCESS.model_copy(update={"min_frequency": 1})
    one, two = (rows_of(fitted_to(each, np.arange(4), config), each, np.arange(4)).num for each in (plain, table))
    np.testing.assert_array_equal(one, two)


def test_arrow_types_without_a_pandas_twin_become_numbers_and_moments() -> None:
    content = pa.table(
        {
            "decimal": pa.array([Decimal("1.50"), None, Decimal("-2.25")]),
            "half": pa.array(np.array([0.5, 1, 2], np.float16)),
            "day": pa.array([date(2020, 1, 1), None, date(9999, 12, 31)]),
            "zoned": pa.array([datetime(2020, 1, 1, 12, tzinfo=UTC), None, None], pa.timestamp("us", "America/Lima")),
            "duration": pa.array([timedelta(minutes=1), None, timedelta(milliseconds=1)]),
            "clock": pa.array([time(1, 0, 0), None, time(0, 0, 1)], pa.time64("us")),
            "second": pa.array([time(1, 0, 0), None, time(0, 0, 1)], pa.time32("s")),
            "nothing": pa.nulls(3),
            "y": ["a", "b", "a"],
        }
    )
    frame = load(content, "t.parquet").frame
    assert frame["decimal"].dropna().tolist() == [1.5, -2.25]
    assert frame["half"].tolist() == [0.5, 1, 2]
    assert frame["duration"].dropna().tolist() == [60, 0.001]
    assert frame["clock"].dropna().tolist() == frame["second"].dropna().tolist() == [3600, 1]
    assert frame["day"][2] == pd.Timestamp("9999-12-31")
    assert frame["zoned"][0] == pd.Timestamp("2020-01-01 12:00", tz="UTC")


@pytest.mark.parametrize(
    ("cells", "first"),
    [([[1], [2]], "[1]"), ([{"a": 1}, {"a": 2}], "{'a': 1}"), ([None, b"\x00"], "b'\\x00'")],
    ids=["list", "struct", "binary"],
)
def test_a_column_nothing_can_be_made_of_is_refused_unless_dropped(cells: list[object], first: str) -> None:
    content = pa.table({"x": [1, 2], "odd": cells, "y": ["a", "b"]})
    expected = (
        f"column 'odd': holds neither numbers nor text nor dates, first is '{first}'; leave it out with data.drop=[odd]"
    )
    assert message(content, "t.parquet") == expected
    assert message(content, "t.parquet", categorical=["odd"]) == expected
    assert message(content, "t.parquet", group="odd") == expected
    assert list(load(content, "t.parquet", drop=["odd"], missing_values=["?"]).frame) == ["x"]


def test_a_column_is_read_when_it_is_taken_and_the_values_of_the_rows_asked_for_come() -> None:
    write(pa.table({"a": np.arange(5), "b": [1.0, 2.0, np.inf, 3.0, 4.0], "y": list("ababa")}), "t.parquet")
    _, columns = load_table(Csv.model_validate({**DEFAULTS, "path": "t.parquet"}))
    assert columns.take("a", np.array([3, 0])).tolist() == [3, 0]
    with pytest.raises(DataError, match=r"^column 'b': 1 of 5 values are infinite, first in row 3; "):
        columns.take("b", np.array([0, 1]))


def test_text_that_occurs_nowhere_any_more_is_no_level_and_no_class() -> None:
    text = pa.DictionaryArray.from_arrays(pa.array([0, 2, 0, 2], pa.int32()), pa.array(["p", "never", "q"]))
    content = pa.table({"t": text, "y": text})
    parquet.write_table(content, "t.parquet", store_schema=False)  # plain text to whoever reads the file
    table = whole_table(Csv.model_validate({**DEFAULTS, "path": "t.parquet"}))
    assert table.classes == ("p", "q")
    preprocessor = fitted_to(table, np.arange(4), PREPROCESS.model_copy(update={"min_frequency": 1}))
    assert preprocessor.categories_[0].levels == ("p", "q")


def test_large_strings_are_text() -> None:
    text = pa.array(["b", "a", None, "b"], pa.large_string())
    table = load(
        pa.table({"t": text, "d": pa.array(["2020-01-01"] * 4, pa.large_string()), "y": text.fill_null("a")}),
        "t.parquet",
    )
    assert table.classes == ("a", "b")
    assert [None if pd.isna(cell) else cell for cell in table.frame["t"]] == text.to_pylist()
    assert table.frame["d"].tolist() == [pd.Timestamp("2020-01-01", tz="UTC")] * 4


def test_text_in_several_row_groups_is_one_column() -> None:
    content = pa.table({"t": ["b", "a", None, "c", "b", "a"], "y": list("pqpqpq")})
    parquet.write_table(content, "t.parquet", row_group_size=2)
    frame = whole_table(Csv.model_validate({**DEFAULTS, "path": "t.parquet"})).frame
    assert [None if pd.isna(cell) else cell for cell in frame["t"]] == content["t"].to_pylist()


def test_of_several_columns_that_are_refused_the_first_is_named() -> None:
    bad = {f"c{i}": [1.0, np.inf, 2.0, 3.0] * 1000 for i in range(8)}
    content = pd.DataFrame({"sound": np.arange(4000) + 0.5, **bad, "y": list("ab") * 2000})
    content.to_parquet("t.parquet")
    config = load_config(["data=csv", "data.path=t.parquet", "data.target=y", "tracking=none"])
    for _ in range(5):
        with pytest.raises(DataError, match=r"^column 'c0': "):
            prepare(config)


def test_names_with_dots_are_not_paths() -> None:
    content = pa.table({"a": [{"b": 7}, {"b": 8}], "a.b": [1, 2], "": [3, 4], "y": ["p", "q"]})
    assert columns(load(content, "t.parquet", drop=["a"])) == {"a.b": [1, 2], "Unnamed: 2": [3, 4]}
    twice = pa.table([[1, 2], [3, 4], ["p", "q"]], names=["", "", "y"])
    assert message(twice, "t.parquet") == "t.parquet: column name '' stands 2 times; names must differ"


def test_a_parquet_file_of_no_columns_is_refused() -> None:
    assert message(pd.DataFrame(index=range(3)), "t.parquet") == "t.parquet: has no rows"


def test_a_pandas_index_is_a_column_where_it_has_a_name() -> None:
    frame = pd.DataFrame({"x": [1, 2, 3], "y": ["a", "b", "a"]}, index=[5, 6, 7])
    assert list(load(frame, "t.parquet").frame) == ["x"]
    assert columns(load(frame.rename_axis("key"), "t.parquet"))["key"] == [5, 6, 7]
    assert list(load(frame.set_index([frame.index, frame["x"].rename("z")]), "t.parquet").frame) == ["x", "z"]


LONG = 300_000  # rows: several of the blocks of 1 MB that Arrow reads, and the last one unlike the first


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ("17", "18", [17, 18]),
        ("17", "0.5", [17, 0.5]),
        ("17", "late", ["17", "late"]),
        ("", "5", [None, 5]),
        ("", "late", [None, "late"]),
        ("0", "true", [False, True]),
        ("true", "0", [True, False]),
        ("2020-01-01", "2020-01-02", [pd.Timestamp("2020-01-01"), pd.Timestamp("2020-01-02")]),
        ("2020-01-01", "2020-01-02 10:00:00", [pd.Timestamp("2020-01-01"), pd.Timestamp("2020-01-02 10:00")]),
        ("01:00:00", "02:00:00", [3600, 7200]),
        ("17", "9223372036854775808", [17, 2.0**63]),
    ],
)
def test_a_column_is_what_all_its_rows_say(first: str, last: str, expected: list[Any]) -> None:
    rows = "".join(f"{first},{i % 2},abcdef\n" for i in range(LONG))
    frame = load(f"a,y,z\n{rows}{last},1,abcdef\n", categorical=["a"] if expected[-1] == "late" else []).frame
    assert [None if pd.isna(cell) else cell for cell in frame["a"].iloc[[0, -1]]] == expected
    assert len(frame) == LONG + 1


def test_blocks_are_joined_in_order() -> None:
    content = pd.DataFrame({"a": np.arange(LONG), "t": [f"t{i}" for i in range(LONG)], "y": np.arange(LONG) % 3})
    frame = load(content).frame
    np.testing.assert_array_equal(frame["a"], content["a"])
    assert frame["t"].tolist() == content["t"].tolist()


def test_a_digest_is_of_the_whole_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "DIGEST_BYTES", 7)
    rows = [f"{i},{i % 2}" for i in range(20)]
    contents = [rows, [*rows[:3], "x,1", *rows[4:]], rows[:-1], [*rows[10:], *rows[:10]]]
    assert len({load("a,y\n" + "\n".join(lines), categorical=["a"]).digest for lines in contents}) == 4


def test_quotes_newlines_bom_and_crlf() -> None:
    table = load('\ufeffa,text,y\r\n1,"x, ""y""\r\nz",p\r\n2,w,q\r\n')
    assert columns(table) == {"a": [1, 2], "text": ['x, "y"\r\nz', "w"]}


def test_names_may_be_numbers_unicode_or_hold_spaces() -> None:
    table = load("1,größe in m, b,y\n1,2,3,p\n4,5,6,q\n")
    assert list(table.frame) == ["1", "größe in m", " b"]


def test_unnamed_columns_get_names_as_in_pandas() -> None:
    table = load(",a,,y\n0,5,,p\n1,6,,q\n")
    assert list(table.frame) == ["Unnamed: 0", "a", "Unnamed: 2"]
    assert list(load(",a,y\n0,5,p\n1,6,q\n", drop=["Unnamed: 0"]).frame) == ["a"]


def test_a_cell_larger_than_arrows_block_is_read() -> None:
    text = "x" * 3_000_000
    assert columns(load(f"a,y\n{text},p\nb,q\n"))["a"] == [text, "b"]


def test_a_column_that_turns_to_text_late_is_text() -> None:
    table = load("a,y\n" + "1,p\n2,q\n" * 200_000 + "late,p\n" * 200_000)
    assert table.frame["a"].iloc[[0, -1]].tolist() == ["1", "late"]


@pytest.mark.parametrize(
    ("separator", "header", "fix"),
    [
        (";", "a;b;y", """if ';' separates fields, set 'data.separator=";"'"""),
        ("|", "a|b|y", """if '|' separates fields, set 'data.separator="|"'"""),
        ("\t", "a b y", """if '\\t' separates fields, set $'data.separator="\\t"'"""),
    ],
)
def test_separator(separator: str, header: str, fix: str) -> None:
    content = "a,b,y\n1,2,p\n3,4,q\n".replace(",", separator)
    assert columns(load(content, separator=separator)) == {"a": [1, 3], "b": [2, 4]}
    assert message(content) == f"table.csv: has one column, '{header}'; {fix}"


def test_missing_values_are_read_in_every_format() -> None:
    text = load("a,b,y\n1,?,p\n-9,v,q\n,NA,p\n", missing_values=["?", "-9"]).frame
    frame = pd.DataFrame({"a": [1, -9, None], "b": ["?", "v", None], "y": ["p", "q", "p"]})
    typed = load(frame, "t.parquet", missing_values=["?", "-9"]).frame
    for read in (text, typed):
        assert read.isna().to_numpy().tolist() == [[False, True], [True, False], [True, True]]


def test_a_path_may_begin_with_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write("a,y\n1,p\n2,q\n", "home.csv")
    table = whole_table(Csv.model_validate({**DEFAULTS, "path": "~/home.csv"}))
    assert table.source == str(tmp_path / "home.csv")


@pytest.mark.parametrize(
    ("name", "stem"), [("sales.2024.csv", "sales.2024"), ("a.b.csv.gz", "a.b"), (".csv", ".csv"), ("A.CSV", "A")]
)
def test_a_table_is_called_as_its_file(name: str, stem: str) -> None:
    assert load("a,y\n1,p\n2,q\n", name).name == stem


def test_digest_follows_the_content() -> None:
    content = "a,y\n1,p\n2,q\n"
    write(content, "test.csv")
    digests = [load(content).digest, load(content, "other.csv").digest, load(content + "3,p\n").digest]
    digests.append(load(content, test_path="test.csv").digest)
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        ("", "t.csv", "t.csv: Empty CSV file"),
        ("a,y\n", "t.csv", "t.csv: has no rows"),
        ("a,a,y\n1,2,p\n", "t.csv", "t.csv: column name 'a' stands 2 times; names must differ"),
        ("a,y\n1,p\n\n2,q,3\n", "t.csv", "t.csv: row 2: expected 2 columns, got 3: 2,q,3"),
        ('a,y\n1,"p\np"\n2\n', "t.csv", "t.csv: row 2: expected 2 columns, got 1: 2"),
        (
            "a,b,y\n1,,p\n2,é,q\n".encode("latin-1"),
            "t.csv",
            "t.csv: column 'b' is not UTF-8 text in row 2; save the file as UTF-8",
        ),
        ("é,y\n1,p\n".encode("latin-1"), "t.csv", "t.csv: the header is not UTF-8 text; save the file as UTF-8"),
        ("a,y\n1,p\n", "t.xlsx", "data.path: must end in .csv, .csv.gz or .parquet, got 't.xlsx'"),
        (pd.DataFrame({"a": [], "y": []}), "t.parquet", "t.parquet: has no rows"),
    ],
)
def test_a_file_that_cannot_be_read(content: str | bytes | pd.DataFrame, name: str, said: str) -> None:
    assert message(content, name) == said


@pytest.mark.parametrize("name", ["t.csv.gz", "t.parquet"])
def test_a_broken_file_is_one_line_that_names_it(name: str) -> None:
    Path(name).write_bytes(b"not what the suffix says")
    with pytest.raises(DataError, match=rf"^{name}: [^\n]+$"):
        whole_table(Csv.model_validate({**DEFAULTS, "path": name}))


def test_an_absent_file_is_named_by_its_setting() -> None:
    with pytest.raises(DataError, match=r"^data.path: no such file, got 'none.csv'$"):
        whole_table(Csv.model_validate({**DEFAULTS, "path": "none.csv"}))
    assert message("a,y\n1,p\n", test_path="none.csv") == "data.test_path: no such file, got 'none.csv'"


# ---------------------------------------------------------------- columns
def test_dates_written_as_text_become_moments() -> None:
    table = load(pd.DataFrame({"a": ["2020-01-01", None, "2020-01-02T10:00:00+02:00"], "y": list("pqp")}), "t.parquet")
    assert table.frame["a"].tolist()[::2] == [
        pd.Timestamp("2020-01-01", tz="UTC"),
        pd.Timestamp("2020-01-02 08:00", tz="UTC"),
    ]


def test_a_date_column_with_mistakes_is_refused_unless_it_is_to_be_text() -> None:
    content = "a,y\n" + "2020-01-01,p\n9999-12-31,q\n" * 5 + "2020-13-01,p\n"
    said = "column 'a': 1 of 11 values are not dates such as 2020-01-31, first is '2020-13-01' in row 11"
    assert message(content) == said
    assert load(content, categorical=["a"]).frame["a"].iloc[-1] == "2020-13-01"
    write("a,b,y\n2020-13-01,1,p\n2020-01-01,2,q\n", "table.csv")
    assert list(whole_table(Csv.model_validate({**DEFAULTS, "drop": ["a"]})).frame) == ["b"]


def test_numbers_named_categorical_become_text_without_a_point() -> None:
    big = 2**53
    content = f"zip,big,y\n10115,{big},p\n,{big + 1},q\n80331.5,{big},p\n"
    table = load(content, categorical=["zip", "big"])
    assert columns(table) == {"zip": ["10115", None, "80331.5"], "big": [str(big), str(big + 1), str(big)]}


def test_text_among_numbers_names_the_first_and_the_way_out() -> None:
    content = "age,y\n" + "1,p\n2,q\n" * 4 + "old,p\nold,q\n"
    assert message(content) == (
        "column 'age': 2 of 10 values are not numbers, first is 'old' in row 9; if it means missing, "
        "set data.missing_values=[old], if the column holds categories, data.categorical=[age]"
    )
    assert load(content, missing_values=["old"]).frame["age"].isna().sum() == 2
    assert load(content, categorical=["age"]).frame["age"].iloc[0] == "1"


def test_a_way_out_can_be_typed_in_a_shell() -> None:
    content = '"Größe (m)",y\n' + "1,p\n2,q\n" * 4 + "?,p\n"
    said = message(content)
    assert """set 'data.missing_values=["?"]', if the""" in said
    assert said.endswith("""'data.categorical=["Größe (m)"]'""")
    fixes = [f"data.{setting}" for setting in ('missing_values=["?"]', 'categorical=["Größe (m)"]')]
    data = load_config(["data=csv", "data.path=table.csv", "data.target=y", *fixes]).data
    assert list(whole_table(data).frame) == ["Größe (m)"]


def test_a_long_value_is_shown_shortened_on_one_line() -> None:
    content = "a,y\n" + "1,p\n2,q\n" * 4 + '"x\n' + "y" * 90 + '",p\n'
    assert f"first is 'x {'y' * 47}…' in row 9;" in message(content)


@pytest.mark.parametrize("cells", ["1,5;2,5;3", "1,200;3,400,000.5;-7,000"])
def test_numbers_with_commas_are_no_categories(cells: str) -> None:
    content = "a;y\n" + "\n".join(f"{cell};{row % 2}" for row, cell in enumerate(cells.split(";")))
    first, n_bad = cells.split(";")[0], sum("," in cell for cell in cells.split(";"))
    assert message(content, separator=";") == (
        f"column 'a': {n_bad} of 3 values are not numbers, first is '{first}' in row 1; write numbers with a decimal "
        "point and without commas, if the column holds categories, data.categorical=[a]"
    )


def test_few_numbers_among_text_are_categories() -> None:
    assert columns(load("a,y\n1,p\nb,q\nc,p\nd,q\n"))["a"] == ["1", "b", "c", "d"]


def test_infinite_values_are_refused() -> None:
    assert message("a,b,y\n1,1,p\n2,inf,q\n3,-inf,p\n") == (
        "column 'b': 2 of 3 values are infinite, first in row 2; make them missing or finite"
    )
    assert message("a,y\n1,1.5\n2,inf\n3,2\n") == (
        "column 'y': 1 of 3 values are infinite, first in row 2; make them missing or finite"
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"target": "z"}, "column 'z': not in the table; columns: height, weight, y"),
        ({"target": "hight"}, "column 'hight': not in the table; did you mean 'height'?"),
        ({"drop": ["weigt"]}, "column 'weigt': not in the table; did you mean 'weight'?"),
        ({"categorical": ["weigt"]}, "column 'weigt': not in the table; did you mean 'weight'?"),
        ({"group": "weigt"}, "column 'weigt': not in the table; did you mean 'weight'?"),
        ({"time": "weigt"}, "column 'weigt': not in the table; did you mean 'weight'?"),
        ({"drop": ["y"]}, "data.drop: column 'y' is the target"),
        ({"categorical": ["y"]}, "data.categorical: column 'y' is the target"),
        ({"group": "y"}, "data.group: column 'y' is the target"),
        ({"time": "y"}, "data.time: column 'y' is the target"),
        ({"target": ["y", "y"]}, "data.target: column 'y' stands 2 times"),
        (
            {"drop": ["height"], "categorical": ["height"]},
            "data.categorical: column 'height' is in data.drop and so no feature",
        ),
        (
            {"group": "height", "categorical": ["height"]},
            "data.categorical: column 'height' is in data.group and so no feature",
        ),
        ({"drop": ["height", "weight"]}, "no feature columns: the target, data.drop and data.group leave none"),
    ],
)
def test_a_column_without_its_role(fields: dict[str, Any], said: str) -> None:
    assert message("height,weight,y\n1,2,p\n3,4,q\n", **fields) == said


def test_group_is_no_feature_and_time_is_one_unless_dropped() -> None:
    content = "a,g,t,y\n1,u,2020-01-01,p\n2,v,2020-01-02,q\n"
    grouped = load(content, group="g")
    assert (list(grouped.frame), grouped.group is not None) == (["a", "t"], True)
    timed = load(content, time="t")
    assert (list(timed.frame), timed.time is not None) == (["a", "g", "t"], True)
    dropped = load(content, time="t", drop=["t"])
    assert (list(dropped.frame), dropped.time is not None) == (["a", "g"], True)


@pytest.mark.parametrize(
    ("column", "warned"),
    [
        ({"PassengerId": range(40)}, True),
        ({"row": range(40, 0, -1)}, True),
        ({"user_id": np.random.default_rng(0).permutation(40)}, True),
        ({"name": [f"n{i}" for i in range(40)]}, True),
        ({"amount": np.random.default_rng(0).permutation(40)}, False),
        ({"score": np.arange(40) + 0.5}, False),
        ({"colour": ["red", "blue"] * 20}, False),
    ],
)
def test_columns_that_look_like_ids_are_named(column: dict[str, Any], warned: bool) -> None:
    (name,) = column
    table = load(pd.DataFrame({**column, "y": ["p", "q"] * 20}))
    note = (
        f"column '{name}' looks like an id (40 distinct values in 40 rows); "
        f"if it is one, leave it out with data.drop=[{name}]"
    )
    assert (note in table.notes) == warned


# ---------------------------------------------------------------- target and task
@pytest.mark.parametrize(
    ("target", "task", "classes"),
    [
        (["yes", "no", "yes"], "binary", ("no", "yes")),
        ([True, False, True], "binary", ("False", "True")),
        ([0.0, 1.0, 1.0], "binary", ("0", "1")),
        ([-0.0, 0.0, 1.0], "binary", ("0", "1")),
        (np.array([3, 1, 2], np.uint8), "multiclass", ("1", "2", "3")),
        ([10, 9, 100], "multiclass", ("9", "10", "100")),
        (["10", "9", "100"], "multiclass", ("9", "10", "100")),
        (pd.Categorical([10, 9, 9]), "binary", ("9", "10")),
        (pd.array([1, 0, 1], dtype="Int64"), "binary", ("0", "1")),
        (pd.array([True, False, True], dtype="boolean"), "binary", ("False", "True")),
        (range(20), "multiclass", tuple(str(i) for i in range(20))),
        (range(21), "regression", ()),
        ([0.5, 1.0, 2.0], "regression", ()),
        ([Decimal("0.5"), Decimal("1.5")], "regression", ()),
    ],
)
def test_task_is_inferred(target: Any, task: str, classes: tuple[str, ...]) -> None:
    frame = pd.DataFrame({"a": range(len(target)), "y": target})
    table = load(frame, "t.parquet")
    assert (table.task, table.classes) == (task, classes)
    if classes:
        given = [str(int(v)) if isinstance(v, float) else str(v) for v in frame["y"].tolist()]
        assert [classes[code] for code in table.targets["y"]] == given
        assert table.targets["y"].dtype == np.int64
        assert table.notes[0] == (
            f"task: classification of 'y', {len(classes)} classes "
            f"({len(classes)} distinct values in the target; data.task overrides)"
        )
    else:
        assert table.targets["y"].tolist() == [float(value) for value in target]
        n_distinct = len(target)
        assert table.notes[0] == (
            f"task: regression of 'y' ({n_distinct} distinct numbers in the target; data.task overrides)"
        )


def test_task_can_be_asked_for() -> None:
    content = "a,y\n1,0\n2,1\n3,2\n"
    assert load(content).task == "multiclass"
    asked = load(content, task="regression")
    assert (asked.task, asked.targets["y"].tolist()) == ("regression", [0.0, 1.0, 2.0])
    assert asked.notes[0] == "task: regression of 'y' (as asked; data.task overrides)"
    fractions = load("a,y\n1,0.5\n2,1.5\n3,0.5\n", task="classification")
    assert (fractions.task, fractions.classes) == ("binary", ("0.5", "1.5"))
    numeric_text = pd.DataFrame({"a": [1, 2], "y": ["0.5", "2"]})
    assert load(numeric_text, "t.parquet", task="regression").targets["y"].tolist() == [0.5, 2]


def test_several_targets_mean_regression() -> None:
    content = "a,u,v\n1,0,1\n2,1,0\n3,0,1\n"
    table = load(content, target=["u", "v"])
    assert (table.task, table.targets.to_numpy().tolist()) == ("regression", [[0, 1], [1, 0], [0, 1]])
    assert table.notes[0] == "task: regression of 'u', 'v' (2 targets; data.task overrides)"
    assert message(content, target=["u", "v"], task="classification") == (
        "data.target: several targets mean regression, got data.task=classification with ['u', 'v']"
    )


@pytest.mark.parametrize(
    ("content", "fields", "said"),
    [
        (
            "a,y\n1,p\n2,\n3,q\n4,NA\n",
            {},
            "column 'y': the target is missing in 2 of 4 rows, first in row 2; remove or fill these rows",
        ),
        ("a,y\n1,p\n2,p\n", {}, "column 'y': the target has one class only, 'p'"),
        ("a,y\n1,1\n2,1\n", {}, "column 'y': the target has one class only, '1'"),
        ("a,y\n1,1.5\n2,1.5\n", {}, "column 'y': the target is the same in every row, 1.5"),
        ("a,u,v\n1,1,5\n2,2,5\n", {"target": ["u", "v"]}, "column 'v': the target is the same in every row, 5"),
        (
            "a,y\n1,2\n2,p\n3,q\n",
            {"task": "regression"},
            "column 'y': 2 of 3 values are not numbers, first is 'p' in row 2",
        ),
        (
            "a,y\n1,2020-01-01\n2,2020-01-02\n",
            {},
            "column 'y': a target must hold numbers, text or booleans, first is '2020-01-01 00:00:00'",
        ),
    ],
)
def test_a_target_that_cannot_be_trained_on(content: str, fields: dict[str, Any], said: str) -> None:
    assert message(content, **fields) == said


# ---------------------------------------------------------------- test file
TRAIN = "a,t,when,y\n1,u,2020-01-01,p\n2,v,2020-01-02,q\n3,u,2020-01-03,p\n"


def test_test_rows_come_last_with_the_columns_of_the_first_file() -> None:
    write("y,extra,when,t,a\nq,9,2021-01-01,w,7.5\n", "test.csv")
    table = load(TRAIN, test_path="test.csv")
    assert table.n_given_test == 1
    assert list(table.frame) == ["a", "t", "when"]
    assert table.frame.iloc[-1].tolist() == [7.5, "w", pd.Timestamp("2021-01-01", tz=table.frame["when"].dt.tz)]
    assert table.targets["y"].tolist() == [0, 1, 0, 1]


def test_test_rows_of_other_types_are_read_as_the_first_files() -> None:
    test = pd.DataFrame({"a": ["7", None], "t": [1, 2], "when": ["2021-01-01T00:00:00+01:00", None], "y": ["p", "q"]})
    write(test, "test.parquet")
    frame = load(TRAIN, test_path="test.parquet").frame
    assert frame["a"].iloc[3] == 7
    assert frame["t"].tolist() == ["u", "v", "u", 1, 2]
    assert frame["when"].iloc[3] == pd.Timestamp("2020-12-31 23:00", tz="UTC")


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ("a,t,y\n1,u,p\n", "data.test_path: column 'when' of table.csv is not in test.csv"),
        (
            "a,t,when\n1,u,2020-01-01\n",
            "data.test_path: column 'y' of table.csv is not in test.csv; test rows need their target",
        ),
        (
            "a,t,when,y\n1,u,2020-01-01,p\n1,u,2020-01-01,\n",
            "column 'y' of test.csv: the target is missing in 1 of 2 rows, first in row 2; remove or fill these rows",
        ),
        (
            "a,t,when,y\nold,u,2020-01-01,p\n",
            "column 'a' of test.csv: 1 of 1 values are not numbers, first is 'old' in row 1",
        ),
        (
            "a,t,when,y\n1,u,never,p\n",
            "column 'when' of test.csv: 1 of 1 values are not dates such as 2020-01-31, first is 'never' in row 1",
        ),
        (
            "a,t,when,y\n1,u,5,p\n",
            "column 'when' of test.csv: 1 of 1 values are not dates such as 2020-01-31, first is '5' in row 1",
        ),
        (
            "a,t,when,y\n1,u,2020-01-01,p\ninf,u,2020-01-01,p\n",
            "column 'a' of test.csv: 1 of 2 values are infinite, first in row 2; make them missing or finite",
        ),
    ],
)
def test_a_test_file_that_does_not_fit(test: str, said: str) -> None:
    write(test, "test.csv")
    assert message(TRAIN, test_path="test.csv") == said


def test_test_rows_do_not_turn_a_category_into_a_number() -> None:
    write("a,flag,y\n1,1,p\n2,5,q\n", "test.csv")
    table = load("a,flag,y\n1,true,p\n2,false,q\n", test_path="test.csv")
    preprocessor = fitted_to(table, np.arange(2), PREPROCESS.model_copy(update={"min_frequency": 1}))
    assert preprocessor.categories_[0].levels == ("False", "True")
    assert preprocessor.transform(table.frame)[0][:, 1:].tolist() == [[0, 1], [1, 0], [0, 1], [0, 0]]


def test_dropped_columns_may_be_absent_from_the_test_file_or_hold_anything() -> None:
    write("a,t,y\nanything,u,p\n", "test.csv")
    table = load(TRAIN, test_path="test.csv", drop=["when", "a"])
    assert list(table.frame) == ["t"]


def test_categorical_numbers_may_be_text_in_the_test_file() -> None:
    write("a,t,when,y\nA1,u,2020-01-01,p\n", "test.csv")
    assert load(TRAIN, test_path="test.csv", categorical=["a"]).frame["a"].tolist() == ["1", "2", "3", "A1"]


def test_a_class_that_only_the_test_file_has_is_a_class() -> None:
    write("a,t,when,y\n1,u,2020-01-01,r\n", "test.csv")
    assert load(TRAIN, test_path="test.csv").classes == ("p", "q", "r")


def test_text_in_a_number_target_is_refused_instead_of_making_every_value_a_class(tmp_path: Path) -> None:
    values = [f"{0.5 + row}" for row in range(99)]
    values[57] = "abc"
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{row},{value}\n" for row, value in enumerate(values)))
    message = (
        "column 'y': 1 of 99 values are not numbers, first is 'abc' in row 58; "
        "correct them, or set data.task=classification if all are labels"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        whole_table(load_config(["data=csv", "data.path=t.csv", "data.target=y"]).data)


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^data\.path: is a folder, not a file, got '\.'$"):
        whole_table(load_config(["data=csv", "data.path=.", "data.target=y"]).data)
