"""Intervals and tests over seeds, against SciPy and values worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.comparisons.paired import holm, p_value, p_values, t_interval

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9)


@given(values=VALUES)
def test_the_interval_is_student_s(values: list[float]) -> None:
    found = t_interval(values)
    error = stats.sem(values)
    low = high = np.mean(values)
    if error:
        low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=error)
    assert found.value == pytest.approx(np.mean(values))
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)


def test_one_value_has_no_bounds_and_no_test() -> None:
    found = t_interval([2.0])
    assert found.value == 2
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert p_values({"a": np.array([2.0])}) == {}


@given(values=VALUES.filter(lambda values: np.std(values) > 1e-6))
def test_the_p_value_is_that_of_a_paired_t_test(values: list[float]) -> None:
    assert p_value(values) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=1e-9)


def test_differences_without_spread_are_certain_or_none() -> None:
    assert (p_value([0.0, 0.0]), p_value([1.0, 1.0])) == (1.0, 0.0)


def test_holm_corrects_the_smallest_most_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_several_differences_are_adjusted_for_their_number() -> None:
    found = p_values({"a": np.array([1.0, 1.1, 0.9]), "b": np.array([1.0, -1.0, 0.5])})
    assert found["a"] == pytest.approx(2 * p_value([1.0, 1.1, 0.9]))
    assert found["b"] == pytest.approx(p_value([1.0, -1.0, 0.5]))
