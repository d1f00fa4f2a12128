"""Figures of a training run, drawn from plain arrays.

pyplot is left out: it keeps every figure alive, and its state is shared between threads.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any, NamedTuple
from unicodedata import east_asian_width

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from pipeline.types import Task

BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
PURPLE, SKY, BLACK, YELLOW = "#CC79A7", "#56B4E9", "#000000", "#F0E442"
PALETTE = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK, YELLOW)  # Okabe and Ito's
GREY = "#777777"

MAX_ANNOTATED = 12  # classes whose confusion matrix has room for numbers
MAX_TICKS = 20
MAX_PANELS = 4
MAX_BARS = 20
MAX_POINTS = 20_000
CROWDED = 2_000  # points from which on single ones are drawn faintly
N_BINS = 10


class _Curve(NamedTuple):
    """A ROC or precision-recall curve: x and y (K,) over falling thresholds, and its AUC or AP."""

    x: np.ndarray
    y: np.ndarray
    area: float
    steps: bool = False  # y[i] holds for all of (x[i-1], x[i]], rather than straight lines between the points

    def at(self, x: np.ndarray) -> np.ndarray:
        """Return the curve's height at each x."""
        return self.y[np.searchsorted(self.x, x)] if self.steps else np.interp(x, self.x, self.y)


class _Panel(NamedTuple):
    """One target's part of a figure, and the rows (M,) whose actual and predicted values are numbers."""

    axes: list[Axes]
    name: str
    actual: np.ndarray
    predicted: np.ndarray


def to_png(figure: Figure) -> bytes:
    """Return the figure as a PNG file, compressed lightly since speed matters more than size."""
    buffer = BytesIO()
    with warnings.catch_warnings():
        # Labels are data: that the font lacks a letter is no fault of the run.
        warnings.filterwarnings("ignore", "Glyph")
        FigureCanvasAgg(figure).print_png(buffer, pil_kwargs={"compress_level": 1})  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def run_figures(
    task: Task,
    y: np.ndarray,
    prediction: np.ndarray,
    *,
    classes: tuple[str, ...],
    targets: tuple[str, ...],
    history: Sequence[Mapping[str, float]],
    best_epoch: int,
) -> dict[str, Figure]:
    """Return the figures of a run by file stem.

    For classification y is (N,) codes and `prediction` (N, C) probabilities, for regression both are (N, T).
    """
    figures = {}
    if history:
        figures["learning_curves"] = learning_curves(history, best_epoch=best_epoch)
        figures["learning_rate"] = learning_rate(history)
    if task == "regression":
        return figures | {
            "predicted_vs_actual": predicted_vs_actual(y, prediction, targets=targets),
            "residuals": residuals(y, prediction, targets=targets),
            "error_quantiles": error_quantiles(y, prediction, targets=targets),
        }
    return figures | {
        "confusion_matrix": confusion_matrix(y, prediction, classes=classes),
        "roc": roc_curve(y, prediction, classes=classes),
        "precision_recall": precision_recall(y, prediction, classes=classes),
        "calibration": calibration(y, prediction),
    }


def learning_curves(history: Sequence[Mapping[str, float]], *, best_epoch: int) -> Figure:
    """Draw "train/loss" and "val/loss" by "epoch", the best marked; `history` is one entry an epoch."""
    figure, [axes] = _figure("Learning curves")
    _epochs(axes, history, {"train/loss": "training loss", "val/loss": "validation loss"})
    axes.axvline(best_epoch, color=GREY, linestyle=":", label=f"best epoch: {best_epoch}")
    axes.set_ylabel("loss")
    axes.legend(fontsize=8)
    return figure


def learning_rate(history: Sequence[Mapping[str, float]]) -> Figure:
    """Draw "train/lr" by "epoch"; `history` is one entry an epoch."""
    figure, [axes] = _figure("Learning rate")
    _epochs(axes, history, {"train/lr": "learning rate"})
    axes.set_ylabel("learning rate")
    return figure


