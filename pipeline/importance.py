"""Permutation importance (Breiman 2001; Fisher, Rudin and Dominici 2019): what a column's order is worth."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from pipeline.types import Arrays

N_REPEATS = 5
MAX_ROWS = 2000  # rows permuted; the spread over repeats tells whether they are enough
MAX_PASSES = 1000  # of a network in all: a table of a thousand columns, or of 200 for five networks, gets one repeat
MAX_WORK = 200_000_000_000  # multiply-adds of all passes, a few seconds: large networks get fewer repeats, then rows
MIN_ROWS, MIN_COLUMNS = 256, 32  # at least; of more columns than can be paid for, those are permuted that promise most

Source = tuple[list[int], list[int]]  # columns of num and of cat


class Importance(NamedTuple):
    """Names of raw columns, largest mean first, with mean and standard deviation over repeats; nan: not permuted."""

    names: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray


def permutation_importance(
    loss: Callable[[Arrays], float],
    slopes: Callable[[Arrays], np.ndarray],
    arrays: Arrays,
    sources: Mapping[str, Source],
    *,
    seed: int,
    row_work: int = 1,
    n_networks: int = 1,
) -> Importance:
    """How much the loss rises when a raw column's values are shuffled among the rows.

    Args:
        loss: loss of rows; called once for the rows as they are, then for each column and repeat.
        slopes: the loss's gradient by `num`, (N, n_num) as it is; asked for where not every column can be paid for.
        arrays: prepared rows, at most MAX_ROWS of which are used.
        sources: for each raw column its columns of `num` and of `cat`, shuffled together.
        seed: of the choice of rows and of the shuffles.
        row_work: multiply-adds of the loss of a row.
        n_networks: networks that a call of the loss runs.
    """
    generator = np.random.default_rng(seed)
    affordable = MAX_WORK // row_work  # rows, over all columns and repeats
    n_rows = min(MAX_ROWS, len(arrays.y), max(MIN_ROWS, affordable // len(sources)))
    chosen = np.sort(generator.choice(len(arrays.y), n_rows, replace=False))
    arrays = Arrays(*(array[chosen] for array in arrays))
    names = list(sources)
    n_columns = min(len(names), max(MIN_COLUMNS, affordable // n_rows))
    if n_columns < len(names):
        names = _by_promise(slopes(arrays), arrays.num, sources, n_columns, generator)
    n_repeats = max(1, min(N_REPEATS, MAX_PASSES // (n_columns * n_networks), affordable // (n_rows * n_columns)))
    before = loss(arrays)
    rises = np.full((len(names), n_repeats), np.nan)
    for row, (num_columns, cat_columns) in enumerate(sources[name] for name in names[:n_columns]):
        for repeat in range(n_repeats):
            order = generator.permutation(n_rows)
            num, cat = arrays.num.copy(), arrays.cat.copy()
            num[:, num_columns] = arrays.num[:, num_columns][order]
            cat[:, cat_columns] = arrays.cat[:, cat_columns][order]
            rises[row, repeat] = loss(Arrays(num, cat, arrays.y)) - before
    order = np.argsort(-rises.mean(axis=1), kind="stable")
    return Importance(tuple(names[k] for k in order), rises.mean(axis=1)[order], rises.std(axis=1)[order])


def _by_promise(
    slopes: np.ndarray, num: np.ndarray, sources: Mapping[str, Source], n_columns: int, generator: np.random.Generator
) -> list[str]:
    """Names of the columns: those first that a shuffle moves the loss most by, as far as its slope tells (first order).

    Codes have no slope: columns that have any come before all, but as half of the first `n_columns` at most.
    """
    moved = np.abs(slopes * (generator.permutation(num) - num)).mean(axis=0)
    promise = {name: moved[num_columns].sum() for name, (num_columns, _) in sources.items()}
    coded = [name for name, (_, cat_columns) in sources.items() if cat_columns][: n_columns // 2]
    others = (name for name in sources if name not in coded)
    return [*coded, *sorted(others, key=lambda name: -promise[name])]
