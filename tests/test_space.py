"""A search space: read, checked, walked by whoever answers."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.distributions import Categorical, Scalar
from pipeline.errors import ConfigError
from pipeline.space import Question, ends, grid, nearest, overrides_of, parse_space, space_for, walk

OPTIMIZERS = {
    "optimizer": {
        "type": "categorical",
        "choices": ["sgd", "rmsprop"],
        "branches": {
            "sgd": {"optimizer.lr": {"type": "float", "low": 0.01, "high": 1, "log": True}},
            "rmsprop": {"optimizer.alpha": {"type": "float", "low": 0.9, "high": 0.99}},
        },
    }
}
HIDDEN = {
    "model.hidden": {
        "type": "list",
        "length": {"type": "int", "low": 1, "high": 3},
        "each": {"type": "int", "low": 8, "high": 64},
    }
}


def no_lists(path: str) -> int:
    raise AssertionError(path)


def high(question: Question) -> Scalar:
    kind = question.kind
    return kind.choices[-1] if isinstance(kind, Categorical) else kind.high


# ---------------------------------------------------------------- reading
def test_dotted_and_nested_paths_are_one() -> None:
    dotted: dict[str, Any] = {"model.dropout": {"type": "float", "low": 0, "high": 0.5}}
    nested: dict[str, Any] = {"model": {"dropout": {"type": "float", "low": 0, "high": 0.5}}}
    assert parse_space(dotted) == parse_space(nested)
    assert parse_space(dotted | {"model": {"dropout": {"high": 0.9, "type": "float"}}})["model.dropout"].high == 0.9  # type: ignore[union-attr]


def test_null_takes_a_path_out() -> None:
    assert list(parse_space(HIDDEN | OPTIMIZERS | {"optimizer": None})) == ["model.hidden"]


def test_what_is_for_another_task_goes() -> None:
    space = parse_space(
        HIDDEN | {"loss.label_smoothing": {"type": "float", "low": 0, "high": 0.1, "task": "classification"}}
    )
    assert list(space_for(space, "regression")) == ["model.hidden"]
    assert list(space_for(space, "binary")) == list(space)


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        ({}, ["search.space: is empty; give it a path, as 'search.space.model.dropout={type:float,low:0,high:0.5}'"]),
        ({"a.b": 3}, ["search.space.a.b: must be a distribution, as {type:float,low:0,high:1}, got 3"]),
        (
            {"a": {"type": "flot"}},
            ["search.space.a: type must be float, int, categorical, list, switch, got 'flot'"],
        ),
        (
            {"a": {"type": "float", "low": 2, "high": 1}, "b": {"type": "int", "low": 0, "high": 9, "log": True}},
            [
                "search.space.a.low: must not be above high 1.0, got 2.0",
                "search.space.b.low: must be above 0 with log, got 0",
            ],
        ),
        (
            {"a": {"type": "float", "low": 1, "high": 2, "log": True, "step": 0.1}},
            ["search.space.a.step: cannot be used with log, got 0.1"],
        ),
        (
            {"a": {"type": "int", "low": 1.5, "hi": 2}},
            [
                "search.space.a.low: must be a whole number, got 1.5",
                "search.space.a.high: must be given",
                "search.space.a.hi: no such setting",
            ],
        ),
        ({"a": {"type": "categorical", "choices": [1, 1]}}, ["search.space.a.choices: must differ, got 1 twice"]),
        (
            {"a": {"type": "categorical", "choices": ["x"], "branches": {"y": {}}}},
            ["search.space.a.branches: 'y' is none of the choices x"],
        ),
        (
            {"a": {"type": "switch", "branches": {"x": {}, "y": {"b": {"type": "int", "low": 2, "high": 1}}}}},
            ["search.space.a.branches.y.b.low: must not be above high 1, got 2"],
        ),
        (
            {"a": {"type": "list", "length": 2, "each": {"type": "int", "low": 2, "high": 1}}},
            ["search.space.a.each.low: must not be above high 1, got 2"],
        ),
    ],
)
def test_every_mistake_is_a_line_that_names_the_path(given: dict[str, Any], lines: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_space(given)
    assert list(caught.value.lines) == lines


# ---------------------------------------------------------------- walking
def test_a_choice_opens_its_own_settings_only() -> None:
    answers = walk(parse_space(OPTIMIZERS), high, no_lists)
    assert overrides_of(answers) == ["optimizer=rmsprop", "optimizer.alpha=0.99"]


def test_a_list_asks_for_its_length_and_then_each_entry() -> None:
    asked: list[str] = []

    def ask(question: Question) -> Scalar:
        asked.append(question.name)
        return high(question)

    assert walk(parse_space(HIDDEN), ask, no_lists) == {"model.hidden": [64, 64, 64]}
    assert asked == ["model.hidden.length", "model.hidden.0", "model.hidden.1", "model.hidden.2"]


def test_a_list_may_be_as_long_as_another_or_as_the_configs_own() -> None:
    follower = {
        "model.dropout": {"type": "list", "length": "model.hidden", "each": {"type": "float", "low": 0, "high": 0.5}}
    }
    assert walk(parse_space(HIDDEN | follower), high, no_lists)["model.dropout"] == [0.5] * 3
    assert walk(parse_space(follower), high, lambda path: 2)["model.dropout"] == [0.5] * 2


def test_a_shared_list_asks_once() -> None:
    shared = {"model.hidden": HIDDEN["model.hidden"] | {"shared": True}}
    asked: list[str] = []

    def ask(question: Question) -> Scalar:
        asked.append(question.name)
        return high(question)

    assert walk(parse_space(shared), ask, no_lists) == {"model.hidden": [64, 64, 64]}
    assert asked == ["model.hidden.length", "model.hidden"]


def test_a_switch_is_no_path_of_the_config() -> None:
    space = {"how": {"type": "switch", "branches": {"a": {}, "b": OPTIMIZERS}}}
    assert list(walk(parse_space(space), high, no_lists)) == ["optimizer", "optimizer.alpha"]


# ---------------------------------------------------------------- ends and grids
def test_ends_reach_both_ends_of_every_range_in_every_branch() -> None:
    reached = [answers | {} for answers in ends(parse_space(OPTIMIZERS | HIDDEN), no_lists)]
    seen = {(path, str(value)) for answers in reached for path, value in answers.items()}
    assert {
        ("optimizer.lr", "0.01"),
        ("optimizer.lr", "1.0"),
        ("optimizer.alpha", "0.9"),
        ("optimizer.alpha", "0.99"),
    } <= seen
    widths = {(len(answers["model.hidden"]), max(answers["model.hidden"])) for answers in reached}
    assert {(1, 8), (1, 64), (3, 8), (3, 64)} <= widths


def test_a_grid_is_every_combination_branches_included() -> None:
    space = {
        "optimizer": {
            "type": "categorical",
            "choices": ["sgd", "adam"],
            "branches": {"sgd": {"optimizer.lr": {"type": "float", "low": 0.1, "high": 0.3, "step": 0.1}}},
        },
        "seed": {"type": "int", "low": 0, "high": 1},
    }
    points = {tuple(point.items()) for point in grid(parse_space(space), no_lists)}
    rates, seeds = (0.1, 0.2, 0.1 + 2 * 0.1), (0, 1)
    assert points == {
        *((("optimizer", "sgd"), ("optimizer.lr/sgd", rate), ("seed", seed)) for rate in rates for seed in seeds),
        *((("optimizer", "adam"), ("seed", seed)) for seed in seeds),
    }


def test_a_grid_needs_steps() -> None:
    with pytest.raises(ConfigError) as caught:
        grid(parse_space(OPTIMIZERS), no_lists)
    assert list(caught.value.lines) == [
        "search.space.optimizer.lr: study.sampler=grid needs a step, as step=0.1, or choices"
    ]


# ---------------------------------------------------------------- the settings that are there already
def test_settings_that_the_space_holds_are_taken_as_they_are() -> None:
    known = {"optimizer": "sgd", "optimizer.lr": 0.1, "model.hidden": (32, 16)}
    parameters, notes = nearest(parse_space(OPTIMIZERS | HIDDEN), known.get, no_lists)
    assert notes == []
    assert parameters == {
        "optimizer": "sgd", "optimizer.lr/sgd": 0.1,
        "model.hidden.length": 2, "model.hidden.0": 32, "model.hidden.1": 16,
    }  # fmt: skip


def test_settings_outside_the_space_become_the_nearest_and_a_note() -> None:
    known = {"optimizer": "sgd", "optimizer.lr": 3.0}
    parameters, notes = nearest(parse_space(OPTIMIZERS), known.get, no_lists)
    assert parameters["optimizer.lr/sgd"] == 1.0
    assert notes == ["optimizer.lr=3.0 lies outside the space; the nearest is 1.0"]


@given(st.floats(-5, 5), st.floats(0.01, 2), st.integers(1, 9), st.floats(-20, 20))
def test_the_nearest_lies_in_the_range(low: float, step: float, n_steps: int, value: float) -> None:
    space = parse_space({"a": {"type": "float", "low": low, "high": low + n_steps * step, "step": step}})
    found = nearest(space, {"a": value}.get, no_lists)[0]["a"]
    assert isinstance(found, float)
    assert low <= found <= low + n_steps * step
    assert abs(found - min(max(value, low), low + n_steps * step)) <= step / 2 + 1e-9
