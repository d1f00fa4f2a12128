"""The records that pass between the parts: a table, its splits, its arrays, what it is, what came of it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

Task = Literal["binary", "multiclass", "regression"]
BLOCK_BYTES = 2**20  # of rows put together at a time: they stay in a processor's cache


@dataclass(frozen=True)
class Table:
    """A table as it was read: features and targets apart, row i of one belonging to row i of the other.

    `targets` has one column a target, `group` and `time` are the columns that steer the split (None where not
    asked for, and once it is split). `n_given_test` last rows came from a test file of their own. Feature columns
    are read, prepared and let go of one by one: `frame` has their names and types when that is done, but no rows.
    """

    name: str
    source: str
    digest: str
    frame: pd.DataFrame
    targets: pd.DataFrame
    task: Task
    classes: tuple[str, ...]  # labels as text, sorted as the data sorts them; empty for regression
    labels: tuple[str | int | float | bool, ...] = ()  # the classes as the data has them
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
    edges: tuple[tuple[float, ...], ...] = ()  # quantiles, rising, of each continuous column: the first of `n_num`
    target_range: tuple[tuple[float, float], ...] = ()  # of each target in the training rows; empty for classes


class Arrays(NamedTuple):
    """Prepared rows: num (N, n_num) float32, cat (N, n_cat) int64 codes, y (N,) int64 or (N, T) float32."""

    num: np.ndarray
    cat: np.ndarray
    y: np.ndarray


class Stacked(NamedTuple):
    """Columns (N,) as one array (N, n_columns), put together when it is needed."""

    columns: Sequence[np.ndarray]
    n_rows: int
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.n_rows, len(self.columns)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def blocks(self) -> Iterator[np.ndarray]:
        """The rows in order, some at a time, each block C-contiguous."""
        n_rows = max(1, BLOCK_BYTES // max(1, self.nbytes // max(1, self.n_rows)))
        for start in range(0, self.n_rows, n_rows):
            parts = [column[start : start + n_rows] for column in self.columns]
            block = np.empty((len(parts), min(n_rows, self.n_rows - start)), self.dtype)
            for row, part in zip(block, parts, strict=True):
                row[...] = part
            yield np.ascontiguousarray(block.T)

    def whole(self) -> np.ndarray:
        """All rows as one array."""
        whole, start = np.empty(self.shape, self.dtype), 0
        for block in self.blocks():
            whole[start : start + len(block)] = block
            start += len(block)
        return whole


class Interval(NamedTuple):
    """A value with its bootstrap interval."""

    value: float
    low: float
    high: float

    def __neg__(self) -> "Interval":
        """The same the other way round, as of a difference."""
        return Interval(-self.value, -self.high, -self.low)


@dataclass(frozen=True)
class Result:
    """What a training run reached; the fields of the second part are empty for a trial, which is not tested."""

    status: Literal["FINISHED", "KILLED"]
    best_epoch: int
    n_epochs: int
    n_params: int
    val: Mapping[str, float]
    history: Sequence[Mapping[str, float]]  # a row an epoch
    seconds: float
    threads: int = 1

    run_id: str = ""
    run_name: str = ""
    test: Mapping[str, Interval] = field(default_factory=dict)
    y: np.ndarray | None = None  # of the test rows, as metrics take them
    prediction: np.ndarray | None = None
    alone: Mapping[str, float] = field(default_factory=dict)  # mean test metrics of an ensemble's networks, each alone
    trust: Mapping[str, float] = field(default_factory=dict)  # coverage and mean size of sets or intervals on test rows
    fault: str = ""  # why the run's bundle must not be used, with the worst row; empty: it may, or there is none
    findings: tuple[str, ...] = ()  # what the doctor found, a line each
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # val/… and test/… of each
    verdict: str = ""  # whether the network beats the best of them, in a sentence
    registered: str = ""  # what became of the model in the registry
    checkpoint: Path | None = None  # what the run could be resumed from
