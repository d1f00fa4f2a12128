"""Preprocessing: learned on the training rows alone, equal to the formulas, and defined for any input."""

from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import norm
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from pipeline.config import Preprocess
from pipeline.data.preprocess import DATE_PARTS, Preprocessor
from pipeline.data.scaling import fit_scaling, median
from pipeline.errors import DataError
from pipeline.types import Arrays, Splits, Table
from tests.conftest import mixed_frame

SCALINGS = ["standard", "robust", "quantile", "none"]
TARGETS = ["amount", "second", "bought", "grade"]


def config(scaling: str = "standard", min_frequency: int = 1, max_onehot: int = 9) -> Preprocess:
    return Preprocess.model_validate({"scaling": scaling, "min_frequency": min_frequency, "max_onehot": max_onehot})


def table_of(frame: pd.DataFrame, targets: pd.DataFrame | None = None) -> Table:
    """A regression on these features."""
    targets = pd.DataFrame({"y": np.arange(len(frame), dtype=float)}) if targets is None else targets
    return Table("t", "", "", frame, targets, "regression", ())


def fitted(frame: pd.DataFrame, n_train: int | None = None, **fields: Any) -> Preprocessor:
    """Learned from the first rows of a frame."""
    return fitted_to(table_of(frame), np.arange(n_train or len(frame)), config(**fields))


def fitted_to(table: Table, rows: np.ndarray, settings: Preprocess) -> Preprocessor:
    """Learned from `rows` of a table."""
    preprocessor, none = Preprocessor(settings), np.arange(0)
    preprocessor.fit_transform(list(map(str, table.frame)), taker(table.frame), table, Splits(rows, none, none))
    return preprocessor


def taker(frame: pd.DataFrame) -> Callable[[str, np.ndarray], pd.Series]:
    return lambda name, rows: frame[name].iloc[rows]


def rows_of(preprocessor: Preprocessor, table: Table, rows: np.ndarray) -> Arrays:
    """Prepared rows of a table."""
    return Arrays(*preprocessor.transform(table.frame.iloc[rows]), preprocessor.targets(table.targets.iloc[rows]))


def message(preprocessor: Preprocessor, frame: pd.DataFrame) -> str:
    with pytest.raises(DataError) as error:
        preprocessor.transform(frame)
    assert "\n" not in str(error.value)
    return str(error.value)


def features() -> pd.DataFrame:
    return mixed_frame().drop(columns=TARGETS)


# ---------------------------------------------------------------- leakage
def poisoned(frame: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    frame = frame.copy()
    poison: dict[str, Any] = {
        "x": 1e300,
        "gappy": -1e300,
        "count": 10**15,
        "colour": "poison",
        "city": None,
        "member": True,
        "joined": pd.Timestamp("2200-01-01 12:34:56"),
    }
    for name, value in poison.items():
        frame.loc[rows, name] = value
    return frame


@pytest.mark.parametrize("scaling", SCALINGS)
def test_absurd_values_in_other_rows_change_nothing_learned(scaling: str) -> None:
    rng = np.random.default_rng(0)
    order = rng.permutation(200)
    train, others = np.sort(order[:128]), order[128:]
    clean, targets = features(), mixed_frame()[["amount", "second"]]
    poison_targets = targets.copy()
    poison_targets.loc[others] = 1e30
    one = table_of(clean, targets)
    two = table_of(poisoned(clean, others), poison_targets)
    first, second = (fitted_to(table, train, config(scaling, min_frequency=5)) for table in (one, two))
    assert (first.dropped_, first.categories_, first.features_) == (
        second.dropped_,
        second.categories_,
        second.features_,
    )
    assert [number.fill for number in first.numbers_] == [number.fill for number in second.numbers_]
    np.testing.assert_array_equal(first.target_center_, second.target_center_)
    np.testing.assert_array_equal(first.target_scale_, second.target_scale_)
    for before, after in zip(rows_of(first, one, train), rows_of(second, two, train), strict=True):
        np.testing.assert_array_equal(before, after)
    for before, after in zip(first.transform(clean), second.transform(clean), strict=True):
        np.testing.assert_array_equal(before, after)
    assert all(np.isfinite(array).all() for array in rows_of(second, two, others))


# ---------------------------------------------------------------- scaling
@pytest.mark.parametrize("seed", range(3))
def test_standard_is_scikit_learns(seed: int) -> None:
    x = np.random.default_rng(seed).lognormal(sigma=2, size=(500, 1)) * 10.0**seed
    expected = StandardScaler().fit(x[:300]).transform(x)
    num, _ = fitted(pd.DataFrame({"x": x[:, 0]}), 300).transform(pd.DataFrame({"x": x[:, 0]}))
    np.testing.assert_allclose(num, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "x",
    [
        np.random.default_rng(0).lognormal(size=400),
        np.random.default_rng(1).standard_cauchy(400),
        np.repeat([0.0, 3.0, 9.0], [380, 15, 5]),
    ],
    ids=["skewed", "heavy tails", "quartiles agree"],
)
def test_robust_is_realmlps_formula(x: np.ndarray) -> None:
    train = x[::2]
    low, high = np.quantile(train, [0.25, 0.75])
    width = high - low if high > low else (train.max() - train.min()) / 2
    z = (x - np.median(train)) / width
    table = table_of(pd.DataFrame({"x": x}))
    num, _ = fitted_to(table, np.arange(0, 400, 2), config("robust")).transform(table.frame)
    np.testing.assert_allclose(num[:, 0], z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-6, atol=1e-7)
    assert np.abs(num).max() <= 3


@pytest.mark.parametrize("n_rows", [50, 1000, 5000])
@pytest.mark.parametrize("kind", ["skewed", "integers", "heavy"])
def test_quantile_is_scikit_learns(n_rows: int, kind: str) -> None:
    rng = np.random.default_rng(n_rows)
    x = {
        "skewed": rng.lognormal(size=n_rows),
        "integers": rng.poisson(3, n_rows).astype(float),
        "heavy": rng.standard_cauchy(n_rows),
    }[kind]
    reference = QuantileTransformer(
        n_quantiles=min(1000, n_rows), output_distribution="normal", subsample=None
    ).fit_transform(x[:, None])
    num, _ = fitted(pd.DataFrame({"x": x}), scaling="quantile").transform(pd.DataFrame({"x": x}))
    difference = np.abs(norm.cdf(num) - norm.cdf(reference))[:, 0]  # in ranks: scores are steep in the tails
    inner = (x > x.min()) & (x < x.max())  # at a frequent smallest value scikit-learn says −5.2, here its middle rank
    assert difference[inner].max() < 2 / min(1000, n_rows)
    if kind != "integers":
        central = np.abs(reference) < 3
        np.testing.assert_allclose(num[central], reference[central], atol=0.02)


def test_a_frequent_smallest_value_gets_its_middle_rank() -> None:
    x = np.append(np.zeros(500), np.arange(1, 501))
    num, _ = fitted(pd.DataFrame({"x": x}), scaling="quantile").transform(pd.DataFrame({"x": x}))
    np.testing.assert_allclose(num[:500, 0], norm.ppf(0.25), atol=0.01)


def test_none_leaves_numbers_as_they_are() -> None:
    x = np.array([0, -2_500_000, 1e30, 0.1])
    num, _ = fitted(pd.DataFrame({"x": x}), scaling="none").transform(pd.DataFrame({"x": x}))
    np.testing.assert_array_equal(num[:, 0], x.astype(np.float32))


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile"])
def test_small_differences_on_a_large_offset_survive(scaling: str) -> None:
    x = np.random.default_rng(0).normal(size=300)
    shifted = fitted(pd.DataFrame({"x": 1e9 + x}), scaling=scaling).transform(pd.DataFrame({"x": 1e9 + x}))[0]
    plain = fitted(pd.DataFrame({"x": x}), scaling=scaling).transform(pd.DataFrame({"x": x}))[0]
    np.testing.assert_allclose(shifted, plain, atol=1e-5)


ANY = st.floats(allow_nan=True, allow_infinity=False)
SPREAD = np.array([1.7e308, -1.7e308, 5e-324, -5e-324, 0.0, 1e-300, 1.0])


@pytest.mark.parametrize("scaling", SCALINGS)
@settings(max_examples=80, deadline=None)
@given(
    train=hnp.arrays(float, st.integers(1, 30), elements=ANY),
    other=hnp.arrays(float, st.integers(1, 10), elements=ANY),
)
@example(train=SPREAD, other=SPREAD)
@example(train=SPREAD[:2], other=SPREAD)
@example(train=SPREAD[2:5], other=SPREAD)
@example(train=np.repeat([0.0, 5e-324, 1e-310, 1.0], 5), other=SPREAD)
@example(train=np.nextafter(np.full(4, 1e5), [0, 1e6, 1e6, 0]), other=SPREAD)
def test_prepared_numbers_are_finite_whatever_comes(scaling: str, train: np.ndarray, other: np.ndarray) -> None:
    frame = pd.DataFrame({"x": np.append(train, other), "kept": range(len(train) + len(other))})
    preprocessor = fitted(frame, len(train) + 1, scaling=scaling)
    assert np.isfinite(preprocessor.transform(frame)[0]).all()


@settings(max_examples=100, deadline=None)
@given(x=hnp.arrays(float, st.integers(2, 40), elements=st.floats(-1e6, 1e6)), exponent=st.integers(-900, 900))
@pytest.mark.parametrize("scaling", ["standard", "robust"])
def test_the_unit_of_a_column_does_not_matter(scaling: str, x: np.ndarray, exponent: int) -> None:
    x = np.round(x, 3)
    scaled = np.ldexp(x, exponent)
    one, two = fit_scaling(scaling, x).apply(x), fit_scaling(scaling, scaled).apply(scaled)
    np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scaling", SCALINGS)
@settings(max_examples=50, deadline=None)
@given(x=hnp.arrays(float, st.integers(2, 40), elements=st.floats(-1e9, 1e9)))
def test_scaling_keeps_the_order(scaling: str, x: np.ndarray) -> None:
    z = fit_scaling(scaling, x).apply(np.sort(x))
    assert (np.diff(z) >= -1e-9).all()


# ---------------------------------------------------------------- missing values
def test_missing_numbers_take_the_median_and_are_marked() -> None:
    x = np.array([1.0, np.nan, 2.0, 9.0, np.nan, 4.0])
    preprocessor = fitted(pd.DataFrame({"x": x, "z": range(6)}), scaling="none")
    num, _ = preprocessor.transform(pd.DataFrame({"x": x, "z": range(6)}))
    assert preprocessor.slots() == {("x", None): [0, 2], ("z", None): [1]}
    assert num[:, 0].tolist() == [1, 3, 2, 9, 3, 4]
    assert num[:, 2].tolist() == [0, 1, 0, 0, 1, 0]


def test_numbers_missing_only_later_are_filled_without_a_mark() -> None:
    preprocessor = fitted(pd.DataFrame({"x": [1.0, 2.0, 6.0]}), scaling="none")
    num, _ = preprocessor.transform(pd.DataFrame({"x": [np.nan, 1.0]}))
    assert num.tolist() == [[2.0], [1.0]]
    assert preprocessor.transform(pd.DataFrame({"x": [None, None]}))[0].tolist() == [[2.0], [2.0]]


def test_a_missing_category_is_a_level_where_it_was_seen() -> None:
    column = ["a", None, "b", "a"]
    preprocessor = fitted(pd.DataFrame({"c": column}))
    assert preprocessor.transform(pd.DataFrame({"c": column}))[0].tolist() == [
        [1, 0, 0],
        [0, 0, 1],
        [0, 1, 0],
        [1, 0, 0],
    ]
    unaware = fitted(pd.DataFrame({"c": ["a", "b"]}))
    assert unaware.transform(pd.DataFrame({"c": [None, "b"]}))[0].tolist() == [[0, 0], [0, 1]]


def test_a_constant_column_with_gaps_is_its_gaps() -> None:
    frame = pd.DataFrame({"x": [5.0, np.nan, 5.0], "c": ["a", None, "a"]})
    num, _ = fitted(frame).transform(frame)
    assert num[:, 1].tolist() == [0, 1, 0]
    assert np.ptp(num[:, 0]) == 0
    assert num[:, 2:].tolist() == [[1, 0], [0, 1], [1, 0]]


# ---------------------------------------------------------------- categories
def test_an_unseen_category_gets_code_zero_and_no_one_hot() -> None:
    frame = pd.DataFrame({"few": list("abcabc"), "many": [f"m{i}" for i in range(6)]})
    preprocessor = fitted(frame, max_onehot=3)
    num, cat = preprocessor.transform(pd.DataFrame({"few": ["z", "b"], "many": ["z", "m5"]}))
    assert num.tolist() == [[0, 0, 0], [0, 1, 0]]
    assert cat.tolist() == [[0], [6]]
    assert preprocessor.features_.cardinalities == (7,)


def test_rare_levels_are_pooled() -> None:
    column = ["a"] * 5 + ["b"] * 4 + ["c", "d"]
    preprocessor = fitted(pd.DataFrame({"c": column}), min_frequency=4, max_onehot=0)
    assert preprocessor.categories_[0].levels == ("a", "b")
    assert preprocessor.transform(pd.DataFrame({"c": column}))[1][:, 0].tolist() == [1] * 5 + [2] * 4 + [0, 0]


@pytest.mark.parametrize(
    ("n_levels", "gaps", "onehot"), [(3, False, True), (4, False, False), (2, True, True), (3, True, False)]
)
def test_one_hot_up_to_max_onehot_and_embedded_above(n_levels: int, gaps: bool, onehot: bool) -> None:
    column = [f"l{i}" for i in range(n_levels)] * 3 + [None] * (3 * gaps)
    preprocessor = fitted(pd.DataFrame({"c": column}), max_onehot=3)
    features = preprocessor.features_
    expected = (n_levels + gaps, ()) if onehot else (0, (1 + n_levels + gaps,))
    assert (features.n_num, features.cardinalities) == expected
    num, cat = preprocessor.transform(pd.DataFrame({"c": column}))
    assert num.sum() == (len(column) if onehot else 0)
    assert cat.min(initial=9) >= 1


@pytest.mark.parametrize(
    "column",
    [
        [True, False, None],
        ["True", "False", None],
        pd.array([True, False, None], dtype="boolean"),
        pd.Categorical([True, False, None]),
    ],
    ids=["bool", "text", "boolean", "category"],
)
def test_booleans_are_the_same_categories_in_any_type(column: Any) -> None:
    preprocessor = fitted(pd.DataFrame({"c": [True, False, None, True]}, dtype=object))
    assert preprocessor.transform(pd.DataFrame({"c": column}))[0].tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("column", [["1", "2"], [1, 2], [1.0, 2.0], np.array([1, 2], np.uint8), pd.Categorical([1, 2])])
def test_categories_of_numbers_are_the_same_in_any_type(column: Any) -> None:
    preprocessor = fitted(pd.DataFrame({"c": ["1", "2", "2"]}))
    assert preprocessor.transform(pd.DataFrame({"c": column}))[0].tolist() == [[1, 0], [0, 1]]


# ---------------------------------------------------------------- dates
def test_a_date_becomes_its_parts() -> None:
    moments = pd.Series(np.array(["2020-02-29T13:45:59", "1969-12-31", "NaT", "9999-12-31T23:00"], "datetime64[us]"))
    preprocessor = fitted(pd.DataFrame({"d": moments}), scaling="none")
    num, _ = preprocessor.transform(pd.DataFrame({"d": moments}))
    parts = {part: num[:, slots[0]] for (_, part), slots in preprocessor.slots().items()}
    assert list(parts) == list(DATE_PARTS)
    np.testing.assert_allclose(parts["elapsed"][:2], [18321.573599537, -1], rtol=1e-7)
    assert parts["year"][[0, 1, 3]].tolist() == [2020, 1969, 9999]
    assert parts["month"][:2].tolist() == [2, 12]
    assert parts["day"][:2].tolist() == [29, 31]
    assert parts["day_of_week"][:2].tolist() == [5, 2]
    assert [parts[part][0] for part in ("hour", "minute", "second")] == [13, 45, 59]
    assert num[:, preprocessor.slots()["d", "elapsed"][1]].tolist() == [0, 0, 1, 0]


def test_parts_that_do_not_vary_are_left_out() -> None:
    days = pd.DataFrame({"d": pd.date_range("2020-01-01", periods=5)})
    assert [part for _, part in fitted(days).slots()] == ["elapsed", "day", "day_of_week"]


@pytest.mark.parametrize(
    "given",
    [
        ["2020-01-02T00:00:00+00:00", None],
        ["2020-01-02", None],
        pd.DatetimeIndex(["2020-01-02", "NaT"]).tz_localize("UTC").tz_convert("Asia/Tokyo"),
        np.array(["2020-01-02", "NaT"], "datetime64[s]"),
        pd.Series([pd.Timestamp("2020-01-02").date(), None], dtype=object),
    ],
    ids=["iso", "day", "zoned", "seconds", "objects"],
)
def test_a_moment_is_the_same_in_any_type(given: Any) -> None:
    frame = pd.DataFrame({"d": pd.DatetimeIndex(["2020-01-01", "2020-01-02", "NaT"])})
    preprocessor = fitted(frame)
    np.testing.assert_array_equal(
        preprocessor.transform(pd.DataFrame({"d": given}))[0], preprocessor.transform(frame)[0][1:]
    )


# ---------------------------------------------------------------- the whole frame
def test_columns_that_do_not_vary_are_dropped_by_name() -> None:
    frame = pd.DataFrame(
        {
            "x": [1.0, 2.0, 3.0, 4.0],
            "same": 7,
            "empty": np.nan,
            "nothing": pd.Series([None] * 4, dtype=object),
            "word": "w",
            "day": pd.Timestamp("2020-01-01"),
            "later": [1.0, 1.0, 1.0, 2.0],
        }
    )
    preprocessor = fitted(frame, 3)
    assert preprocessor.dropped_ == ["same", "empty", "nothing", "word", "day", "later"]
    assert preprocessor.transform(frame)[0].shape == (4, 1)
    with pytest.raises(DataError, match=r"^no feature column varies in the training rows$"):
        fitted(frame.drop(columns="x"), 3)


def test_order_of_columns_and_further_ones_do_not_matter() -> None:
    frame = features()
    preprocessor = fitted(frame, 150)
    for one, two in zip(
        preprocessor.transform(frame), preprocessor.transform(frame[frame.columns[::-1]].assign(new=1)), strict=True
    ):
        np.testing.assert_array_equal(one, two)


def test_rows_are_prepared_one_by_one_as_together() -> None:
    frame = features()
    preprocessor = fitted(frame, 150, min_frequency=5)
    together = preprocessor.transform(frame)
    for row in (0, 77, 199):
        alone = preprocessor.transform(frame.iloc[[row]])
        for one, many in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one[0], many[row])
    assert [array.shape[0] for array in preprocessor.transform(frame.iloc[:0])] == [0, 0]


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("max_onehot", [0, 9])
def test_rows_prepared_while_learning_are_those_of_transform_in_the_order_of_the_splits(
    scaling: str, max_onehot: int
) -> None:
    frame = features()
    frame.loc[::7, ["colour", "joined", "city"]] = None
    table, splits = table_of(frame), Splits(*np.split(np.random.default_rng(0).permutation(200), [120, 150]))
    preprocessor = Preprocessor(config(scaling, max_onehot=max_onehot))
    num, cat, y = preprocessor.fit_transform(list(map(str, frame)), taker(frame), table, splits)
    expected = rows_of(preprocessor, table, np.concatenate(splits))
    for one, two in zip((num.whole(), cat.whole(), y), expected, strict=True):
        assert (one.dtype, one.shape) == (two.dtype, two.shape)
        np.testing.assert_array_equal(one, two)


