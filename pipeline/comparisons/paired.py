"""Means over seeds with their intervals, and differences of pairs that share their seeds.

Runs of two settings with one seed share the split, the order of rows and as far as shapes agree the first weights; so
differences are taken seed by seed, which takes out what a seed does to both.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.types import Interval

LEVEL = 0.95


def t_interval(values: Sequence[float] | np.ndarray) -> Interval:
    """Mean and t interval of n values, n − 1 degrees of freedom (Student 1908); without bounds for one value."""
    from scipy import stats

    array = np.asarray(values, dtype=float)
    mean, n = float(array.mean()), len(array)
    if n < 2:
        return Interval(mean, float("nan"), float("nan"))
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * float(array.std(ddof=1)) / n**0.5
    return Interval(mean, mean - half, mean + half)


def p_values(differences: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Of several differences from one, the p of each, adjusted by Holm; of none where a seed is all there is."""
    tested = {name: p_value(values) for name, values in differences.items() if len(values) > 1}
    return dict(zip(tested, holm(list(tested.values())), strict=True))


def p_value(differences: Sequence[float] | np.ndarray) -> float:
    """Two-sided p of a paired t-test of two pairs or more: how often noise alone gives a mean difference as large.

    With few seeds it rests on the differences being about normal, which few seeds cannot show.
    """
    from scipy import stats

    array = np.asarray(differences, dtype=float)
    spread = float(array.std(ddof=1))
    if spread == 0:
        return 1.0 if array[0] == 0 else 0.0
    return float(2 * stats.t.sf(abs(array.mean()) * len(array) ** 0.5 / spread, len(array) - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for being several (Holm 1979): at most a share p of such families holds a false alarm."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted
