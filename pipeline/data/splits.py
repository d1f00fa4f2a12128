"""Which rows train, validate and test: stratified, random, grouped or by time; seeded."""

import numpy as np
import pandas as pd

from pipeline.config import DataSection
from pipeline.data.columns import as_moments, is_number, shown
from pipeline.errors import DataError
from pipeline.types import Splits, Table


def split_table(table: Table, data: DataSection) -> Splits:
    """Split the rows of `table` as `data` asks; 64/16/20 by default.

    The test rows are those of `train_test_split(rows, test_size, random_state=split_seed)`, stratified for
    classes, and the validation rows are split the same way from the rest.

    Raises:
        DataError: too few rows, a class with fewer than two rows in a stratified split, too few groups.
    """
    kind = _kind(table, data)
    rows, n_given = np.arange(table.n_rows), table.n_given_test
    if n_given:
        rest, test = rows[:-n_given], rows[-n_given:]
    else:
        rest, test = _split_off(rows, data.test_size, kind, table, data.split_seed)
    val_share = data.val_size if n_given else round(data.val_size / (1 - data.test_size), 12)
    train, val = _split_off(rest, val_share, kind, table, data.split_seed)
    _require_every_class(table, train, kind)
    return Splits(train, val, test)


def fold_codes(table: Table, data: DataSection, rows: np.ndarray, n_folds: int) -> np.ndarray:
    """A fold (N,), from 0, for each of `rows`, drawn as `split_table` draws: folds alike in classes, groups kept whole.

    Raises:
        DataError: rows are split by time, or are fewer, or have fewer groups, than folds.
    """
    kind = _kind(table, data)
    if kind == "time":
        raise DataError("trainer.folds: rows split by time would be learned from before others; use trainer.seeds")
    group = table.group.iloc[rows].to_numpy() if kind == "grouped" and table.group is not None else np.arange(len(rows))
    values, codes = np.unique(group, return_inverse=True)
    if len(values) < n_folds:
        what = "groups" if kind == "grouped" else "rows"
        raise DataError(f"trainer.folds: {n_folds} folds need as many {what}, there are {len(values)}")
    order = np.random.RandomState(data.split_seed).permutation(len(values))
    if kind == "stratified":
        order = order[np.argsort(_codes(table)[rows][order], kind="stable")]  # a class after the other, each shuffled
    folds = np.empty(len(values), dtype=np.int64)
    folds[order] = np.arange(len(values)) % n_folds
    return folds[codes]


def _kind(table: Table, data: DataSection) -> str:
    if data.split == "stratified" and table.task == "regression":
        raise DataError("data.split: stratified needs classes, and the task is regression; use random")
    if data.split != "auto":
        return data.split
    if data.group:
        return "grouped"
    if data.time:
        return "time"
    return "random" if table.task == "regression" else "stratified"