def test_a_column_is_asked_for_once() -> None:
    frame, asked = features(), list[str]()

    def take(name: str, rows: np.ndarray) -> pd.Series:
        asked.append(name)
        return frame[name].iloc[rows]

    splits = Splits(np.arange(100), np.arange(100, 150), np.arange(150, 200))
    Preprocessor(config()).fit_transform(list(map(str, frame)), take, table_of(frame), splits)
    assert sorted(asked) == sorted(map(str, frame))


def test_values_of_several_types_that_read_the_same_are_one_level() -> None:
    column = [1, "1", True, "True", 1.0, None]
    preprocessor = fitted(pd.DataFrame({"c": pd.Series(column, dtype=object)}))
    assert preprocessor.categories_[0].levels == ("1", "True")
    assert preprocessor.transform(pd.DataFrame({"c": ["True", "1", None]}))[0].tolist() == [
        [0, 1, 0],
        [1, 0, 0],
        [0, 0, 1],
    ]


@given(x=hnp.arrays(float, st.integers(1, 40), elements=st.floats(-1.7e308, 1.7e308)))
def test_the_median_is_numpys(x: np.ndarray) -> None:
    unit = np.ldexp(1.0, int(np.frexp(np.abs(x).max())[1]) - 1)
    assert median(x) == np.median(x / unit) * unit


