"""The records that pass between the parts: a table, its splits, its arrays, what it is, what came of it."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

Task = Literal["binary", "multiclass", "regression"]
GATHERED_BYTES = 8 * 2**20  # of rows put together at a time, so that no second whole array stands in memory


@dataclass(frozen=True)
class Table:
    """A table as it was read: features and targets apart, row i of one belonging to row i of the other.

    `frame` holds the feature columns, `targets` one column a target, `group` and `time` the columns that
    steer the split (None where not asked for). `n_given_test` last rows came from a test file of their own.
    Once the features are prepared, `frame` has columns and types but no rows, and `group` and `time` are None.
    """

    name: str
    source: str
    digest: str
    frame: pd.DataFrame
    targets: pd.DataFrame
    task: Task
    classes: tuple[str, ...]  # labels as text, sorted as the data sorts them; empty for regression
    group: pd.Series | None = None
    time: pd.Series | None = None
    n_given_test: int = 0
    notes: tuple[str, ...] = ()  # what was inferred or looks odd, for the terminal and the run's description

    @property
    def n_rows(self) -> int:
        """Rows of the source."""
        return len(self.targets)


class Splits(NamedTuple):
    """Row numbers of each part, disjoint, each an int64 array."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Features:
    """What the data is, once prepared; the network's input and output widths follow from it."""

    task: Task
    n_num: int  # columns of the numeric array, one-hot columns and missing indicators included
    cardinalities: tuple[int, ...]  # levels of each embedded categorical column; code 0 is rare or unseen
    n_outputs: int  # 1 logit for binary, a logit a class for multiclass, a value a target for regression
    class_counts: tuple[int, ...] = ()  # training rows of each class; empty for regression


class Arrays(NamedTuple):
    """Prepared rows: num (N, n_num) float32, cat (N, n_cat) int64 codes, y (N,) int64 or (N, T) float32."""

    num: np.ndarray
    cat: np.ndarray
    y: np.ndarray


class Gathered(NamedTuple):
    """Rows of an array, in an order of their own, put together when they are needed."""

    source: np.ndarray
    rows: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.rows), *self.source.shape[1:]

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.source.dtype

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def blocks(self) -> Iterator[np.ndarray]:
        """The rows in order, some at a time, each block C-contiguous."""
        for rows in np.array_split(self.rows, self._n_blocks()):
            yield np.ascontiguousarray(self.source[rows])

    def whole(self) -> np.ndarray:
        """All rows as one array."""
        whole = np.empty(self.shape, self.dtype)
        for part, block in zip(np.array_split(whole, self._n_blocks()), self.blocks(), strict=True):
            part[...] = block
        return whole

    def _n_blocks(self) -> int:
        return 1 + self.nbytes // GATHERED_BYTES


class Interval(NamedTuple):
    """A value with its bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Result:
    """What a training run reached."""

    run_id: str
    run_name: str
    status: Literal["FINISHED", "KILLED"]
    best_epoch: int
    n_epochs: int
    n_params: int
    val: Mapping[str, float]
    test: Mapping[str, Interval]
    seconds: float
    checkpoint: Path  # what the run could be resumed from
