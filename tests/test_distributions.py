"""What a search space may hold at a place, and what is no range."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.distributions import ADAPTER, Float, Int, plain

FINITE = st.floats(-1e6, 1e6)


@given(ends=st.tuples(FINITE, FINITE))
def test_a_range_goes_from_low_to_high(ends: tuple[float, float]) -> None:
    low, high = sorted(ends)
    assert ADAPTER.validate_python({"type": "float", "low": low, "high": high}) == Float(
        type="float", low=low, high=high
    )
    if low < high:
        with pytest.raises(ValidationError, match=f"low: must not be above high {low}, got {high}"):
            ADAPTER.validate_python({"type": "float", "low": high, "high": low})


@pytest.mark.parametrize("kind", ["float", "int"])
@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"low": 0, "high": 1, "log": True}, "low: must be above 0 with log, got 0"),
        ({"low": 1, "high": 9, "log": True, "step": 2}, "step: cannot be used with log, got 2"),
    ],
)
def test_a_logarithm_needs_numbers_above_0_and_no_steps(kind: str, given: dict[str, object], rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        ADAPTER.validate_python({"type": kind, **given})


@pytest.mark.parametrize("bad", [1.5, True, "3"])
def test_an_int_range_is_of_whole_numbers(bad: object) -> None:
    with pytest.raises(ValidationError):
        ADAPTER.validate_python({"type": "int", "low": bad, "high": 9})
    assert ADAPTER.validate_python({"type": "int", "low": 1, "high": 9}) == Int(type="int", low=1, high=9)


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"choices": ["a", "b", "a"]}, "choices: must differ, got a twice"),
        ({"choices": [True, "true"]}, "choices: must differ, got true twice"),  # a branch could not tell them apart
        ({"choices": ["a"], "branches": {"b": {}}}, "branches: 'b' is none of the choices a"),
        ({"choices": []}, "at least 1 item"),
    ],
)
def test_choices_differ_and_branches_are_of_choices(given: dict[str, object], rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        ADAPTER.validate_python({"type": "categorical", **given})


@pytest.mark.parametrize(
    ("choice", "text"),
    [("adam", "adam"), (True, "true"), (None, "null"), ([64, 32], "[64,32]"), ((1,), "[1]"), (0.5, "0.5")],
)
def test_a_choice_is_named_as_it_is_typed_in_an_override(choice: object, text: str) -> None:
    assert plain(choice) == text


@pytest.mark.parametrize(
    ("choices", "said"), [([0, False], "0 and false"), ([True, 1], "true and 1"), ([1, 1.0], "1 and 1.0")]
)
def test_choices_that_optuna_takes_for_one_are_refused(choices: list[object], said: str) -> None:
    with pytest.raises(ValidationError, match=f"choices: must differ, got {said}"):
        ADAPTER.validate_python({"type": "categorical", "choices": choices})
