"""Splits: disjoint, complete, seeded, and as stratified, grouped or ordered as was asked."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from pipeline.compose import load_config
from pipeline.config import DataSection, Iris
from pipeline.data.splits import fold_codes, split_table
from pipeline.errors import DataError
from pipeline.types import Splits, Table

DEFAULTS = load_config(["data=iris"]).data.model_dump()


def section(**fields: object) -> DataSection:
    return Iris.model_validate({**DEFAULTS, **fields})


def table_of(
    y: np.ndarray, *, group: object = None, time: object = None, n_given_test: int = 0, n_classes: int | None = None
) -> Table:
    """A table of these class codes or, where they are floats, values."""
    regression = np.issubdtype(y.dtype, np.floating)
    n_classes = 0 if regression else n_classes or int(y.max()) + 1
    return Table(
        name="t",
        source="",
        digest="",
        frame=pd.DataFrame({"x": np.arange(len(y))}),
        targets=pd.DataFrame({"y": y}),
        task="regression" if regression else "binary" if n_classes == 2 else "multiclass",
        classes=tuple(f"c{code}" for code in range(n_classes)),
        group=None if group is None else pd.Series(group, name="g"),
        time=None if time is None else pd.Series(time, name="t"),
        n_given_test=n_given_test,
    )


def assert_partition(splits: Splits, n_rows: int) -> None:
    np.testing.assert_array_equal(np.sort(np.concatenate(splits)), np.arange(n_rows))
    assert all(len(rows) for rows in splits)


def labels(n_rows: int = 100, n_classes: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, n_classes, n_rows)


def message(table: Table, **fields: object) -> str:
    with pytest.raises(DataError) as error:
        split_table(table, section(**fields))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("n_rows", [100, 150, 569, 1797])
@pytest.mark.parametrize("split", ["stratified", "random"])
def test_sizes_are_64_16_20(n_rows: int, split: str) -> None:
    sizes = [len(rows) for rows in split_table(table_of(labels(n_rows)), section(split=split))]
    np.testing.assert_allclose(sizes, [0.64 * n_rows, 0.16 * n_rows, 0.2 * n_rows], atol=1.2)
    assert sum(sizes) == n_rows


@settings(max_examples=150, deadline=None)
@given(
    n_rows=st.integers(1, 300),
    n_classes=st.integers(2, 6),
    val_size=st.floats(0.01, 0.97),
    test_size=st.floats(0.01, 0.97),
    seed=st.integers(0, 2**32 - 1),
    split=st.sampled_from(["stratified", "random", "time", "grouped"]),
    n_given_test=st.integers(0, 20),
)
def test_any_table_is_parted_or_refused(
    n_rows: int, n_classes: int, val_size: float, test_size: float, seed: int, split: str, n_given_test: int
) -> None:
    assume(val_size + test_size < 1 and n_given_test < n_rows)
    rng = np.random.default_rng(seed)
    y, group, time = rng.integers(0, n_classes, n_rows), rng.integers(0, 9, n_rows), rng.random(n_rows)
    table = table_of(y, group=group, time=time, n_given_test=n_given_test, n_classes=n_classes)
    steering = {"grouped": {"group": "g"}, "time": {"time": "t"}}.get(split, {"split": split})
    data = section(val_size=val_size, test_size=test_size, split_seed=seed, **steering)
    try:
        splits = split_table(table, data)
    except DataError:
        return
    assert_partition(splits, n_rows)
    assert set(y[splits.train]) == set(range(n_classes))
    if n_given_test:
        np.testing.assert_array_equal(splits.test, np.arange(n_rows - n_given_test, n_rows))
    if split in ("random", "stratified"):
        n_off = len(splits.val) if n_given_test else len(splits.val) + len(splits.test)
        share = val_size if n_given_test else val_size + test_size
        assert abs(n_off - share * (n_rows - n_given_test)) < 2


def test_a_table_large_enough_is_always_parted() -> None:
    for split in ("stratified", "random"):
        for seed in range(20):
            assert_partition(split_table(table_of(labels(60, 3)), section(split=split, split_seed=seed)), 60)


@pytest.mark.parametrize("test_size", [0.2, 0.25, 0.37])
def test_test_rows_are_those_of_scikit_learn(test_size: float) -> None:
    y = labels(211, 3)
    test = split_table(table_of(y), section(test_size=test_size, split_seed=5)).test
    np.testing.assert_array_equal(
        test, train_test_split(np.arange(211), test_size=test_size, random_state=5, stratify=y)[1]
    )
    test = split_table(table_of(y * 1.5), section(test_size=test_size, split_seed=5)).test
    np.testing.assert_array_equal(test, train_test_split(np.arange(211), test_size=test_size, random_state=5)[1])


def test_stratified_parts_have_the_shares_of_the_whole() -> None:
    y = np.repeat([0, 1, 2], [700, 250, 50])
    for rows in split_table(table_of(y), section()):
        np.testing.assert_allclose(np.bincount(y[rows]) / len(rows), [0.7, 0.25, 0.05], atol=0.005)


def test_the_split_seed_alone_decides() -> None:
    table = table_of(labels())
    first, again, other = (split_table(table, section(split_seed=seed)) for seed in (0, 0, 1))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert set(first.test) != set(other.test)
    one, two = (split_table(table, load_config(["data=iris", f"seed={seed}"]).data).test for seed in (1, 2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    "group",
    [
        np.random.default_rng(0).integers(0, 12, 200),
        np.random.default_rng(0).choice(["a", "b", "c"], 200),
        pd.Categorical(np.random.default_rng(0).choice(["a", "b", "c", "d"], 200)),
        pd.Timestamp("2020-01-01") + pd.to_timedelta(np.random.default_rng(0).integers(0, 5, 200), unit="D"),
        np.array([1, "1", 2, "b"] * 50, dtype=object),
    ],
    ids=["integers", "three", "categorical", "dates", "mixed"],
)
def test_a_group_stays_in_one_part(group: object) -> None:
    table = table_of(labels(200) * 1.0, group=group)
    assert table.group is not None
    for seed in range(10):
        splits = split_table(table, section(group="g", split_seed=seed))
        assert_partition(splits, 200)
        of_parts = [set(table.group.iloc[rows]) for rows in splits]
        assert sum(map(len, of_parts)) == table.group.nunique()


@pytest.mark.parametrize(
    "time",
    [
        np.random.default_rng(0).permutation(100),
        np.random.default_rng(0).integers(0, 7, 100),
        pd.Timestamp("2020-01-01") + pd.to_timedelta(np.random.default_rng(0).permutation(100), unit="h"),
        pd.Timestamp("2020-01-01", tz="Asia/Tokyo") + pd.to_timedelta(np.arange(100)[::-1], unit="D"),
        [f"20{year:02}-05-01" for year in np.random.default_rng(0).permutation(100)],
        pd.array(np.random.default_rng(0).permutation(100), dtype="Int64"),
    ],
    ids=["numbers", "ties", "datetimes", "zoned", "text", "nullable"],
)
def test_time_goes_from_train_to_test(time: object) -> None:
    table = table_of(labels(), time=time)
    assert table.time is not None
    splits = split_table(table, section(time="t"))
    assert [len(rows) for rows in splits] == [64, 16, 20]
    assert_partition(splits, 100)
    train, val, test = (table.time.iloc[rows] for rows in splits)
    assert train.max() <= val.min() <= val.max() <= test.min()


def test_text_with_offsets_is_ordered_by_the_moment_meant() -> None:
    time = ["2020-01-01T12:00:00+09:00", "2020-01-01T08:00:00+00:00", "2020-01-01T01:00:00-05:00"] * 10
    splits = split_table(table_of(labels(30), time=time), section(time="t"))
    assert {row % 3 for row in splits.test} == {1}
    assert {row % 3 for row in splits.train[:10]} == {0}


def test_rows_of_equal_time_keep_their_order() -> None:
    splits = split_table(table_of(labels(), time=np.zeros(100)), section(time="t"))
    np.testing.assert_array_equal(np.concatenate(splits), np.arange(100))


def test_given_test_rows_are_the_test() -> None:
    splits = split_table(table_of(labels(120), n_given_test=20), section())
    np.testing.assert_array_equal(splits.test, np.arange(100, 120))
    assert [len(rows) for rows in splits] == [84, 16, 20]
    assert_partition(splits, 120)


def test_group_and_time_of_given_test_rows_may_be_missing() -> None:
    time = [*range(100), *[None] * 20]
    splits = split_table(table_of(labels(120), time=time, n_given_test=20), section(time="t"))
    np.testing.assert_array_equal(np.concatenate(splits), np.arange(120))
    group = [*(row % 5 for row in range(100)), *[None] * 20]
    assert_partition(split_table(table_of(labels(120), group=group, n_given_test=20), section(group="g")), 120)


RARE = (
    "a stratified split needs two rows a class and part, class '{}' has too few{}; "
    "pool rare classes, use data.split=random, or data.task=regression if they are amounts"
)


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (np.repeat([0, 1, 2], [50, 49, 1]), "column 'y': " + RARE.format("c2", "")),
        (np.repeat([0, 1, 2, 3], [50, 1, 1, 1]), "column 'y': " + RARE.format("c1", " (and 2 more)")),
        (np.repeat([0, 1], 2), "the table has 4 rows; too few for a stratified split of 2 classes"),
        (np.repeat(np.arange(40), 2), "the table has 80 rows; too few for a stratified split of 40 classes"),
        (np.zeros(1, int), "the table has 1 rows; too few to train, validate and test on"),
        (np.zeros(2), "the table has 2 rows; too few to train, validate and test on"),
    ],
)
def test_too_few_rows(y: np.ndarray, said: str) -> None:
    assert message(table_of(y)) == said


def test_a_class_without_training_rows_is_refused() -> None:
    y = np.append(np.zeros(99, int), 1)
    said = "column 'y': no training row has class 'c1'; {}, or remove the class"
    assert message(table_of(y, time=np.arange(100)), time="t") == said.format("give it more rows")
    assert message(table_of(y, n_given_test=20), split="random") == said.format("use data.split=stratified")
    y = np.append(np.tile([0, 1], 50), [2] * 10)
    assert message(table_of(y, n_given_test=10)) == (
        "column 'y': no training row has class 'c2'; give it more rows, or remove the class"
    )


def test_stratified_needs_classes() -> None:
    said = "data.split: stratified needs classes, and the task is regression; use random"
    assert message(table_of(labels() * 1.0), split="stratified") == said


@pytest.mark.parametrize("n_groups", [1, 2])
def test_too_few_groups(n_groups: int) -> None:
    group = np.arange(100) % n_groups
    assert message(table_of(labels(), group=group), group="g") == (
        f"column 'g': {n_groups} groups are too few for one each to train, validate and test; leave data.group out"
    )


def test_missing_groups_and_times_name_the_first_row() -> None:
    column = pd.Series(range(100), dtype="Float64")
    column[[41, 57]] = None
    assert message(table_of(labels(), group=column), group="g") == (
        "column 'g': the group is missing in 2 rows, first in row 42"
    )
    assert message(table_of(labels(), time=column), time="t") == (
        "column 't': the time is missing in 2 rows, first in row 42"
    )


def test_text_that_is_no_time_names_the_first_row() -> None:
    time = ["2020-01-01"] * 100
    time[41] = "13/01/2020"
    assert message(table_of(labels(), time=time), time="t") == (
        "column 't': 1 of 100 values are not dates such as 2020-01-31, first is '13/01/2020' in row 42"
    )


# ---------------------------------------------------------------- folds
@given(st.integers(20, 200), st.integers(2, 10), st.integers(2, 4), st.integers(0, 5))
def test_folds_are_alike_in_size_and_classes(n_rows: int, n_folds: int, n_classes: int, seed: int) -> None:
    table = table_of(labels(n_rows, n_classes, seed), n_classes=n_classes)
    rows = np.random.default_rng(seed).permutation(n_rows)[: n_rows - 3]
    codes = fold_codes(table, section(split_seed=seed), rows, n_folds)
    assert np.ptp(np.bincount(codes, minlength=n_folds)) <= 1
    for label in range(n_classes):
        assert np.ptp(np.bincount(codes[labels(n_rows, n_classes, seed)[rows] == label], minlength=n_folds)) <= 1


def test_folds_of_values_are_shuffled_by_the_split_seed() -> None:
    table, rows = table_of(np.arange(100.0)), np.arange(80)
    first, again, other = (fold_codes(table, section(split_seed=seed), rows, 5) for seed in (1, 1, 2))
    assert np.bincount(first).tolist() == [16] * 5
    assert first.tolist() == again.tolist() != other.tolist()
    assert first.tolist() != np.sort(first).tolist()


def test_folds_keep_groups_whole() -> None:
    group = np.random.default_rng(0).integers(0, 12, 100)
    codes = fold_codes(table_of(labels(), group=group), section(group="g"), np.arange(100), 4)
    assert {len(set(codes[group == value])) for value in range(12)} == {1}
    assert set(codes) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("fields", "n_folds", "line"),
    [
        ({"time": "t"}, 2, "trainer.folds: rows split by time would be learned from before others; use trainer.seeds"),
        ({"group": "g"}, 4, "trainer.folds: 4 folds need as many groups, there are 3"),
        ({"split": "random"}, 101, "trainer.folds: 101 folds need as many rows, there are 100"),
    ],
)
def test_folds_that_cannot_be_made_are_refused(fields: dict[str, str], n_folds: int, line: str) -> None:
    table = table_of(labels(), group=np.arange(100) % 3, time=np.arange(100))
    with pytest.raises(DataError) as error:
        fold_codes(table, section(**fields), np.arange(100), n_folds)
    assert str(error.value) == line
