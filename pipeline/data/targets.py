"""What the target is: task, classes, and its values as numbers."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.data.columns import (
    ALMOST,
    as_numbers,
    is_datetime,
    is_number,
    is_opaque,
    misfits,
    require_finite,
    row_of,
    shown,
    text_codes,
)
from pipeline.errors import DataError
from pipeline.types import Task

MAX_CLASSES = 20  # distinct whole numbers in a target up to which the task is read as classification


def require_sound_targets(targets: pd.DataFrame, where: str) -> None:
    """Refuse targets that are missing or infinite, or that are neither numbers nor text nor booleans."""
    for name, column in targets.items():
        missing = column.isna()
        if missing.any():
            raise DataError(
                f"column '{name}'{where}: the target is missing in {int(missing.sum())} of {len(column)} rows, "
                f"first in row {row_of(missing)}; remove or fill these rows"
            )
        if is_datetime(column) or is_opaque(column):
            raise DataError(
                f"column '{name}'{where}: a target must hold numbers, text or booleans, "
                f"first is '{shown(column.iloc[0])}'"
            )
        if is_number(column):
            require_finite(column, where)


def infer_task(targets: pd.DataFrame, asked: str) -> tuple[Task, tuple[str, ...], str]:
    """Task, sorted class labels, and a sentence that says how the task was found."""
    if asked == "regression" or (asked == "auto" and (targets.shape[1] > 1 or not _is_label(targets.iloc[:, 0]))):
        return "regression", (), _regression_note(targets, asked)
    name, column = targets.columns[0], targets.iloc[:, 0]
    if targets.shape[1] > 1:
        raise DataError(f"data.target: several targets mean regression, got data.task={asked} with {list(targets)}")
    if asked == "auto":
        _require_no_stray_text(column)
    classes = _classes(column)
    if len(classes) < 2:
        raise DataError(f"column '{name}': the target has one class only, '{shown(classes[0])}'")
    reason = "as asked" if asked != "auto" else f"{len(classes)} distinct values in the target"
    note = f"task: classification of '{name}', {len(classes)} classes ({reason}; data.task overrides)"
    return "binary" if len(classes) == 2 else "multiclass", classes, note


def _require_no_stray_text(column: pd.Series) -> None:
    """Refuse a text target that is numbers but for a few cells: it would become as many classes as rows."""
    if is_number(column) or column.nunique() <= MAX_CLASSES:
        return
    bad = pd.to_numeric(column, errors="coerce").isna()
    if 0 < bad.mean() <= 1 - ALMOST:
        raise misfits(column, bad, "numbers", fix="; correct them, or set data.task=classification if all are labels")


def _is_label(column: pd.Series) -> bool:
    if not is_number(column):
        return True
    values = column.to_numpy(dtype=float)
    return bool((values == np.round(values)).all() and column.nunique() <= MAX_CLASSES)


def _classes(column: pd.Series) -> tuple[str, ...]:
    """Labels as text, sorted as numbers where all are numbers."""
    labels = pd.Series(text_codes(column)[1])
    numbers = pd.to_numeric(labels, errors="coerce")
    return tuple(labels.iloc[np.argsort(labels if numbers.isna().any() else numbers, kind="stable")])


def labels_of(column: pd.Series, classes: Sequence[str]) -> tuple[str | int | float | bool, ...]:
    """The classes as the target has them: whole numbers, numbers, booleans or text."""
    if pd.api.types.is_bool_dtype(column):
        return tuple(label == "True" for label in classes)
    if not is_number(column):
        return tuple(classes)
    return tuple(map(int if pd.api.types.is_integer_dtype(column) else float, classes))


def _regression_note(targets: pd.DataFrame, asked: str) -> str:
    for name, column in targets.items():
        if as_numbers(column).nunique() < 2:
            raise DataError(f"column '{name}': the target is the same in every row, {column.iloc[0]}")
    reason = f"{targets.iloc[:, 0].nunique()} distinct numbers in the target"
    if targets.shape[1] > 1:
        reason = f"{targets.shape[1]} targets"
    names = ", ".join(f"'{name}'" for name in targets)
    return f"task: regression of {names} ({'as asked' if asked != 'auto' else reason}; data.task overrides)"


def encode(targets: pd.DataFrame, task: Task, classes: Sequence[str]) -> pd.DataFrame:
    """Class codes in the order of `classes`, or float64 values."""
    if task == "regression":
        return targets.apply(as_numbers).astype("float64")
    name, column = next(iter(targets.items()))
    values, labels = text_codes(column)
    codes = {label: code for code, label in enumerate(classes)}
    return pd.DataFrame({name: np.array([codes[label] for label in labels], np.int64)[values]})
