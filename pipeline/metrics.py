"""Metrics of a prediction, as one number each epoch and with a bootstrap interval at the end.

Every metric takes row counts: counts of one give the value on the rows, the counts of a resample the value on
that resample. So a value and its interval come from the same code.

Shapes: N rows, C classes, T targets, R resamples. `y` is (N,) int codes 0..C-1 for classification, (N, T) for
regression; `prediction` is (N, C) probabilities or (N, T) values; `weights` is (R, N), counts in float64.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.types import Interval, Task

MetricFunction = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

ECE_BINS = 15  # as in Guo et al. 2017, table 1
ECE_EDGES = np.linspace(0, 1, ECE_BINS + 1)[1:-1]
RESAMPLED_ROWS = 2e7  # bounds the time of a bootstrap: resamples times rows
CHUNK_CELLS = 1_000_000  # bounds its memory: 8 MB of row counts, a few times over


@dataclass(frozen=True)
class Metric:
    """A metric: `function(y, prediction, weights)` gives (R,) values, nan where the metric is undefined.

    `label` is for axes and tables. `prediction`, and `y` for regression, are float64; shapes as above.
    """

    name: str
    label: str
    higher_is_better: bool
    function: MetricFunction
    biased: bool = False  # resampling alone raises it; it is never negative


def accuracy(y: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the share of rows whose most probable class (the first of tied ones) is the true one, (R,)."""
    return _mean(prediction.argmax(axis=1) == y, weights)


