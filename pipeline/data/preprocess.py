"""From a frame's columns to float and code arrays; everything is learned on the training rows alone."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
import pandas as pd

from pipeline.config import Preprocess
from pipeline.data.columns import as_moments, as_numbers, as_text, is_datetime, is_number, row_of, text_codes
from pipeline.data.scaling import Scaling, fit_scaling, scaling_from_dict, unit_of
from pipeline.errors import DataError
from pipeline.types import Arrays, Features, Table

EPOCH = pd.Timestamp("1970-01-01", tz="UTC").as_unit("s")  # the nanoseconds that are the default end in 2262
DATE_PARTS = ("elapsed", "year", "month", "day", "day_of_week", "hour", "minute", "second")


# ---------------------------------------------------------------- one column
Key = tuple[str, str | None]  # a raw column, and which part of it where it is a datetime


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

    def encode(self, column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
        """Scaled values (N,) with missing ones filled, and where they were missing (N,)."""
        x = numbers_of(column, self.part)
        infinite = np.isinf(x)
        if infinite.any():
            raise DataError(f"column '{self.name}': infinite value in row {row_of(infinite)}")
        missing = np.isnan(x)
        return self.scaling.apply(np.where(missing, self.fill, x) if missing.any() else x), missing


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

    def encode(self, column: pd.Series) -> np.ndarray:
        """Codes (N,) of the column."""
        codes, labels = text_codes(column)
        known = pd.Index(self.levels, dtype=object).get_indexer(pd.Index(labels, dtype=object)) + 1
        missing = self.n_codes - 1 if self.missing_level else 0
        return np.append(known, missing)[codes]  # type: ignore[no-any-return]  # −1, missing, takes the last


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
class Preprocessor:
    """Learns from the training rows how columns become arrays, then applies it to any rows.

    Attributes:
        numbers_: the continuous columns, in the order of the first columns of `num`.
        categories_: the categorical columns kept.
        dropped_: names of columns that are the same in every training row, rare levels taken as one.
        features_: what the arrays are.
        target_center_, target_scale_: (T,) mean and deviation of the targets; 0 and 1 for classes.
    """

    def __init__(self, config: Preprocess) -> None:
        self.config = config

    def fit(self, table: Table, rows: np.ndarray) -> Self:
        """Learn from `rows` of the table; raises DataError when no column varies in them."""
        self.numbers_: list[Number] = []
        self.categories_: list[Category] = []
        self.dropped_: list[str] = []
        for name, column in table.frame.items():
            if not self._fit_column(str(name), column.iloc[rows]):
                self.dropped_.append(str(name))
        if not self.numbers_ and not self.categories_:
            raise DataError("no feature column varies in the training rows")
        self._fit_target(table, rows)
        self.features_ = Features(
            task=table.task,
            n_num=len(self.numbers_) + sum(self._binary_widths().values()),
            cardinalities=tuple(category.n_codes for category in self._embedded()),
            n_outputs=len(table.classes) if table.task == "multiclass" else table.targets.shape[1],
            class_counts=self._class_counts(table, rows),
        )
        return self

    def transform(self, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Prepared rows of a frame: num (N, n_num) float32 and cat (N, n_cat) int64.

        Raises:
            DataError: a column is absent, or holds text or infinite values where numbers were.
        """
        return self._transform(lambda name: _column(frame, name), len(frame), "C")

    def arrays(self, take: Callable[[str], pd.Series], targets: pd.DataFrame) -> Arrays:
        """Prepared rows of a table, with its targets, those of a regression standardised.

        Each column is asked of `take` once, which may then let go of it, and the arrays are laid out column by column,
        which takes memory as they are filled: at no time do both stand there whole.
        """
        num, cat = self._transform(take, len(targets), "F")
        y = targets.to_numpy()
        if self._fitted().task != "regression":
            return Arrays(num, cat, y[:, 0])
        return Arrays(num, cat, ((y - self.target_center_) / self.target_scale_).astype(np.float32))

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
        features = given["features"]
        widths = {name: tuple(features[name]) for name in ("cardinalities", "class_counts")}
        made.features_ = Features(**features | widths)
        made.target_center_, made.target_scale_ = np.array(given["target_center"]), np.array(given["target_scale"])
        return made

    def _transform(
        self, take: Callable[[str], pd.Series], n_rows: int, order: Literal["C", "F"]
    ) -> tuple[np.ndarray, np.ndarray]:
        features = self._fitted()
        num = np.zeros((n_rows, features.n_num), np.float32, order)
        cat = np.zeros((n_rows, len(features.cardinalities)), np.int64, order)
        slots, places = self.slots(), {category.name: place for place, category in enumerate(self._embedded())}
        for name, parts in self._parts().items():
            column = take(name)
            for part in parts:
                if isinstance(part, Number):
                    num[:, slots[part.key][0]], missing = part.encode(column)
                    if part.indicator:
                        num[:, slots[part.key][-1]] = missing
                elif part.onehot:
                    codes = part.encode(column)
                    known = np.flatnonzero(codes)
                    num[known, slots[part.key][0] + codes[known] - 1] = 1
                else:
                    cat[:, places[name]] = part.encode(column)
        return num, cat

    def _parts(self) -> dict[str, list[Number | Category]]:
        """What each raw column that is kept becomes."""
        every: list[Number | Category] = [*self.numbers_, *self.categories_]
        parts: dict[str, list[Number | Category]] = {part.name: [] for part in every}
        for part in every:
            parts[part.name].append(part)
        return parts

    def _fitted(self) -> Features:
        if not hasattr(self, "features_"):
            raise RuntimeError("this Preprocessor is not fitted yet; call fit first")
        return self.features_

    def _fit_column(self, name: str, column: pd.Series) -> bool:
        """Learn one column; False when it is the same in every row."""
        if is_number(column):
            return self._fit_number(name, None, numbers_of(column))
        if is_datetime(column):
            return sum(self._fit_number(name, part, numbers_of(column, part)) for part in DATE_PARTS) > 0
        return self._fit_category(name, as_text(column))

    def _fit_number(self, name: str, part: str | None, x: np.ndarray) -> bool:
        missing = np.isnan(x)
        seen = x[~missing]
        varies = len(seen) > 0 and seen.min() < seen.max()
        indicator = bool(missing.any()) and len(seen) > 0 and part in (None, DATE_PARTS[0])
        if not varies and not indicator:
            return False
        scaling = fit_scaling(self.config.scaling, seen)
        fill = float(np.median(seen / unit_of(seen))) * unit_of(seen)
        self.numbers_.append(Number(name, part, fill, scaling, indicator))
        return True

    def _fit_category(self, name: str, text: pd.Series) -> bool:
        counts = text.value_counts()
        levels = tuple(sorted(str(level) for level in counts.index[counts >= self.config.min_frequency]))
        rare, missing = bool((counts < self.config.min_frequency).any()), bool(text.isna().any())
        if len(levels) + rare + missing < 2:
            return False
        self.categories_.append(Category(name, levels, missing, len(levels) + missing <= self.config.max_onehot))
        return True

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
