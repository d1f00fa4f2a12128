"""Permutation importance on losses whose answer is known."""

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.importance import (
    MAX_PASSES,
    MAX_ROWS,
    MAX_WORK,
    MIN_COLUMNS,
    MIN_ROWS,
    N_REPEATS,
    Importance,
    Source,
    permutation_importance,
)
from pipeline.types import Arrays

SOURCES: dict[str, Source] = {
    "noise": ([0], []),
    "weak": ([1], []),
    "strong": ([2], []),
    "code": ([], [0]),
}


def rows(n_rows: int = 1000) -> Arrays:
    rng = np.random.default_rng(0)
    num, cat = rng.normal(size=(n_rows, 3)).astype(np.float32), rng.integers(3, size=(n_rows, 1))
    return Arrays(num, cat, (num[:, 1] + 3 * num[:, 2] + 5 * cat[:, 0])[:, None])


def squared_error(arrays: Arrays) -> float:
    """The loss of a model that knows how `rows` was made."""
    told = arrays.num[:, 1] + 3 * arrays.num[:, 2] + 5 * arrays.cat[:, 0]
    return float(((told - arrays.y[:, 0]) ** 2).mean())


def unasked(arrays: Arrays) -> np.ndarray:
    raise AssertionError("the slopes are not needed")


def found(seed: int = 0, loss: Callable[[Arrays], float] = squared_error, n_rows: int = 1000) -> Importance:
    return permutation_importance(loss, unasked, rows(n_rows), SOURCES, seed=seed)


def test_columns_come_by_worth_and_the_rise_is_twice_the_variance() -> None:
    importance = found()
    assert importance.names == ("code", "strong", "weak", "noise")
    np.testing.assert_allclose(importance.mean, [2 * 25 * 2 / 3, 2 * 9, 2, 0], rtol=0.1)
    assert (importance.std[:3] > 0).all()


def test_a_column_the_loss_does_not_read_is_worth_nothing() -> None:
    importance = found()
    assert importance.mean[-1] == importance.std[-1] == 0


def test_columns_of_one_source_are_shuffled_together() -> None:
    """One-hot columns keep making a whole row, and the missing indicator follows its number."""
    codes = np.random.default_rng(0).integers(3, size=500)
    arrays = Arrays(np.eye(3, dtype=np.float32)[codes], codes[:, None], codes)

    def loss(given: Arrays) -> float:
        assert (given.num.sum(axis=1) == 1).all()
        assert (given.num.argmax(axis=1) == given.cat[:, 0]).all()
        return float((given.num.argmax(axis=1) != given.y).mean())

    importance = permutation_importance(loss, unasked, arrays, {"colour": ([0, 1, 2], [0])}, seed=0)
    assert importance.mean[0] == pytest.approx(2 / 3, abs=0.05)


def test_the_seed_gives_the_numbers() -> None:
    np.testing.assert_array_equal(found(seed=1).mean, found(seed=1).mean)
    assert (found(seed=1).mean[:3] != found(seed=2).mean[:3]).all()


def test_the_rows_given_are_left_as_they_were() -> None:
    given = rows()
    kept = Arrays(*(array.copy() for array in given))
    permutation_importance(squared_error, unasked, given, SOURCES, seed=0)
    for before, after in zip(kept, given, strict=True):
        np.testing.assert_array_equal(before, after)


def flat(arrays: Arrays) -> np.ndarray:
    return np.zeros_like(arrays.num)


def counted(n_rows: int, n_columns: int, row_work: int = 1, n_networks: int = 1) -> list[int]:
    seen: list[int] = []

    def loss(arrays: Arrays) -> float:
        seen.append(len(arrays.y))
        return 0.0

    given = Arrays(np.zeros((n_rows, n_columns), np.float32), np.zeros((n_rows, 0), np.int64), np.zeros(n_rows))
    sources: dict[str, Source] = {str(i): ([i], []) for i in range(n_columns)}
    permutation_importance(loss, flat, given, sources, seed=0, row_work=row_work, n_networks=n_networks)
    return seen