def balanced_accuracy(y: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean recall over the classes present in y, (R,) (Brodersen et al. 2010, for two classes)."""
    n_classes = prediction.shape[1]
    support = _sums(y, weights, n_classes)  # (R, C)
    hits = _sums(y, weights * (prediction.argmax(axis=1) == y), n_classes)
    return _present_mean(hits, support)


def macro_f1(y: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean F1 over the classes present in y or predicted, (R,) (Opitz & Burst 2019, eq. 2)."""
    n_classes = prediction.shape[1]
    predicted = prediction.argmax(axis=1)
    occurrences = _sums(y, weights, n_classes) + _sums(predicted, weights, n_classes)  # (R, C)
    hits = _sums(y, weights * (predicted == y), n_classes)
    return _present_mean(2 * hits, occurrences)


def roc_auc(y: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve, (R,): of class 1 for C = 2, else the mean over one-vs-rest.

    Nan where a class is absent or alone, as in scikit-learn. Computed by ranks (Hanley & McNeil 1982).
    """
    n_classes = prediction.shape[1]
    scored = (1,) if n_classes == 2 else range(n_classes)
    areas = [_area(y == label, prediction[:, label], weights) for label in scored]
    return np.asarray(np.mean(areas, axis=0))


def log_loss(y: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean −log of the true class's probability, (R,), in nats; clipped at float64's epsilon."""
    epsilon = np.finfo(np.float64).eps
    likelihood = prediction[np.arange(len(y)), y].clip(epsilon, 1 - epsilon)
    return _mean(-np.log(likelihood), weights)


def brier(y: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean squared error of the probabilities, (R,): of class 1 for C = 2, else summed over all.

    The sum, 0..2, is that of Brier 1950; for two classes half of it, 0..1, is usual.
    """
    if prediction.shape[1] == 2:
        return _mean((prediction[:, 1] - y) ** 2, weights)
    error = prediction.copy()
    error[np.arange(len(y)), y] -= 1
    return _mean((error**2).sum(axis=1), weights)


def ece(y: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the expected calibration error of the top class, (R,), 0..1 (Guo et al. 2017, eq. 3)."""
    confidence = prediction.max(axis=1)
    gap = (prediction.argmax(axis=1) == y) - confidence
    gaps = _sums(np.searchsorted(ECE_EDGES, confidence), weights * gap, ECE_BINS)  # (R, ECE_BINS)
    return np.asarray(np.abs(gaps).sum(axis=1) / weights.sum(axis=1))


def rmse(y: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the root mean squared error, (R,), in the target's unit; the mean over targets."""
    return np.asarray(np.sqrt(_mean((y - prediction) ** 2, weights)).mean(axis=1))


def mae(y: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean absolute error, (R,), in the target's unit; the mean over targets."""
    return np.asarray(_mean(np.abs(y - prediction), weights).mean(axis=1))


def r2(y: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the share of variance explained, (R,), at most 1; mean over targets, nan if one is constant."""
    residual = weights @ (y - prediction) ** 2  # (R, T)
    total = np.array([[_squares_about_mean(target, row) for target in y.T] for row in weights])
    unexplained = np.divide(residual, total, out=np.full_like(total, np.nan), where=total > 0)
    return np.asarray(1 - unexplained.mean(axis=1))


def median_absolute_error(y: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the median of the absolute error, (R,), in the target's unit; the mean over targets."""
    medians = [_median(error, weights) for error in np.abs(y - prediction).T]
    return np.asarray(np.mean(medians, axis=0))


CLASSIFICATION = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "Accuracy", True, accuracy),
        Metric("balanced_accuracy", "Balanced accuracy", True, balanced_accuracy),
        Metric("macro_f1", "Macro F1", True, macro_f1),
        Metric("roc_auc", "ROC AUC", True, roc_auc),
        Metric("log_loss", "Log loss", False, log_loss),
        Metric("brier", "Brier score", False, brier),
        Metric("ece", "Calibration error", False, ece, biased=True),
    )
}
REGRESSION = {
    metric.name: metric
    for metric in (
        Metric("rmse", "RMSE", False, rmse),
        Metric("mae", "MAE", False, mae),
        Metric("r2", "R²", True, r2),
        Metric("median_absolute_error", "Median absolute error", False, median_absolute_error),
    )
}
# the metric that goes with the loss of a task, whichever loss it is; lower is better
LOSS_METRIC: Mapping[str, str] = {"regression": "rmse", "binary": "log_loss", "multiclass": "log_loss"}


def metrics_of(task: Task) -> dict[str, Metric]:
    """Return the metrics of a task by name, in the order tables show them."""
    return REGRESSION if task == "regression" else CLASSIFICATION


def monitors_of(task: Task) -> tuple[str, ...]:
    """Return what can be monitored of a task while it trains, each after `val/`."""
    return tuple(f"val/{name}" for name in ("loss", *metrics_of(task)))


def higher_is_better(monitor: str) -> bool:
    """Return whether a metric, with `val/` before it or not, is better when higher; of what is none it is not."""
    known = (CLASSIFICATION | REGRESSION).get(monitor.removeprefix("val/"))
    return known is not None and known.higher_is_better


def tested_metric(monitor: str, task: Task) -> str:
    """Return the test metric that goes with what was monitored: itself, else that of the loss."""
    name = monitor.removeprefix("val/")
    return name if name in metrics_of(task) else LOSS_METRIC[task]


def shown(value: float) -> str:
    """A metric's value for people: four digits, thousands in full."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def compute_metrics(task: Task, y: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    """Return the value of each of the task's metrics on all rows; nan where a metric is undefined."""
    y, prediction = _checked(task, y, prediction)
    once = np.ones((1, len(y)))
    return {name: float(metric.function(y, prediction, once)[0]) for name, metric in metrics_of(task).items()}


def bootstrap(
    task: Task, y: np.ndarray, prediction: np.ndarray, *, seed: int, level: float = 0.95
) -> dict[str, Interval]:
    """Return each metric's value and percentile interval over rows (Efron & Tibshirani 1993, chapter 13).

    Resamples on which a metric is undefined are left out. Where resampling biases a metric, as it does the
    calibration error, the bias is taken off the interval (chapter 10).
    """
    y, prediction = _checked(task, y, prediction)
    values = compute_metrics(task, y, prediction)
    resampled: dict[str, list[np.ndarray]] = {name: [] for name in values}
    for weights in _resamples(len(y), seed):
        for name, metric in metrics_of(task).items():
            resampled[name].append(metric.function(y, prediction, weights))
    metrics = metrics_of(task)
    return {name: _interval(metrics[name], values[name], np.concatenate(resampled[name]), level) for name in values}


def paired_bootstrap(
    task: Task,
    metric: str,
    y: np.ndarray,
    first: Sequence[np.ndarray],
    second: Sequence[np.ndarray],
    *,
    seed: int,
    level: float = 0.95,
) -> Interval:
    """Return the difference of a metric, second − first, each the mean over predictions of the same rows (N, …).

    The percentile interval is over resamples of the rows, the same for both (Efron & Tibshirani 1993, chapter 13); it
    holds the spread over rows, not that over the seeds which the predictions may stand for.
    """
    known = metrics_of(task)[metric]
    pairs = [_checked(task, y, prediction) for prediction in (*second, *first)]
    signs = [1 / len(second)] * len(second) + [-1 / len(first)] * len(first)

    def difference(weights: np.ndarray) -> np.ndarray:
        values = [known.function(*pair, weights) for pair in pairs]
        return np.asarray(np.tensordot(signs, values, axes=1))

    value = float(difference(np.ones((1, len(y))))[0])
    resampled = np.concatenate([difference(weights) for weights in _resamples(len(y), seed)])
    low, high = np.nanquantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def _checked(task: Task, y: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both in the type the metrics compute in; shapes that would broadcast wrongly are refused."""
    rows = prediction.shape if task == "regression" else prediction.shape[:1]
    if prediction.ndim != 2 or y.shape != rows or len(y) == 0:
        raise ValueError(f"{task} metrics of y {y.shape} and prediction {prediction.shape}")
    prediction = prediction.astype(np.float64, copy=False)
    return y.astype(np.float64 if task == "regression" else np.int64, copy=False), prediction


def _resamples(n: int, seed: int) -> Iterator[np.ndarray]:
    """Yield row counts of resamples, (R, N) a chunk, in an array that the next chunk overwrites."""
    generator = np.random.default_rng(seed)
    n_resamples = int(np.clip(RESAMPLED_ROWS / n, 100, 1000))
    counts = np.empty((min(max(1, CHUNK_CELLS // n), n_resamples), n))
    for start in range(0, n_resamples, len(counts)):
        chunk = counts[: n_resamples - start]
        for row in chunk:
            row[:] = np.bincount(generator.integers(n, size=n), minlength=n)
        yield chunk


def _interval(metric: Metric, value: float, resampled: np.ndarray, level: float) -> Interval:
    defined = resampled[~np.isnan(resampled)]
    if not len(defined):
        return Interval(value, np.nan, np.nan)
    if metric.biased:
        defined = np.maximum(defined - (defined.mean() - value), 0)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted mean over rows: of (N,) values (R,), of (N, T) values (R, T)."""
    return np.asarray((weights @ values).T / weights.sum(axis=1)).T


def _sums(groups: np.ndarray, weights: np.ndarray, n_groups: int) -> np.ndarray:
    """Return the sum of each row's weights by group (N,), (R, n_groups)."""
    return np.array([np.bincount(groups, row, minlength=n_groups) for row in weights])


def _present_mean(numerator: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return the mean of numerator / count, both (R, C), over the classes whose count is not 0, (R,)."""
    return np.asarray((numerator / np.maximum(count, 1)).sum(axis=1) / (count > 0).sum(axis=1))


def _area(is_positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the share of positive-negative pairs that the score orders rightly, ties counting half, (R,)."""
    order = np.argsort(score)
    positive, negative = order[is_positive[order]], order[~is_positive[order]]
    below = np.searchsorted(score[negative], score[positive], side="left")
    not_above = np.searchsorted(score[negative], score[positive], side="right")
    areas = np.full(len(weights), np.nan)
    cumulative = np.zeros(len(negative) + 1)
    for i, row in enumerate(weights):
        np.cumsum(row[negative], out=cumulative[1:])
        positives = row[positive]
        if pairs := positives.sum() * cumulative[-1]:
            areas[i] = positives @ (cumulative[below] + cumulative[not_above]) / (2 * pairs)
    return areas


def _squares_about_mean(target: np.ndarray, row: np.ndarray) -> float:
    """Return the weighted sum of squared deviations of a target (N,) from its weighted mean."""
    # Measured from a row of the resample, a constant target is exactly 0, which its rounded mean is not.
    deviation = target - target[row.argmax()]
    deviation -= row @ deviation / row.sum()
    return float(row @ deviation**2)


def _median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted median of (N,) values, (R,): the mean of the middle two where the total is even."""
    order = np.argsort(values)
    ordered = values[order]
    medians = np.empty(len(weights))
    for i, row in enumerate(weights):
        cumulative = np.cumsum(row[order])
        middle = (cumulative[-1] + 1) // 2, cumulative[-1] // 2 + 1
        medians[i] = ordered[np.searchsorted(cumulative, middle)].mean()
    return medians
