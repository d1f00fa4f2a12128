"""Ranks and differences of a leaderboard, by hand."""

import numpy as np
import pytest

from pipeline.comparisons.child import Child
from pipeline.leaderboards.ranking import describe, rank, ranks_of


def fits(*values: float) -> list[Child]:
    return [Child(test={"rmse": value, "accuracy": value}, seconds=1.0) for value in values]


def test_ties_share_their_average_rank_and_what_failed_comes_last() -> None:
    values = np.array([[1.0, 3.0], [1.0, 2.0], [np.nan, 1.0]])
    assert ranks_of(values).tolist() == [[1.5, 3.0], [1.5, 2.0], [3.0, 1.0]]


def test_the_best_comes_first_with_paired_differences_from_it() -> None:
    rows = rank({"t": {"a": fits(2, 4), "b": fits(1, 2)}}, {"t": "rmse"}).tables["t"]
    assert [(row.entrant, row.rank, row.value.value) for row in rows] == [("b", 1.0, 1.5), ("a", 2.0, 3.0)]
    assert rows[1].worse_by is not None
    assert rows[1].worse_by.value == 1.5


def test_a_score_is_better_when_higher() -> None:
    rows = rank({"t": {"a": fits(0.5, 0.6), "b": fits(0.8, 0.9)}}, {"t": "accuracy"}).tables["t"]
    assert [row.entrant for row in rows] == ["b", "a"]
    assert rows[0].value.value == pytest.approx(0.85)


def test_ranks_are_averaged_over_tables() -> None:
    one, two = {"a": fits(1), "b": fits(2)}, {"a": fits(3), "b": fits(2)}
    found = rank({"one": one, "two": two, "three": two}, dict.fromkeys(("one", "two", "three"), "rmse"))
    assert found.ranks == pytest.approx({"b": 4 / 3, "a": 5 / 3})
    assert describe(found)[3:] == [
        "over 3 tables: b is first with a mean rank of 1.33",
        "one split cannot tell a difference from noise; write seeds=5",
    ]


def test_what_failed_is_named_and_last() -> None:
    found = rank({"t": {"a": [Child(error="diverged"), *fits(0)], "b": fits(1, 2)}}, {"t": "rmse"})
    assert describe(found) == ["t: b is first, rmse 1.5; failed: a (1 of 2 seeds)"]