def confusion_matrix(y: np.ndarray, probabilities: np.ndarray, *, classes: tuple[str, ...]) -> Figure:
    """Draw how often each class, y (N,) codes, was predicted as each by probabilities (N, C)."""
    n = len(classes)
    counts = np.bincount(y * n + probabilities.argmax(axis=1), minlength=n * n).reshape(n, n)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    right = np.trace(counts) / max(len(y), 1)
    figure, [axes] = _figure(f"Confusion matrix: {right:.1%} of {len(y):,} rows right")
    axes.grid(False)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    crowded = n > 5
    if n <= MAX_ANNOTATED:
        _annotate(axes, counts, shares, 6 if crowded else 10)
    else:
        bar = figure.colorbar(image, label="share of the true class's rows")
        bar.ax.tick_params(labelsize=8)
    ticks = range(0, n, -(-n // MAX_TICKS))
    axes.set_yticks(ticks, [_label(classes[k]) for k in ticks])
    # The rows show the same names in the same order, so the columns may be terse where space is short.
    axes.set_xticks(ticks, [_label(classes[k], 12 if crowded else 24 // n + 8) for k in ticks])
    if crowded:
        axes.tick_params(labelsize=7)
        axes.tick_params(axis="x", rotation=90)
    axes.set(xlabel="predicted class", ylabel="true class")
    return figure


def roc_curve(y: np.ndarray, probabilities: np.ndarray, *, classes: tuple[str, ...]) -> Figure:
    """Draw true over false positive rate, one class against the rest; y (N,) codes, probabilities (N, C)."""
    figure, [axes] = _figure("ROC curve" if len(classes) == 2 else "ROC curves, each class against the rest")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="chance")
    _draw_curves(axes, _one_vs_rest(_roc, y, probabilities), classes, "AUC")
    axes.set(xlabel="false positive rate", ylabel="true positive rate")
    return figure


def precision_recall(y: np.ndarray, probabilities: np.ndarray, *, classes: tuple[str, ...]) -> Figure:
    """Draw precision over recall, one class against the rest; y (N,) codes, probabilities (N, C)."""
    binary = len(classes) == 2
    figure, [axes] = _figure("Precision and recall" + ("" if binary else ", each class against the rest"))
    if binary:
        rate = np.mean(y == 1)
        axes.axhline(rate, color=GREY, linestyle=":", label=f"base rate {rate:.3f}")
    _draw_curves(axes, _one_vs_rest(_precision_recall, y, probabilities), classes, "AP")
    axes.set(xlabel="recall", ylabel="precision")
    return figure


def calibration(y: np.ndarray, probabilities: np.ndarray) -> Figure:
    """Draw observed shares against predicted confidence in bins; y (N,) codes, probabilities (N, C).

    The confidence is that in class 1 where there are two classes, else that in the predicted class.
    """
    if probabilities.shape[1] == 2:
        confidence, hit = probabilities[:, 1], y == 1
        names = "predicted probability of class 1", "observed share of class 1"
    else:
        confidence, hit = probabilities.max(axis=1), probabilities.argmax(axis=1) == y
        names = "confidence in the predicted class", "share predicted right"
    counts, mean, share = _reliability(confidence, hit)
    error = np.average(np.abs(mean - share), weights=counts[counts > 0])
    figure, [upper, lower] = _figure(
        f"Calibration (expected calibration error {error:.3f})", 2, sharex=True, height_ratios=[3, 1]
    )
    upper.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="perfect")
    upper.plot(mean, share, color=BLUE, marker="o", markersize=4, label=f"observed, {N_BINS} bins")
    upper.set(ylabel=names[1], xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    upper.legend(fontsize=8, loc="upper left")
    lower.bar(np.arange(N_BINS) / N_BINS, counts, width=1 / N_BINS, align="edge", color=BLUE, edgecolor="white")
    lower.set(xlabel=names[0], ylabel="rows")
    return figure


def predicted_vs_actual(y: np.ndarray, prediction: np.ndarray, *, targets: tuple[str, ...]) -> Figure:
    """Draw predicted against actual values, a panel each for the first targets; y and prediction (N, T)."""
    figure, panels = _panels("Predicted against actual", y, prediction, targets)
    for [axes], name, actual, predicted in panels:
        _scatter(axes, actual, predicted)
        ends = np.array([axes.get_xlim(), axes.get_ylim()])
        limits = ends.min(), ends.max()
        axes.plot(limits, limits, color=BLACK, linestyle=":", label="predicted = actual")
        axes.set(xlim=limits, ylim=limits, xlabel=f"actual {name}", ylabel="predicted")
    panels[0].axes[0].legend(fontsize=8, loc="upper left")
    return figure


def residuals(y: np.ndarray, prediction: np.ndarray, *, targets: tuple[str, ...]) -> Figure:
    """Draw predicted − actual against predicted, and its histogram; y and prediction (N, T)."""
    figure, panels = _panels("Residuals: predicted − actual", y, prediction, targets, (3, 1))
    for [left, right], name, actual, predicted in panels:
        residual = predicted - actual
        _scatter(left, predicted, residual)
        right.hist(residual, bins=40, orientation="horizontal", color=BLUE)
        right.sharey(left)
        right.tick_params(labelleft=False)
        for axes in (left, right):
            axes.axhline(0, color=BLACK, linestyle=":")
        left.set(xlabel=f"predicted {name}", ylabel="residual")
        right.set(xlabel="rows")
        right.locator_params(axis="x", nbins=2)
    return figure


def error_quantiles(y: np.ndarray, prediction: np.ndarray, *, targets: tuple[str, ...]) -> Figure:
    """Draw the absolute error that a share of the rows stays below; y and prediction (N, T)."""
    figure, panels = _panels("Absolute error by share of rows", y, prediction, targets)
    percent = np.linspace(0, 100, 201)
    for [axes], name, actual, predicted in panels:
        error = np.abs(predicted - actual) if len(actual) else np.array([np.nan])
        axes.plot(percent, np.percentile(error, percent), color=BLUE)
        for at, color, marker in ((50, GREEN, "o"), (90, ORANGE, "s"), (95, VERMILLION, "^")):
            value = np.percentile(error, at)
            label = f"{'median' if at == 50 else f'{at}%'}: {value:.3g}"
            axes.plot([at], [value], color=color, marker=marker, linestyle="none", label=label)
        axes.set(xlabel="share of rows (%)", ylabel=f"|error| of {name}", xlim=(0, 100))
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=8, loc="upper left")
    return figure


def importance(names: Sequence[str], mean: np.ndarray, std: np.ndarray, *, loss_label: str) -> Figure:
    """Draw by how much shuffling each of the F columns raises the loss; mean and std (F,)."""
    order = np.argsort(-mean, kind="stable")[:MAX_BARS]
    more = len(names) - len(order)
    figure, [axes] = _figure("Permutation importance" + (f" ({len(order)} largest, and {more} more)" if more else ""))
    rows = np.arange(len(order))
    axes.barh(rows, mean[order], xerr=std[order], color=BLUE, error_kw={"ecolor": BLACK, "elinewidth": 1})
    axes.axvline(0, color=BLACK, linewidth=0.8)
    axes.set_yticks(rows, [_label(names[k]) for k in order])
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.set_xlabel(f"increase of the {loss_label} when the column is shuffled")
    return figure


def _roc(positive: np.ndarray, score: np.ndarray) -> _Curve:
    """Return the ROC curve of scores (N,) for labels (N,) bool of both kinds, starting at (0, 0)."""
    true, false = _counts_above(positive, score)
    x, y = false / false[-1], true / true[-1]
    return _Curve(x, y, float(np.trapezoid(y, x)))


def _precision_recall(positive: np.ndarray, score: np.ndarray) -> _Curve:
    """Return precision over recall of scores (N,) for labels (N,) bool of both kinds, starting at (0, 1)."""
    true, false = _counts_above(positive, score)
    recall = true / true[-1]
    precision = np.append(1, true[1:] / (true[1:] + false[1:]))
    return _Curve(recall, precision, float(np.sum(np.diff(recall) * precision[1:])), steps=True)


def _counts_above(positive: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the true and false positives at each distinct threshold, highest first, after a leading zero."""
    order = np.argsort(-score)
    last_of_ties = np.flatnonzero(np.append(np.diff(score[order]), 1))
    true = np.cumsum(positive[order])[last_of_ties]
    return np.append(0, true), np.append(0, last_of_ties + 1 - true)


def _one_vs_rest(
    curve: Callable[[np.ndarray, np.ndarray], _Curve], y: np.ndarray, probabilities: np.ndarray
) -> dict[int, _Curve]:
    """Return the curve of each class with rows both in it and out of it; of two classes, that of class 1."""
    n = probabilities.shape[1]
    size = np.bincount(y, minlength=n)
    drawable = [k for k in (range(n) if n > 2 else [1]) if 0 < size[k] < len(y)]
    return {k: curve(y == k, probabilities[:, k]) for k in drawable}


def _draw_curves(axes: Axes, curves: Mapping[int, _Curve], classes: Sequence[str], measure: str) -> None:
    """Draw each curve, or their mean where they are too many to tell apart, and a legend beside the axes."""
    named = [(_label(classes[k]), curve) for k, curve in curves.items()]
    if len(named) > len(PALETTE):
        named = [(f"mean of {len(named)} classes", _average(list(curves.values())))]
    for color, (name, curve) in zip(PALETTE, named, strict=False):
        label = f"{measure} {curve.area:.3f}: {name}"
        axes.plot(curve.x, curve.y, color=color, drawstyle="steps-pre" if curve.steps else "default", label=label)
    if not named:
        axes.plot([], [], linestyle="none", label="no curve: all rows\nare of one class")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.figure.legend(loc="outside right center", fontsize=8)


def _average(curves: Sequence[_Curve]) -> _Curve:
    x = np.linspace(0, 1, 201)
    y = np.mean([curve.at(x) for curve in curves], axis=0)
    return _Curve(x, y, float(np.mean([curve.area for curve in curves])), curves[0].steps)


def _epochs(axes: Axes, history: Sequence[Mapping[str, float]], labels: Mapping[str, str]) -> None:
    """Draw the named values of `history` against the epoch; what is not finite is left out as a gap."""
    epochs = [entry["epoch"] for entry in history]
    marker = "o" if len(history) <= 30 else None  # without it a single epoch would be invisible
    values = np.array([[entry.get(key, np.nan) for entry in history] for key in labels], dtype=float)
    values[~np.isfinite(values)] = np.nan
    for series, color, label in zip(values, PALETTE, labels.values(), strict=False):
        axes.plot(epochs, series, color=color, marker=marker, markersize=3, label=label)
    finite = values[~np.isnan(values)]
    if finite.size and 0 < 50 * finite.min() < finite.max():
        axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _reliability(confidence: np.ndarray, hit: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows in each of N_BINS bins, and mean confidence and share of hits of those not empty."""
    bins = np.digitize(confidence, np.arange(1, N_BINS) / N_BINS)
    counts, sums, hits = (np.bincount(bins, weights, N_BINS) for weights in (None, confidence, hit))
    used = counts > 0
    return counts, sums[used] / counts[used], hits[used] / counts[used]


def _annotate(axes: Axes, counts: np.ndarray, shares: np.ndarray, size: int) -> None:
    """Write count and row share into each cell of a confusion matrix."""
    for (row, column), count in np.ndenumerate(counts):
        share = shares[row, column]
        text = axes.text(
            column,
            row,
            f"{count}\n{share:.0%}" if count else "0",
            ha="center",
            va="center",
            fontsize=size,
            color="white" if share > 0.5 else "black",
        )
        text.set_in_layout(False)  # it lies inside the axes anyway, and measuring it takes time


def _scatter(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Draw points, at most MAX_POINTS of them, always the same ones."""
    rows = np.arange(len(x))
    if len(x) > MAX_POINTS:
        rows = np.random.default_rng(0).choice(len(x), MAX_POINTS, replace=False)
    size, alpha = (2, 0.15) if len(x) > CROWDED else (3, 0.6)
    # One Line2D stamps its marker N times, much faster than a collection of N paths.
    axes.plot(x[rows], y[rows], "o", color=BLUE, markersize=size, markeredgewidth=0, alpha=alpha)


def _panels(
    title: str,
    y: np.ndarray,
    prediction: np.ndarray,
    targets: Sequence[str],
    width_ratios: Sequence[float] = (1,),
) -> tuple[Figure, list[_Panel]]:
    """Return a figure with a panel for each of the first targets, of one axes a width ratio."""
    n, k = min(len(targets), MAX_PANELS), len(width_ratios)
    rows, columns = (n + 1) // 2, min(n, 2)
    more = f" (first {n} of {len(targets)} targets)" if len(targets) > n else ""
    figure, axes = _figure(
        title + more,
        rows,
        columns * k,
        height=4.2 if rows == 1 else 5.2,
        width_ratios=[*width_ratios] * columns,
    )
    for surplus in axes[n * k :]:
        surplus.remove()
    panels = []
    for i, target in enumerate(targets[:n]):
        pair = np.stack([y[:, i], prediction[:, i]]).astype(float)
        actual, predicted = pair[:, np.isfinite(pair).all(axis=0)]
        panels.append(_Panel(axes[i * k : (i + 1) * k], _label(target, 24 if n == 1 else 16), actual, predicted))
    return figure, panels


def _figure(
    title: str, rows: int = 1, columns: int = 1, *, height: float = 4.2, **subplots: Any
) -> tuple[Figure, list[Axes]]:
    """Return a titled figure of the common look, and its axes row by row."""
    figure = Figure(
        figsize=(6.4, height),
        dpi=100,
        layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08),
    )
    figure.suptitle(title, fontsize=11)
    axes = list(figure.subplots(rows, columns, squeeze=False, **subplots).flat)
    label_size = 10 if len(axes) <= 2 else 8
    for one in axes:
        one.tick_params(labelsize=8)
        one.xaxis.label.set_size(label_size)
        one.yaxis.label.set_size(label_size)
        one.grid(color="#dddddd", linewidth=0.6)
        one.set_axisbelow(True)
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _label(text: str, width: int = 24) -> str:
    """Return a name from the data as one short line in which $ is no mathematics.

    What is too much goes from the middle: long names often differ in their last letters alone.
    """
    line = " ".join(text.split())
    if any(east_asian_width(character) in "WF" for character in line):
        width //= 2
    if len(line) > width:
        line = f"{line[: width - 1 - width // 3]}…{line[-(width // 3) :]}"
    return line.replace("$", r"\$")