def test_shapes_and_types_are_those_of_features() -> None:
    table = table_of(features())
    preprocessor = fitted_to(table, np.arange(100), config())
    arrays = rows_of(preprocessor, table, np.arange(40, 90))
    assert [array.dtype for array in arrays] == [np.dtype(kind) for kind in ("float32", "int64", "float32")]
    assert arrays.num.shape == (50, preprocessor.features_.n_num)
    assert arrays.cat.shape == (50, len(preprocessor.features_.cardinalities))
    assert (arrays.cat < preprocessor.features_.cardinalities).all()


def test_slots_and_sources_name_exactly_what_a_column_fills() -> None:
    frame = features()
    frame.loc[::7, ["colour", "joined", "city"]] = None
    frame["joined:year"] = frame["x"] * 2  # not to be taken for a part of `joined`
    preprocessor = fitted(frame)
    before = preprocessor.transform(frame)
    slots, sources = preprocessor.slots(), preprocessor.sources()
    assert sorted(chain(*slots.values())) == list(range(before[0].shape[1]))
    assert set(sources) == set(frame)
    shuffled = frame.sample(frac=1, random_state=0).reset_index(drop=True)
    for name, (num, cat) in sources.items():
        after = preprocessor.transform(frame.assign(**{name: shuffled[name]}))
        changed = [np.flatnonzero((one != two).any(axis=0)).tolist() for one, two in zip(before, after, strict=True)]
        assert changed == [sorted(num), cat]
        assert sorted(num) == sorted(chain(*(own for (raw, _), own in slots.items() if raw == name)))


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ({"x": ["1", "a", "b"]}, "column 'x': 2 of 3 values are not numbers, first is 'a' in row 2"),
        ({"x": [[1], 2, 3]}, "column 'x': 1 of 3 values are not numbers, first is '[1]' in row 1"),
        (
            {"x": pd.to_datetime(["2020-01-01"] * 3)},
            "column 'x': 3 of 3 values are not numbers, first is '2020-01-01 00:00:00' in row 1",
        ),
        ({"x": [1, -np.inf, 2]}, "column 'x': infinite value in row 2"),
        (
            {"d": ["2020-01-01", "soon", None]},
            "column 'd': 1 of 3 values are not dates such as 2020-01-31, first is 'soon' in row 2",
        ),
        ({"d": [1, 2, 3]}, "column 'd': 3 of 3 values are not dates such as 2020-01-31, first is '1' in row 1"),
        (
            {"d": [True, True, True]},
            "column 'd': 3 of 3 values are not dates such as 2020-01-31, first is 'True' in row 1",
        ),
    ],
)
def test_values_of_another_kind_are_refused(column: dict[str, Any], said: str) -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0], "d": pd.date_range("2020-01-01", periods=3), "c": list("aba")})
    assert message(fitted(frame), frame.assign(**column)) == said


