"""Raw columns: described by their training rows, and handed over as a bundle takes them."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline.bundle import MISSING, Column
from pipeline.data.raw import raw_values, sampled
from tests.test_preprocess import fitted


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 3], [1.0, 2.0, 3.0]),
        (pd.array([1, None], dtype="Int64"), [1.0, np.nan]),
        ([1.5, np.nan], [1.5, np.nan]),
        (["a", None, ""], ["a", MISSING, ""]),
        ([True, False], ["True", "False"]),
        (pd.array([True, None], dtype="boolean"), ["True", MISSING]),
        (np.array([1.0, 2.5, "a", None], dtype=object), ["1", "2.5", "a", MISSING]),
        (pd.Categorical(["b", None, "a"]), ["b", MISSING, "a"]),
        (pd.DatetimeIndex(["1970-01-02", None]), [86400.0, np.nan]),
        (pd.to_datetime(["1970-01-01 01:00:00+01:00", "1969-12-31 23:59:59Z"], utc=True), [0.0, -1.0]),
        (pd.to_datetime(["1969-12-31 23:59:59.999999999"]), [-1e-6]),
        (pd.to_datetime(["2023-11-14 22:13:19.999999999"]), [1_699_999_999.999999]),
    ],
)
def test_values_are_what_the_preprocessor_reads_in_the_type_that_a_bundle_takes(values: Any, expected: Any) -> None:
    found = raw_values(pd.Series(values))
    assert found.dtype == (object if isinstance(expected[0], str) else np.float64)
    np.testing.assert_array_equal(found, np.array(expected, dtype=found.dtype))


def test_text_as_files_give_it_is_read_by_its_place_not_by_its_index() -> None:
    coded = pd.Series(pd.arrays.ArrowExtensionArray(pa.array(["a", "b", None, ""]).dictionary_encode()))
    assert raw_values(coded.iloc[[3, 2, 1]]).tolist() == ["", MISSING, "b"]


def test_columns_are_described_by_their_training_rows_alone() -> None:
    frame = pd.DataFrame(
        {
            "n": [3.0, 1.0, 2.0, np.nan, 0.5],
            "c": ["b", "a", None, "a", "zz"],
            "d": pd.DatetimeIndex(["1970-01-01", "1970-01-03", None, "2000-01-01", "2100-01-01"]),
            "same": ["s"] * 5,
            "none": [np.nan] * 5,
        }
    )
    assert fitted(frame, n_train=3).columns_ == (
        Column("n", "number", False, True, 1.0, 3.0, (), 3.0),
        Column("c", "category", True, False, None, None, ("a", "b"), "b"),
        Column("d", "datetime", True, False, 0.0, 172800.0, (), 0.0),
        Column("same", "category", False, False, None, None, ("s",), "s"),
        Column("none", "number", True, False, None, None, (), None),
    )
    rare = fitted(frame, min_frequency=2).columns_[1]
    assert (rare.levels, rare.rare) == (("a",), True)


@pytest.mark.parametrize("n_rows", [1, 2, 255, 256, 257, 100_000])
def test_a_sample_is_spread_over_all_rows(n_rows: int) -> None:
    found = sampled(n_rows)
    assert len(found) == min(n_rows, 256)
    assert (found[0], found[-1]) == (0, n_rows - 1)
    assert (np.diff(found) > 0).all()
