"""Scaling of one column of numbers: learned on training values, applied to any."""

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

SMOOTH_BOUND = 3.0  # RealMLP, Holzmüller et al. 2024, section 3: f(x) = x / sqrt(1 + (x/3)²)
LARGEST = 1e6  # a scaled value beyond it is taken as it, so that no sum in float32 overflows
LARGEST_UNSCALED = 1e30  # the same of a value taken as read, which may well be beyond a million
SMALLEST_QUANTILE = 1e-290  # nearer to 0 it is taken as 0: slopes between neighbours stay finite
N_BINS = 48  # of a column's values, for piecewise-linear embeddings (Gorishniy et al. 2024, appendix D)
EDGE_ROWS = 10_000  # training rows that the bins are found in
N_QUANTILES = 1000  # as scikit-learn's QuantileTransformer
SCORE_BOUND = 1e-7  # ranks are kept this far from 0 and 1, where the normal scores are infinite


@dataclass(frozen=True)
class Affine:
    """(x − center) · scale, at most `bound` from 0; smooth clipping at ±3 where asked for."""

    center: float
    scale: float
    smooth: bool = False
    bound: float = LARGEST

    def apply(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):  # what overflows lies beyond the bound
            z = x - self.center
            z *= self.scale
        np.clip(z, -self.bound, self.bound, out=z)
        return z / np.sqrt(1 + (z / SMOOTH_BOUND) ** 2) if self.smooth else z

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Interpolation:
    """Piecewise linear from quantiles of the training rows to normal scores."""

    points: np.ndarray
    scores: np.ndarray

    def apply(self, x: np.ndarray) -> np.ndarray:
        z: np.ndarray = np.interp(x, self.points, self.scores)
        return z

    def to_dict(self) -> dict[str, Any]:
        return {"points": self.points.tolist(), "scores": self.scores.tolist()}


Scaling = Affine | Interpolation


def scaling_from_dict(given: Mapping[str, Any]) -> Scaling:
    """The scaling that `to_dict` described."""
    if "points" in given:
        return Interpolation(**{name: np.array(values) for name, values in given.items()})
    return Affine(**given)


def fit_scaling(kind: str, x: np.ndarray) -> Scaling:
    """The scaling `kind` learned on training values x (N,), none missing."""
    if kind == "none":
        return Affine(0.0, 1.0, bound=LARGEST_UNSCALED)
    unit = unit_of(x)
    if kind == "quantile":
        return _fit_quantiles(x / unit, unit)
    if kind == "robust":
        return _fit_robust(x / unit, unit)
    z = x / unit
    return Affine(float(z.mean()) * unit, _inverse(z.std(), unit))


def _fit_robust(x: np.ndarray, unit: float) -> Affine:
    """Median and quartiles; half the range where the quartiles agree (RealMLP, appendix A)."""
    low, first, median, third, high = np.quantile(x, [0, 0.25, 0.5, 0.75, 1])
    width = third - first if third > first else (high - low) / 2
    return Affine(float(median) * unit, _inverse(width, unit), smooth=True)


def _fit_quantiles(x: np.ndarray, unit: float) -> Interpolation:
    from scipy.special import ndtri

    ranks = np.linspace(0, 1, min(N_QUANTILES, len(x)))
    quantiles = np.quantile(x, ranks) * unit
    quantiles[np.abs(quantiles) < SMALLEST_QUANTILE] = 0
    points, first, counts = np.unique(quantiles, return_index=True, return_counts=True)
    middle = (ranks[first] + ranks[first + counts - 1]) / 2  # a value that fills several ranks gets their middle
    return Interpolation(points, ndtri(np.clip(middle, SCORE_BOUND, 1 - SCORE_BOUND)))


def median(x: np.ndarray) -> float:
    """The median of x (N,), none missing."""
    unit, middle = unit_of(x), len(x) // 2
    ordered = np.partition(x, middle)  # once: numpy's own median does so for each of the two in the middle
    lower = ordered[:middle].max() if len(x) % 2 == 0 else ordered[middle]
    return float((lower / unit + ordered[middle] / unit) / 2) * unit


def unit_of(x: np.ndarray) -> float:
    """The power of two, by which division is exact, that brings the largest of x to [1, 2): no statistic overflows."""
    return float(np.ldexp(1.0, np.frexp(max(x.max(), -x.min()))[1] - 1))


def _inverse(width: float, unit: float) -> float:
    """1 / (width · unit); 1 for a column that does not vary."""
    return min(1 / float(width) / unit, sys.float_info.max) if width > 0 else 1.0


def edges_of(x: np.ndarray) -> tuple[float, ...]:
    """At most N_BINS + 1 distinct quantiles of prepared training values x (N,).

    A value that several would fall on is one edge, and the others are quantiles of the rest: a column that is mostly 0
    is told apart where it is not.
    """
    values, counts = np.unique(x[:: max(1, len(x) // EDGE_ROWS)].astype(np.float32), return_counts=True)
    is_heavy = counts * N_BINS > counts.sum()
    rest = np.repeat(values[~is_heavy], counts[~is_heavy])
    at = np.linspace(0, 1, N_BINS + 1 - is_heavy.sum())
    edges = np.union1d(values[is_heavy], np.quantile(rest, at).astype(np.float32)) if rest.size else values
    first, last = float(edges[0]), float(edges[-1])
    return tuple(edges.tolist()) if first < last else (first, first + 1)
