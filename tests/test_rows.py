"""Raw values to what a model takes, and every fault named."""

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.bundle import MISSING, Column, Schema
from pipeline.rows import UNSEEN, Fault, Rows, read_rows

NUMBER = Column("age", "number", False, True, 18.0, 90.0, (), 40.0)
GAPPY = Column("gappy", "number", True, False, 0.0, 1.0, (), None)
TOWN = Column("town", "category", False, False, None, None, ("3", "Köln", "True"), "Köln")
DATE = Column("joined", "datetime", True, False, 0.0, 1e9, (), 0.0)
IN_TRAINING = "a number (in training 18 to 90)"


def schema(*columns: Column) -> Schema:
    return Schema("t", "", "binary", ("y",), ("a", "b"), columns, 0.9, {}, {}, "", "", "")


def read(column: Column, values: Any, unknown: Any = "reject", *, textual: bool = False) -> Rows:
    rows = read_rows(schema(column), {column.name: values}, len(values), unknown=unknown, textual=textual)
    assert len(rows.columns[column.name]) == len(values)
    return rows


# ---------------------------------------------------------------- numbers
@pytest.mark.parametrize("values", [[1, 2.5, 3], np.array([1, 2.5, 3]), np.array([1, 2.5, 3], np.float32)])
def test_numbers_are_doubles(values: Any) -> None:
    rows = read(NUMBER, values)
    assert rows.faults == []
    assert rows.columns["age"].dtype == np.float64
    assert rows.columns["age"].tolist() == [1.0, 2.5, 3.0]


@pytest.mark.parametrize("value", ["40", "", "forty", True, [1], {"a": 1}, math.inf, -math.inf, 10**400])
def test_what_is_no_finite_number_is_a_fault_with_its_value(value: object) -> None:
    rows = read(NUMBER, [30, value])
    assert rows.faults == [Fault(2, "age", value, IN_TRAINING)]


def test_a_null_is_a_fault_only_where_training_had_none() -> None:
    assert read(NUMBER, [30, None]).faults == [Fault(2, "age", None, IN_TRAINING)]
    assert read(NUMBER, [30, None], "impute").faults == []
    rows = read(GAPPY, [0.5, None, math.nan])
    assert rows.faults == []
    assert np.isnan(rows.columns["gappy"]).tolist() == [False, True, True]


def test_numbers_outside_the_training_range_are_no_faults() -> None:
    assert read(NUMBER, [1000]).faults == []


@pytest.mark.parametrize(
    ("text", "value"),
    [("40", 40), (" 4e1 ", 40), ("-1.5", -1.5), ("", None), ("4_0", "fault"), ("x", "fault"), ("٤", "fault")],
)
def test_csv_says_numbers_as_text(text: str, value: object) -> None:
    rows = read(GAPPY, [text], textual=True)
    assert bool(rows.faults) == (value == "fault")
    if value != "fault":
        assert rows.columns["gappy"].tolist() == pytest.approx([math.nan if value is None else value], nan_ok=True)


# ---------------------------------------------------------------- categories
@pytest.mark.parametrize(
    ("value", "text"), [("Köln", "Köln"), (3, "3"), (3.0, "3"), (True, "True"), (np.int64(3), "3")]
)
def test_categories_are_the_text_that_training_read(value: object, text: str) -> None:
    rows = read(TOWN, [value])
    assert (rows.faults, rows.columns["town"].tolist()) == ([], [text])


@pytest.mark.parametrize("value", ["Bonn", "köln", None, "", 4, 2.5])
def test_an_unseen_or_missing_category_is_a_fault_and_taken_when_asked(value: object) -> None:
    assert read(TOWN, [value]).faults == [Fault(1, "town", value, "one of '3', 'Köln', 'True'")]
    assert read(TOWN, [value], "impute").faults == []


@pytest.mark.parametrize("value", ["Bonn", "Köln\0", "\ud800"])
def test_what_was_sent_for_an_unseen_category_does_not_reach_the_graph(value: str) -> None:
    assert read(TOWN, [value], "impute").columns["town"].tolist() == [UNSEEN]


@pytest.mark.parametrize(("cell", "text"), [("true", "True"), ("TRUE", "True"), ("3.0", "3"), ("köln", UNSEEN)])
def test_a_cell_of_csv_is_the_category_that_training_read_from_such_a_column(cell: str, text: str) -> None:
    assert read(TOWN, [cell], "impute", textual=True).columns["town"].tolist() == [text]


