"""Which inputs move a prediction most: each is varied alone over what training saw of it."""

from typing import Any

import numpy as np

from pipeline.bundle import MISSING, Bundle, Column

STEPS = 7  # values of a number's training range that are tried
MOST_LEVELS = 20  # categories tried of a column


def explain(bundle: Bundle, row: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """How far the prediction for a row, columns (1,), goes when one input changes; the farthest first.

    Of a classifier the probability of the class that is predicted is followed, else the first target's value.
    """
    tried = {column.name: _values(column) for column in bundle.schema.columns}
    n_rows = 1 + sum(map(len, tried.values()))
    columns = {name: np.repeat(value, n_rows) for name, value in row.items()}
    start = 1
    for name, values in tried.items():
        columns[name][start : start + len(values)] = values
        start += len(values)
    answers = bundle.predict(columns).values
    followed = answers[:, answers[0].argmax() if bundle.schema.classes else 0]
    found, start = [], 1
    for name, values in tried.items():
        part = followed[start : start + len(values)]
        start += len(values)
        if len(part):
            ends = {"low": float(part.min()), "high": float(part.max())}
            found.append(
                {
                    "column": name,
                    **ends,
                    "at_low": _told(values, part.argmin()),
                    "at_high": _told(values, part.argmax()),
                }
            )
    return sorted(found, key=lambda effect: effect["low"] - effect["high"])


def _values(column: Column) -> list[Any]:
    if column.kind == "category":
        return [*column.levels[:MOST_LEVELS], *([MISSING] if column.missing else [])]
    if column.low is None or column.high is None:
        return []
    values = np.linspace(column.low, column.high, STEPS)
    return sorted({*(np.round(values) if column.integer else values).tolist()})


def _told(values: list[Any], place: Any) -> Any:
    value = values[int(place)]
    return None if value == MISSING else value
