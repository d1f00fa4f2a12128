"""From a frame's columns to float and code arrays; everything is learned on the training rows alone."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd

from pipeline.bundle import Column
from pipeline.config import Preprocess
from pipeline.data.columns import as_moments, as_numbers, is_datetime, is_number, row_of, text_codes
from pipeline.data.raw import EPOCH, describe_categories, describe_numbers, raw_values
from pipeline.data.scaling import Scaling, edges_of, fit_scaling, median, scaling_from_dict
from pipeline.errors import DataError
from pipeline.threads import cores
from pipeline.types import Features, Splits, Stacked, Table

MAX_THREADS = 2  # each holds a column in full precision, and copies, beside those prepared
SCALED_ROWS = 2**15  # at a time: they stay in a processor's cache
DATE_PARTS = ("elapsed", "year", "month", "day", "day_of_week", "hour", "minute", "second")


# ---------------------------------------------------------------- one column
Key = tuple[str, str | None]  # a raw column, and which part of it where it is a datetime


class Encoded(NamedTuple):
    """Prepared columns, each (N,): of the numeric array continuous ones and 0/1 ones, and of the array of codes."""

    continuous: Sequence[np.ndarray] = ()
    binary: Sequence[np.ndarray] = ()
    codes: Sequence[np.ndarray] = ()


@dataclass(frozen=True)
class Number:
    """A numeric column, or one part of a datetime column: a continuous value, and whether it was missing."""

    name: str
    part: str | None
    fill: float
    scaling: Scaling
    indicator: bool

    @property
    def key(self) -> Key:
        return self.name, self.part

    def encode(self, column: pd.Series) -> Encoded:
        """A column prepared; raises DataError where it holds something else than numbers, or infinite ones."""
        x = numbers_of(column, self.part)
        infinite = np.isinf(x)
        if infinite.any():
            raise DataError(f"column '{self.name}': infinite value in row {row_of(infinite)}")
        return self.encode_values(x)

    def encode_values(self, x: np.ndarray) -> Encoded:
        """Finite values (N,) scaled, with missing ones filled, and where they were missing."""
        missing, scaled = np.isnan(x), np.empty(len(x), np.float32)
        for start in range(0, len(x), SCALED_ROWS):
            part = slice(start, start + SCALED_ROWS)
            scaled[part] = self.scaling.apply(np.where(missing[part], self.fill, x[part]))
        return Encoded([scaled], [missing] if self.indicator else [])


@dataclass(frozen=True)
class Category:
    """A categorical column. Code 0: rare or unseen; 1 …: `levels`; the last code: missing, where it was seen."""

    name: str
    levels: tuple[str, ...]
    missing_level: bool
    onehot: bool

    @property
    def n_codes(self) -> int:
        return 1 + len(self.levels) + self.missing_level

    @property
    def key(self) -> Key:
        return self.name, None

    def encode(self, column: pd.Series) -> Encoded:
        """A column of any type prepared."""
        return self.encode_values(*text_codes(column))

    def encode_values(self, codes: np.ndarray, labels: Sequence[str]) -> Encoded:
        """Codes (N,) into `labels`, −1 for missing ones, as codes of the levels known, or as a 0/1 column each."""
        known = pd.Index(self.levels, dtype=object).get_indexer(pd.Index(labels, dtype=object)) + 1
        missing = self.n_codes - 1 if self.missing_level else 0
        kind = np.min_scalar_type(self.n_codes - 1)
        found = np.append(known, missing).astype(kind)[codes]  # −1, missing, takes the last
        if self.onehot:
            return Encoded(binary=[found == code for code in range(1, self.n_codes)])
        return Encoded(codes=[found])


def numbers_of(column: pd.Series, part: str | None = None) -> np.ndarray:
    """A column's values as float64 (N,), missing ones as nan; of a datetime column the `part`.

    Raises:
        DataError: the column holds something else.
    """
    if part is None:
        return as_numbers(column).to_numpy(dtype=np.float64, na_value=np.nan)
    moments = as_moments(column)
    if part == "elapsed":
        days = (moments - EPOCH) / pd.Timedelta(days=1)
        return days.to_numpy(dtype=np.float64, na_value=np.nan)
    return getattr(moments.dt, part).to_numpy(dtype=np.float64, na_value=np.nan)  # type: ignore[no-any-return]


# ---------------------------------------------------------------- the whole table
Learned = tuple[Number | Category, Encoded]
Looked = tuple[Column, list[Learned]]  # at a raw column


class Preprocessor:
    """Learns from the training rows how columns become arrays, then applies it to any rows.

    Attributes:
        columns_: what each raw column holds, in the table's order.
        numbers_: the continuous columns, in the order of the first columns of `num`.
        categories_: the categorical columns kept.
        dropped_: names of columns that are the same in every training row, rare levels taken as one.
        features_: what the arrays are.
        target_center_, target_scale_: (T,) mean and deviation of the targets; 0 and 1 for classes.
    """

    def __init__(self, config: Preprocess) -> None:
        self.config = config

    def fit_transform(
        self, names: Sequence[str], take: Callable[[str, np.ndarray], pd.Series], table: Table, splits: Splits
    ) -> tuple[Stacked, Stacked, np.ndarray]:
        """Learn from the training rows of a table's features and targets; prepare all rows, in the order of `splits`.

        Each column is asked of `take` once, by name and rows, and let go of when it is prepared: no more stand in
        memory as they were read than there are threads.

        Raises:
            DataError: no column varies in the training rows.
        """
        rows = np.concatenate(splits)

        def learn(name: str) -> Looked:
            return self._learn(take(name, rows), len(splits.train))

        with ThreadPoolExecutor(min(MAX_THREADS, cores())) as threads:
            columns, parts = zip(*threads.map(learn, names), strict=True)
        learned: list[Learned] = sorted(chain(*parts), key=lambda pair: isinstance(pair[0], Category))
        if not learned:
            raise DataError("no feature column varies in the training rows")
        self.columns_: tuple[Column, ...] = columns
        self.numbers_: list[Number] = [part for part, _ in learned if isinstance(part, Number)]
        self.categories_: list[Category] = [part for part, _ in learned if isinstance(part, Category)]
        kept = {part.name for part, _ in learned}
        self.dropped_: list[str] = [name for name in names if name not in kept]
        self._fit_target(table, splits.train)
        self.features_ = Features(
            task=table.task,
            n_num=len(self.numbers_) + sum(self._binary_widths().values()),
            cardinalities=tuple(category.n_codes for category in self._embedded()),
            n_outputs=len(table.classes) if table.task == "multiclass" else table.targets.shape[1],
            class_counts=self._class_counts(table, splits.train),
        )
        num, cat = _stacked([encoded for _, encoded in learned], len(rows))
        y, n_train = self.targets(table.targets)[rows], len(splits.train)
        self.features_ = replace(
            self.features_,
            edges=tuple(edges_of(column[:n_train]) for column in num.columns[: len(self.numbers_)]),
            target_range=_range(y[:n_train]) if table.task == "regression" else (),
        )
        return num, cat, y

    def transform(self, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Prepared rows of a frame: num (N, n_num) float32 and cat (N, n_cat) int64.

        Raises:
            DataError: a column is absent, or holds text or infinite values where numbers were.
        """
        self._fitted()
        parts: list[Number | Category] = [*self.numbers_, *self.categories_]
        num, cat = _stacked([part.encode(_column(frame, part.name)) for part in parts], len(frame))
        return num.whole(), cat.whole()

    def targets(self, targets: pd.DataFrame) -> np.ndarray:
        """Targets as they are trained on: codes (N,) int64, or values (N, T) float32, standardised."""
        y = targets.to_numpy()
        if self._fitted().task != "regression":
            return y[:, 0]
        return ((y - self.target_center_) / self.target_scale_).astype(np.float32)

    def slots(self) -> dict[Key, list[int]]:
        """Columns of `num` that each raw column, or part of a datetime column, fills."""
        slots = {number.key: [position] for position, number in enumerate(self.numbers_)}
        start = len(self.numbers_)
        for key, width in self._binary_widths().items():
            slots.setdefault(key, []).extend(range(start, start + width))
            start += width
        return slots

    def sources(self) -> dict[str, tuple[list[int], list[int]]]:
        """For each raw column kept, its columns of `num` and of `cat`: what to permute to blind the network to it."""
        found: dict[str, tuple[list[int], list[int]]] = {}
        for (name, _), positions in self.slots().items():
            found.setdefault(name, ([], []))[0].extend(positions)
        for position, category in enumerate(self._embedded()):
            found[category.name] = ([], [position])
        return found

    def to_dict(self) -> dict[str, Any]:
        """All that was learned, as JSON can hold it; `from_dict` makes a preprocessor equal to this one of it."""
        return {
            "config": self.config.model_dump(mode="json"),
            "numbers": [vars(number) | {"scaling": number.scaling.to_dict()} for number in self.numbers_],
            "categories": [vars(category) | {"levels": list(category.levels)} for category in self.categories_],
            "dropped": self.dropped_,
            "columns": [vars(column) | {"levels": list(column.levels)} for column in self.columns_],
            "features": asdict(self._fitted()),
            "target_center": self.target_center_.tolist(),
            "target_scale": self.target_scale_.tolist(),
        }

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """The fitted preprocessor that `to_dict` described."""
        made = cls(Preprocess.model_validate(given["config"]))
        made.numbers_ = [
            Number(**number | {"scaling": scaling_from_dict(number["scaling"])}) for number in given["numbers"]
        ]
        made.categories_ = [
            Category(**category | {"levels": tuple(category["levels"])}) for category in given["categories"]
        ]
        made.dropped_ = list(given["dropped"])
        made.columns_ = tuple(Column(**column | {"levels": tuple(column["levels"])}) for column in given["columns"])
        features = given["features"]
        widths = {name: tuple(features[name]) for name in ("cardinalities", "class_counts")}
        ranges = {name: tuple(map(tuple, features.get(name, ()))) for name in ("edges", "target_range")}
        made.features_ = Features(**features | widths | ranges)
        made.target_center_, made.target_scale_ = np.array(given["target_center"]), np.array(given["target_scale"])
        return made

    def _fitted(self) -> Features:
        if not hasattr(self, "features_"):
            raise RuntimeError("this Preprocessor is not fitted yet; call fit first")
        return self.features_

    def _learn(self, column: pd.Series, n_train: int) -> Looked:
        """What a column holds and becomes, learned on its first rows, and all its rows; nothing of no variation."""
        name = str(column.name)
        if not is_number(column) and not is_datetime(column):
            return self._learn_category(name, *text_codes(column), n_train)
        parts = DATE_PARTS if is_datetime(column) else [None]
        learned = (self._learn_number(name, part, numbers_of(column, part), n_train) for part in parts)
        return describe_numbers(column, raw_values(column.iloc[:n_train])), [*chain(*learned)]

    def _learn_number(self, name: str, part: str | None, x: np.ndarray, n_train: int) -> list[Learned]:
        missing = np.isnan(x[:n_train])
        seen = x[:n_train][~missing] if missing.any() else x[:n_train]
        varies = len(seen) > 0 and seen.min() < seen.max()
        indicator = bool(missing.any()) and len(seen) > 0 and part in (None, DATE_PARTS[0])
        if not varies and not indicator:
            return []
        number = Number(name, part, median(seen), fit_scaling(self.config.scaling, seen), indicator)
        return [(number, number.encode_values(x))]

    def _learn_category(self, name: str, codes: np.ndarray, labels: Sequence[str], n_train: int) -> Looked:
        n_missing, counts = np.split(np.bincount(codes[:n_train] + 1, minlength=1 + len(labels)), [1])
        frequent = counts >= self.config.min_frequency
        levels = tuple(sorted(label for label, is_level in zip(labels, frequent, strict=True) if is_level))
        rare, missing = bool(counts[~frequent].any()), bool(n_missing.any())
        column = describe_categories(name, codes, labels, levels, missing=missing, rare=rare)
        if len(levels) + rare + missing < 2:
            return column, []
        category = Category(name, levels, missing, len(levels) + missing <= self.config.max_onehot)
        return column, [(category, category.encode_values(codes, labels))]

    def _fit_target(self, table: Table, rows: np.ndarray) -> None:
        n_targets = table.targets.shape[1]
        self.target_center_, self.target_scale_ = np.zeros(n_targets), np.ones(n_targets)
        if table.task == "regression":
            y = table.targets.iloc[rows].to_numpy()
            self.target_center_, self.target_scale_ = y.mean(axis=0), y.std(axis=0)
            self.target_scale_[self.target_scale_ == 0] = 1

    def _class_counts(self, table: Table, rows: np.ndarray) -> tuple[int, ...]:
        if table.task == "regression":
            return ()
        counts = np.bincount(table.targets.iloc[rows, 0].to_numpy(), minlength=len(table.classes))
        return tuple(int(count) for count in counts)

    def _binary_widths(self) -> dict[Key, int]:
        """Width of each column's 0/1 part: a missing indicator, or one-hot levels without code 0."""
        indicators = {number.key: 1 for number in self.numbers_ if number.indicator}
        return indicators | {category.key: category.n_codes - 1 for category in self._onehot()}

    def _onehot(self) -> list[Category]:
        return [category for category in self.categories_ if category.onehot]

    def _embedded(self) -> list[Category]:
        return [category for category in self.categories_ if not category.onehot]


def _column(frame: pd.DataFrame, name: str) -> pd.Series:
    if name not in frame.columns:
        raise DataError(f"column '{name}': not in the table")
    column: pd.Series | pd.DataFrame = frame[name]
    if isinstance(column, pd.DataFrame):
        raise DataError(f"column '{name}': stands {column.shape[1]} times; names must differ")
    return column


def _range(y: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Least and greatest of each target of y (N, T)."""
    return tuple(zip(y.min(axis=0).tolist(), y.max(axis=0).tolist(), strict=True))


def _stacked(parts: Sequence[Encoded], n_rows: int) -> tuple[Stacked, Stacked]:
    """Parts, numbers before categories, as the arrays that `Preprocessor.slots` describes."""
    continuous, binary, codes = ([*chain(*columns)] for columns in zip(*parts, strict=True))
    return Stacked(continuous + binary, n_rows, np.dtype(np.float32)), Stacked(codes, n_rows, np.dtype(np.int64))