@pytest.mark.parametrize("value", [["Köln"], {"a": 1}, MISSING])
def test_what_is_no_category_at_all_is_always_a_fault(value: object) -> None:
    assert [fault.value for fault in read(TOWN, [value], "impute").faults] == [value]


def test_where_training_pooled_rare_categories_others_are_no_news() -> None:
    column = Column("town", "category", False, False, None, None, ("a",), "a", rare=True)
    assert read(column, ["b"]).faults == []


# ---------------------------------------------------------------- datetimes
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1970-01-02", 86400.0),
        ("1970-01-01T00:00:01.5", 1.5),
        ("1970-01-01T01:00:00+01:00", 0.0),
        ("1969-12-31T23:59:59Z", -1.0),
        (datetime(1970, 1, 1, 0, 1, tzinfo=UTC), 60.0),
        (None, math.nan),
        ("", math.nan),
    ],
)
def test_dates_are_seconds_since_1970_in_utc(value: object, seconds: float) -> None:
    rows = read(DATE, [value])
    assert rows.faults == []
    assert rows.columns["joined"].tolist() == pytest.approx([seconds], nan_ok=True)


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59.999999", "1970-01-01T00:00:00.000001", "0001-01-01"])
def test_one_date_is_what_many_are(text: str) -> None:
    given = np.array([text], "datetime64[us]")
    assert read(DATE, [text]).columns["joined"].tolist() == read(DATE, given).columns["joined"].tolist()


def test_one_plain_row_is_read_as_rows_are() -> None:
    row: dict[str, list[Any]] = {
        "age": [40],
        "gappy": [0.5],
        "town": ["Köln"],
        "joined": ["2001-09-09"],
        "other": ["3"],
    }
    columns = schema(NUMBER, GAPPY, TOWN, DATE, replace(TOWN, name="other"))
    one = read_rows(columns, row, 1, unknown="reject")
    two = read_rows(columns, {name: values * 2 for name, values in row.items()}, 2, unknown="reject")
    assert one.faults == two.faults == []
    for name in row:
        assert one.columns[name].dtype == two.columns[name].dtype
        assert [*one.columns[name].tolist()] * 2 == two.columns[name].tolist()


def test_numpy_dates_are_read_at_once() -> None:
    rows = read(DATE, np.array(["1970-01-02", "NaT"], "datetime64[ns]"))
    assert rows.columns["joined"].tolist() == pytest.approx([86400.0, math.nan], nan_ok=True)


@pytest.mark.parametrize("value", ["soon", "2020-13-01", 5, True, ["2020-01-01"]])
def test_what_is_no_date_is_a_fault(value: object) -> None:
    expected = "a date such as 2020-01-31 or 2020-01-31T12:00:00 or null"
    assert read(DATE, [value]).faults == [Fault(1, "joined", value, expected)]


# ---------------------------------------------------------------- tables
def test_absent_and_further_columns_are_faults_of_the_whole() -> None:
    rows = read_rows(schema(NUMBER, TOWN), {"age": [30], "x": [1]}, 1, unknown="reject")
    assert rows.faults == [
        Fault(None, "town", None, "a column of categories; it is absent"),
        Fault(None, "x", None, "no such column: the model was not trained with it"),
    ]
    faults = read_rows(schema(NUMBER), {"age": [30], "x": [1]}, 1, unknown="impute").faults
    assert faults == []


def test_every_fault_is_listed() -> None:
    rows = read_rows(schema(NUMBER, TOWN), {"age": ["a", 1, None], "town": ["x", "Köln", "y"]}, 3, unknown="reject")
    assert [(fault.row, fault.field) for fault in rows.faults] == [(1, "age"), (3, "age"), (1, "town"), (3, "town")]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)


@given(
    values=st.lists(ANYTHING, min_size=1, max_size=4),
    unknown=st.sampled_from(["reject", "impute"]),
    textual=st.booleans(),
)
def test_any_value_is_read_or_named(values: list[Any], unknown: Any, *, textual: bool) -> None:
    values = list(map(str, values)) if textual else values
    for column in (NUMBER, GAPPY, TOWN, DATE):
        rows = read(column, values, unknown, textual=textual)
        read_values = rows.columns[column.name]
        if column.kind == "category":
            assert all(isinstance(value, str) for value in read_values)
        else:
            assert not np.isinf(read_values).any()
        assert len({fault.row for fault in rows.faults}) == len(rows.faults)
