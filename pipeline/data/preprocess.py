"""From a frame's columns to float and code arrays; everything is learned on the training rows alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from pipeline.config import Preprocess
from pipeline.data.sources import as_text, is_datetime, is_number
from pipeline.errors import DataError
from pipeline.types import Arrays, Features, Table

SMOOTH_BOUND = 3.0  # RealMLP, Holzmüller et al. 2024, section 3: f(x) = x / sqrt(1 + (x/3)²)
LARGEST = 1e6  # a scaled value beyond it is taken as it, so that float32 never overflows
N_QUANTILES = 1000  # as scikit-learn's QuantileTransformer
SCORE_BOUND = 1e-7  # ranks are kept this far from 0 and 1, where the normal scores are infinite
DATE_PARTS = ("elapsed", "year", "month", "day", "weekday", "hour", "minute", "second")


# ---------------------------------------------------------------- scaling of one column
@dataclass(frozen=True)
class Affine:
    """(x − center) · scale; smooth clipping at ±3 where asked for."""

    center: float
    scale: float
    smooth: bool = False

    def apply(self, x: np.ndarray) -> np.ndarray:
        z = np.clip((x - self.center) * self.scale, -LARGEST, LARGEST)
        return z / np.sqrt(1 + (z / SMOOTH_BOUND) ** 2) if self.smooth else z


@dataclass(frozen=True)
class Interpolation:
    """Piecewise linear from quantiles of the training rows to normal scores."""

    points: np.ndarray
    scores: np.ndarray

    def apply(self, x: np.ndarray) -> np.ndarray:
        z: np.ndarray = np.interp(x, self.points, self.scores)
        return z


Scaling = Affine | Interpolation


def fit_scaling(kind: str, x: np.ndarray) -> Scaling:
    """The scaling `kind` learned on training values x (N,), none missing."""
    if kind == "quantile":
        return _fit_quantiles(x)
    if kind == "robust":
        return _fit_robust(x)
    if kind == "standard":
        return Affine(float(x.mean()), _inverse(float(x.std())))
    return Affine(0.0, 1.0)


def _fit_robust(x: np.ndarray) -> Affine:
    """Median and quartiles; half the range where the quartiles agree (RealMLP, appendix A)."""
    low, first, median, third, high = np.quantile(x, [0, 0.25, 0.5, 0.75, 1])
    width = third - first if third > first else (high - low) / 2
    return Affine(float(median), _inverse(float(width)), smooth=True)


def _fit_quantiles(x: np.ndarray) -> Interpolation:
    from scipy.special import ndtri

    ranks = np.linspace(0, 1, min(N_QUANTILES, len(x)))
    quantiles = np.quantile(x, ranks)
    points, first, counts = np.unique(quantiles, return_index=True, return_counts=True)
    middle = (ranks[first] + ranks[first + counts - 1]) / 2  # a value that fills several ranks gets their middle
    return Interpolation(points, ndtri(np.clip(middle, SCORE_BOUND, 1 - SCORE_BOUND)))


def _inverse(width: float) -> float:
    return 1 / width if width > 0 else 1.0


# ---------------------------------------------------------------- one column
@dataclass(frozen=True)
class Number:
    """A numeric column, or one part of a datetime column: a continuous value, and whether it was missing."""

    name: str
    part: str | None
    fill: float
    scaling: Scaling
    indicator: bool

    def values(self, column: pd.Series) -> np.ndarray:
        return numbers_of(column, self.part)

    def encode(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scaled values (N,) with missing ones filled, and where they were missing (N,)."""
        missing = np.isnan(x)
        return self.scaling.apply(np.where(missing, self.fill, x)), missing


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

    def encode(self, column: pd.Series) -> np.ndarray:
        """Codes (N,) of a column."""
        text = as_text(column)
        codes: np.ndarray = pd.Index(self.levels, dtype=object).get_indexer(pd.Index(text, dtype=object)) + 1
        if self.missing_level:
            codes[text.isna().to_numpy()] = self.n_codes - 1
        return codes


def numbers_of(column: pd.Series, part: str | None = None) -> np.ndarray:
    """A column's values as float64 (N,), missing ones as nan; of a datetime column the `part`."""
    if part is None:
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    moment = pd.to_datetime(column, utc=True).dt
    if part == "elapsed":  # days since 1970
        return (moment.as_unit("ns").astype("int64") / 86_400e9).where(column.notna()).to_numpy(dtype=np.float64)
    return getattr(moment, part).to_numpy(dtype=np.float64, na_value=np.nan)  # type: ignore[no-any-return]