def test_time_is_bounded_in_rows_and_in_passes() -> None:
    assert counted(MAX_ROWS + 1, 2) == [MAX_ROWS] * (1 + 2 * N_REPEATS)
    assert counted(10, MAX_PASSES + 1) == [10] * (1 + MAX_PASSES + 1)
    assert counted(1, 1) == [1] * (1 + N_REPEATS)


def test_passes_are_those_of_each_network() -> None:
    assert counted(10, 100, n_networks=2) == [10] * (1 + 100 * N_REPEATS)
    assert counted(10, 100, n_networks=5) == [10] * (1 + 100 * (MAX_PASSES // 500))
    assert counted(10, 100, n_networks=MAX_PASSES) == [10] * (1 + 100)


@pytest.mark.parametrize(
    ("passes", "n_rows", "n_repeats"),
    [
        (N_REPEATS, MAX_ROWS, N_REPEATS),
        (3, MAX_ROWS, 3),
        (1, MAX_ROWS, 1),
        (0.5, MAX_ROWS // 2, 1),
        (0.01, MIN_ROWS, 1),
    ],
)
def test_large_networks_get_fewer_repeats_then_fewer_rows(passes: float, n_rows: int, n_repeats: int) -> None:
    row_work = int(MAX_WORK / (passes * MAX_ROWS * 2))
    assert counted(MAX_ROWS, 2, row_work) == [n_rows] * (1 + 2 * n_repeats)


def test_of_more_columns_than_can_be_paid_for_the_most_promising_are_shuffled() -> None:
    n_rows, n_columns = 300, 100
    rng = np.random.default_rng(0)
    num = rng.normal(size=(n_rows, n_columns)).astype(np.float32)
    num[:, 7] *= 100  # moves much, and is not read
    cat = rng.integers(3, size=(n_rows, 1))
    given = Arrays(num, cat, num[:, 90] - 2 * num[:, 40] + 2 * cat[:, 0])
    sources: dict[str, Source] = {f"x{i}": ([i], []) for i in range(n_columns)}
    seen: list[int] = []

    def error(arrays: Arrays) -> np.ndarray:
        told: np.ndarray = 0.9 * arrays.num[:, 90] - 1.9 * arrays.num[:, 40] + 2 * arrays.cat[:, 0] - arrays.y
        return told

    def loss(arrays: Arrays) -> float:
        seen.append(len(arrays.y))
        return float((error(arrays) ** 2).mean())

    def slopes(arrays: Arrays) -> np.ndarray:
        weights = np.zeros(n_columns)
        weights[[90, 40]] = 0.9, -1.9
        return 2 * error(arrays)[:, None] * weights

    found = permutation_importance(loss, slopes, given, sources | {"code": ([], [0])}, seed=0, row_work=MAX_WORK)
    assert seen == [MIN_ROWS] * (1 + MIN_COLUMNS)
    assert set(found.names) == {*sources, "code"}
    assert found.names[:3] == ("x40", "code", "x90")
    assert np.isfinite(found.mean).sum() == np.isfinite(found.std).sum() == MIN_COLUMNS
    assert np.isfinite(found.mean[:MIN_COLUMNS]).all()


def test_codes_without_a_slope_take_half_of_the_places_at_most() -> None:
    num = np.random.default_rng(0).normal(size=(300, 50)).astype(np.float32)
    given = Arrays(num, np.ones((300, 50), np.int64), np.ones(300))
    numbers: dict[str, Source] = {f"x{i}": ([i], []) for i in range(50)}
    codes: dict[str, Source] = {f"c{i}": ([], [i]) for i in range(50)}
    found = permutation_importance(
        lambda _: 0.0, lambda arrays: arrays.num, given, codes | numbers, seed=0, row_work=MAX_WORK
    )
    shuffled = [name for name, mean in zip(found.names, found.mean, strict=True) if np.isfinite(mean)]
    assert sorted(name[0] for name in shuffled) == ["c"] * (MIN_COLUMNS // 2) + ["x"] * (MIN_COLUMNS // 2)