def test_numbers_in_another_type_are_taken() -> None:
    frame = pd.DataFrame({"x": [0.0, 1.0, 3.0]})
    preprocessor = fitted(frame, scaling="none")
    given: list[Any] = [["0", "1.0", " 3"], pd.array([0, 1, 3], dtype="Int8"), np.array([0, 1, 3], object)]
    for column in given:
        assert preprocessor.transform(pd.DataFrame({"x": column}))[0].tolist() == [[0], [1], [3]]
    assert preprocessor.transform(pd.DataFrame({"x": [False, True]}))[0].tolist() == [[0], [1]]


def test_absent_and_repeated_columns_are_refused() -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0], "c": ["a", "b"]})
    preprocessor = fitted(frame)
    assert message(preprocessor, frame[["x"]]) == "column 'c': not in the table"
    twice = pd.concat([frame, frame], axis=1)
    assert message(preprocessor, twice) == "column 'x': stands 2 times; names must differ"


def test_transform_before_fit_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"^this Preprocessor is not fitted yet; call fit first$"):
        Preprocessor(config()).transform(features())


def test_continuous_columns_have_the_quantiles_of_their_training_values_as_edges() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"flag": rng.integers(0, 2, 900), "x": rng.normal(size=900), "c": rng.choice(list("ab"), 900)})
    frame.loc[700:, "x"] = 1e6  # no training row
    table = table_of(frame)
    preprocessor = fitted_to(table, np.arange(700), config())
    num = rows_of(preprocessor, table, np.arange(700)).num
    flag, x = preprocessor.features_.edges
    assert flag == pytest.approx(sorted(set(num[:, 0].tolist())))
    assert x == pytest.approx(np.quantile(num[:, 1], np.linspace(0, 1, 49)), abs=1e-6)


def test_a_value_that_most_rows_have_leaves_the_edges_to_the_others() -> None:
    x = np.where(np.arange(1000) < 900, 0.0, np.random.default_rng(0).normal(10, 1, 1000))
    (edges,) = fitted_to(table_of(pd.DataFrame({"x": x})), np.arange(1000), config()).features_.edges
    assert len(edges) == 49
    assert np.sum(np.array(edges) < 0) == 1  # standardised: 0 is below the mean, the others above it


def test_few_distinct_values_are_the_edges_however_rare() -> None:
    x = np.r_[np.zeros(900), np.ones(80), np.full(20, 2.0)]
    (edges,) = fitted_to(table_of(pd.DataFrame({"x": x})), np.arange(1000), config()).features_.edges
    assert edges == pytest.approx(((np.arange(3) - x.mean()) / x.std()).tolist(), abs=1e-6)


def test_a_column_whose_sampled_values_are_one_has_two_edges_all_the_same() -> None:
    frame = pd.DataFrame({"x": np.where(np.arange(50_000) == 1, 1.0, 0.0)})
    ((first, last),) = fitted_to(table_of(frame), np.arange(50_000), config()).features_.edges
    assert first < last


# ---------------------------------------------------------------- targets
def test_regression_targets_are_standardised_by_the_training_rows() -> None:
    y = np.random.default_rng(0).normal([5, -300], [2, 1e-4], size=(100, 2))
    table = table_of(pd.DataFrame({"x": range(100)}), pd.DataFrame(y, columns=["a", "b"]))
    preprocessor = fitted_to(table, np.arange(60), config())
    expected = StandardScaler().fit(y[:60]).transform(y)
    np.testing.assert_allclose(rows_of(preprocessor, table, np.arange(100)).y, expected, rtol=1e-5, atol=1e-6)
    assert preprocessor.features_.n_outputs == 2
    trained = expected[:60]
    bounds = np.array(preprocessor.features_.target_range)
    np.testing.assert_allclose(bounds, np.array([trained.min(axis=0), trained.max(axis=0)]).T, rtol=1e-5)


def test_a_target_constant_in_the_training_rows_is_only_shifted() -> None:
    table = table_of(pd.DataFrame({"x": range(4)}), pd.DataFrame({"y": [5.0, 5.0, 5.0, 7.0]}))
    preprocessor = fitted_to(table, np.arange(3), config())
    assert rows_of(preprocessor, table, np.arange(4)).y[:, 0].tolist() == [0, 0, 0, 2]


@pytest.mark.parametrize(("task", "n_outputs"), [("binary", 1), ("multiclass", 3)])
def test_classes_stay_codes_and_are_counted(task: Any, n_outputs: int) -> None:
    n_classes = max(2, n_outputs)
    codes = pd.DataFrame({"y": np.arange(12) % n_classes})
    table = Table("t", "", "", pd.DataFrame({"x": range(12)}), codes, task, ("a", "b", "c")[:n_classes])
    preprocessor, splits = Preprocessor(config()), Splits(np.arange(7), np.arange(7, 9), np.arange(9, 12))
    y = preprocessor.fit_transform(["x"], taker(table.frame), table, splits)[2]
    assert y.tolist() == codes["y"].tolist()
    assert preprocessor.features_.n_outputs == n_outputs
    assert preprocessor.features_.class_counts == tuple(np.bincount(codes["y"][:7]))
    y[:] = 9
    assert table.targets["y"].max() < 9