# ---------------------------------------------------------------- the whole table
class Preprocessor:
    """Learns from the training rows how columns become arrays, then applies it to any rows.

    Attributes:
        numbers_: the continuous columns, in the order of the first columns of `num`.
        categories_: the categorical columns kept.
        dropped_: names of columns that are the same in every training row.
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
        features = self._fitted()
        num = np.zeros((len(frame), features.n_num), np.float32)
        cat = np.zeros((len(frame), len(features.cardinalities)), np.int64)
        slots = self.slots()
        for position, number in enumerate(self.numbers_):
            x = self._checked(number, frame)
            num[:, position], missing = number.encode(x)
            if number.indicator:
                num[:, slots[_key(number)][-1]] = missing
        for category in self.categories_:
            codes = category.encode(_column(frame, category.name))
            if category.onehot:
                known = np.flatnonzero(codes)
                num[known, np.asarray(slots[category.name])[codes[known] - 1]] = 1
            else:
                cat[:, self._embedded().index(category)] = codes
        return num, cat

    def arrays(self, table: Table, rows: np.ndarray) -> Arrays:
        """Prepared `rows` of a table with their targets, regression targets standardised."""
        num, cat = self.transform(table.frame.iloc[rows])
        y = table.targets.iloc[rows].to_numpy(copy=True)  # pandas' own memory may be read-only, torch wants it writable
        if table.task != "regression":
            return Arrays(num, cat, y[:, 0])
        return Arrays(num, cat, ((y - self.target_center_) / self.target_scale_).astype(np.float32))

    def slots(self) -> dict[str, list[int]]:
        """Columns of `num` that each raw column (or datetime part, as name:part) fills."""
        slots = {_key(number): [position] for position, number in enumerate(self.numbers_)}
        start = len(self.numbers_)
        for key, width in self._binary_widths().items():
            slots.setdefault(key, []).extend(range(start, start + width))
            start += width
        return slots

    def sources(self) -> dict[str, tuple[list[int], list[int]]]:
        """For each raw column kept, its columns of `num` and of `cat`: what to permute to blind the network to it."""
        found: dict[str, tuple[list[int], list[int]]] = {}
        columns: list[Number | Category] = [*self.numbers_, *self.categories_]
        for column in columns:
            found.setdefault(column.name, ([], []))[0].extend(self.slots().get(_key(column), []))
        for position, category in enumerate(self._embedded()):
            found[category.name][1].append(position)
        return found

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
        self.numbers_.append(Number(name, part, float(np.median(seen)), scaling, indicator))
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
            self.target_center_ = y.mean(axis=0)
            self.target_scale_ = 1 / np.array([_inverse(width) for width in y.std(axis=0)])

    def _class_counts(self, table: Table, rows: np.ndarray) -> tuple[int, ...]:
        if table.task == "regression":
            return ()
        counts = np.bincount(table.targets.iloc[rows, 0].to_numpy(), minlength=len(table.classes))
        return tuple(int(count) for count in counts)

    def _binary_widths(self) -> Mapping[str, int]:
        """Width of each column's 0/1 part: a missing indicator, or one-hot levels without code 0."""
        widths = {_key(number): 1 for number in self.numbers_ if number.indicator}
        return widths | {category.name: category.n_codes - 1 for category in self.categories_ if category.onehot}

    def _embedded(self) -> list[Category]:
        return [category for category in self.categories_ if not category.onehot]

    def _checked(self, number: Number, frame: pd.DataFrame) -> np.ndarray:
        column = _column(frame, number.name)
        if number.part is None and not is_number(column) and column.notna().any():
            raise DataError(f"column '{number.name}': holds {column.dtype} values; the network was trained on numbers")
        x = number.values(column) if column.notna().any() else np.full(len(column), np.nan)
        if np.isinf(x).any():
            raise DataError(f"column '{number.name}': infinite value in row {int(np.isinf(x).argmax()) + 1}")
        return x


def _key(column: Number | Category) -> str:
    part = getattr(column, "part", None)
    return f"{column.name}:{part}" if part else column.name


def _column(frame: pd.DataFrame, name: str) -> pd.Series:
    if name not in frame.columns:
        raise DataError(f"column '{name}': not in the table")
    column: pd.Series = frame[name]
    return column
