"""Permutation importance (Breiman 2001; Fisher, Rudin and Dominici 2019): what a column's order is worth."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from pipeline.types import Arrays

N_REPEATS = 5
MAX_ROWS = 2000  # rows permuted; the spread over repeats tells whether they are enough
MAX_PASSES = 1000  # of a network in all: a table of a thousand columns, or of 200 for five networks, gets one repeat
MAX_WORK = 200_000_000_000  # multiply-adds of all passes, a few seconds: large networks get fewer repeats, then rows
MIN_ROWS = 256


class Importance(NamedTuple):
    """Names of raw columns, largest mean first, with mean and standard deviation over repeats."""

    names: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray


def permutation_importance(
    loss: Callable[[Arrays], float],
    arrays: Arrays,
    sources: Mapping[str, tuple[list[int], list[int]]],
    *,
    seed: int,
    row_work: int = 1,
    n_networks: int = 1,
) -> Importance:
    """How much the loss rises when a raw column's values are shuffled among the rows.

    Args:
        loss: loss of rows; called once for the rows as they are, then for each column and repeat.
        arrays: prepared rows, at most MAX_ROWS of which are used.
        sources: for each raw column its columns of `num` and of `cat`, shuffled together.
        seed: of the choice of rows and of the shuffles.
        row_work: multiply-adds of the loss of a row.
        n_networks: networks that a call of the loss runs.
    """
    generator = np.random.default_rng(seed)
    affordable = MAX_WORK // (row_work * len(sources))  # rows, over all repeats
    n_rows = min(MAX_ROWS, len(arrays.y), max(MIN_ROWS, affordable))
    chosen = np.sort(generator.choice(len(arrays.y), n_rows, replace=False))
    arrays = Arrays(*(array[chosen] for array in arrays))
    n_repeats = max(1, min(N_REPEATS, MAX_PASSES // (len(sources) * n_networks), affordable // n_rows))
    before = loss(arrays)
    rises = np.empty((len(sources), n_repeats))
    for row, (num_columns, cat_columns) in enumerate(sources.values()):
        for repeat in range(n_repeats):
            order = generator.permutation(n_rows)
            num, cat = arrays.num.copy(), arrays.cat.copy()
            num[:, num_columns] = arrays.num[:, num_columns][order]
            cat[:, cat_columns] = arrays.cat[:, cat_columns][order]
            rises[row, repeat] = loss(Arrays(num, cat, arrays.y)) - before
    order = np.argsort(-rises.mean(axis=1), kind="stable")
    return Importance(
        tuple(np.array(list(sources))[order].tolist()), rises.mean(axis=1)[order], rises.std(axis=1)[order]
    )