def _split_off(rows: np.ndarray, share: float, kind: str, table: Table, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`rows` in two, the second part `share` of them."""
    n_off = int(np.ceil(share * len(rows)))
    if len(rows) - n_off < 2:
        raise DataError(f"the table has {table.n_rows} rows; too few to train, validate and test on")
    if kind == "time":
        assert table.time is not None
        return _by_time(rows, n_off, table.time)
    if kind == "grouped":
        assert table.group is not None
        return _by_group(rows, share, table.group, seed)
    if kind == "stratified":
        codes = _codes(table)[rows]
        _require_stratifiable(codes, n_off, table)
        kept, off = _stratified(codes, n_off, np.random.RandomState(seed))
    else:
        order = np.random.RandomState(seed).permutation(len(rows))
        kept, off = order[n_off:], order[:n_off]
    return rows[kept], rows[off]


def _stratified(codes: np.ndarray, n_off: int, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """The positions that scikit-learn's StratifiedShuffleSplit draws, without its lists of Python numbers."""
    counts = np.bincount(codes)
    counts = counts[counts > 0]
    n_kept = _shares(counts, len(codes) - n_off, random)
    n_cut = n_kept + _shares(counts - n_kept, n_off, random)
    narrow = codes.astype(np.min_scalar_type(codes.max()))  # which numpy sorts by counting
    members = np.split(np.argsort(narrow, kind="stable"), np.cumsum(counts)[:-1])
    members = [rows[random.permutation(len(rows))] for rows in members]
    kept = np.concatenate([rows[:end] for rows, end in zip(members, n_kept, strict=True)])
    off = np.concatenate([rows[start:end] for rows, start, end in zip(members, n_kept, n_cut, strict=True)])
    return random.permutation(kept), random.permutation(off)


def _shares(counts: np.ndarray, n_draws: int, random: np.random.RandomState) -> np.ndarray:
    """How many of `n_draws` each class gets: the whole part of its share, and one more where most of one is left."""
    exact = counts / counts.sum() * n_draws
    shares: np.ndarray = np.floor(exact)
    left = exact - shares
    for value in np.unique(left)[::-1]:
        n_missing = int(n_draws - shares.sum())
        if n_missing <= 0:
            break
        alike = np.flatnonzero(left == value)
        shares[random.choice(alike, min(len(alike), n_missing), replace=False)] += 1
    return shares.astype(int)


def _by_time(rows: np.ndarray, n_off: int, time: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    time = time.iloc[rows]
    _require_given(time, "time", rows)
    moments = time if is_number(time) else as_moments(time)
    order = rows[np.argsort(moments, kind="stable")]
    return order[:-n_off], order[-n_off:]


def _by_group(rows: np.ndarray, share: float, group: pd.Series, seed: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.model_selection import GroupShuffleSplit

    n_groups, group = group.nunique(), group.iloc[rows]
    _require_given(group, "group", rows)
    codes, values = pd.factorize(group)
    if np.ceil(share * len(values)) >= len(values):
        raise DataError(
            f"column '{group.name}': {n_groups} groups are too few for one each to train, validate and test; "
            "leave data.group out"
        )
    splitter = GroupShuffleSplit(n_splits=1, test_size=share, random_state=seed)
    kept, off = next(splitter.split(rows, groups=codes))
    return rows[kept], rows[off]


def _require_given(column: pd.Series, what: str, rows: np.ndarray) -> None:
    missing = column.isna().to_numpy()
    if missing.any():
        first = int(rows[missing].min()) + 1
        raise DataError(
            f"column '{column.name}': the {what} is missing in {int(missing.sum())} rows, first in row {first}"
        )


def _require_stratifiable(codes: np.ndarray, n_off: int, table: Table) -> None:
    counts = np.bincount(codes, minlength=len(table.classes))
    rare = [table.classes[code] for code in np.flatnonzero(counts == 1)]
    if rare:
        others = f" (and {len(rare) - 1} more)" if len(rare) > 1 else ""
        raise DataError(
            f"column '{table.targets.columns[0]}': a stratified split needs two rows a class and part, "
            f"class '{shown(rare[0])}' has too few{others}; pool rare classes, use data.split=random, "
            "or data.task=regression if they are amounts"
        )
    if min(n_off, len(codes) - n_off) < np.count_nonzero(counts):
        raise DataError(
            f"the table has {table.n_rows} rows; too few for a stratified split of {len(table.classes)} classes"
        )


def _codes(table: Table) -> np.ndarray:
    return table.targets.iloc[:, 0].to_numpy()


def _require_every_class(table: Table, train: np.ndarray, kind: str) -> None:
    if table.task == "regression":
        return
    absent = np.flatnonzero(np.bincount(_codes(table)[train], minlength=len(table.classes)) == 0)
    if len(absent):
        fix = "use data.split=stratified" if kind == "random" else "give it more rows"
        raise DataError(
            f"column '{table.targets.columns[0]}': no training row has class '{shown(table.classes[absent[0]])}'; "
            f"{fix}, or remove the class"
        )
