"""Figures of a training run, drawn from plain arrays."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from unicodedata import east_asian_width

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator

from pipeline.canvas import Box, new_figure
from pipeline.types import Task

BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
PURPLE, SKY, BLACK, YELLOW = "#CC79A7", "#56B4E9", "#000000", "#F0E442"
PALETTE = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK, YELLOW)  # Okabe and Ito's
GREY = "#777777"

WHOLE: Box = (0, 0, 5.2, 3.3)  # the only axes of a figure
UPPER, LOWER = (0, 0.95, 5.2, 2.35), (0, 0, 5.2, 0.8)

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
    figure, [axes] = new_figure("Learning curves", [WHOLE])
    _epochs(axes, history, {"train/loss": "training loss", "val/loss": "validation loss"})
    axes.axvline(best_epoch, color=GREY, linestyle=":", label=f"best epoch: {best_epoch}")
    axes.set_ylabel("loss")
    axes.legend(fontsize=8)
    return figure


def learning_rate(history: Sequence[Mapping[str, float]]) -> Figure:
    """Draw "train/lr" by "epoch"; `history` is one entry an epoch."""
    figure, [axes] = new_figure("Learning rate", [WHOLE])
    _epochs(axes, history, {"train/lr": "learning rate"})
    axes.set_ylabel("learning rate")
    return figure


def lr_range(rates: np.ndarray, losses: np.ndarray, chosen: float) -> Figure:
    """Draw the losses (n,) of a range test by its rates (n,), and the rate that was chosen."""
    figure, [axes] = new_figure("Learning-rate range test", [WHOLE])
    axes.plot(rates, losses, color=BLUE, label="training loss, smoothed")
    axes.axvline(chosen, color=GREY, linestyle=":", label=f"chosen: {chosen:g}")
    axes.set(xlabel="learning rate", ylabel="loss", xscale="log")
    low, high = float(np.nanmin(losses)), float(losses[0])
    axes.set_ylim(low - 0.1 * (high - low), high + 0.5 * (high - low))
    axes.legend(fontsize=8)
    return figure


def confusion_matrix(y: np.ndarray, probabilities: np.ndarray, *, classes: tuple[str, ...]) -> Figure:
    """Draw how often each class, y (N,) codes, was predicted as each by probabilities (N, C)."""
    n = len(classes)
    counts = np.bincount(y * n + probabilities.argmax(axis=1), minlength=n * n).reshape(n, n)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    right = np.trace(counts) / max(len(y), 1)
    figure, [axes] = new_figure(f"Confusion matrix: {right:.1%} of {len(y):,} rows right", [WHOLE])
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    crowded = n > 5
    if n <= MAX_ANNOTATED:
        _annotate(axes, counts, shares, 6 if crowded else 10)
    else:
        bar = figure.colorbar(image, label="share of the true class's rows")
        bar.ax.tick_params(labelsize=8)
    ticks = range(0, n, -(-n // MAX_TICKS))
    _name(axes.yaxis, ticks, [_label(classes[k]) for k in ticks])
    # The rows show the same names in the same order, so the columns may be terse where space is short.
    _name(axes.xaxis, ticks, [_label(classes[k], 12 if crowded else 24 // n + 8) for k in ticks])
    if crowded:
        axes.tick_params(labelsize=7)
        axes.tick_params(axis="x", rotation=90)
    axes.set(xlabel="predicted class", ylabel="true class")
    return figure


def roc_curve(y: np.ndarray, probabilities: np.ndarray, *, classes: tuple[str, ...]) -> Figure:
    """Draw true over false positive rate, one class against the rest; y (N,) codes, probabilities (N, C)."""
    title = "ROC curve" if len(classes) == 2 else "ROC curves, each class against the rest"
    figure, [axes] = new_figure(title, [WHOLE])
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="chance")
    _draw_curves(axes, _one_vs_rest(_roc, y, probabilities), classes, "AUC")
    axes.set(xlabel="false positive rate", ylabel="true positive rate")
    return figure


def precision_recall(y: np.ndarray, probabilities: np.ndarray, *, classes: tuple[str, ...]) -> Figure:
    """Draw precision over recall, one class against the rest; y (N,) codes, probabilities (N, C)."""
    binary = len(classes) == 2
    title = "Precision and recall" + ("" if binary else ", each class against the rest")
    figure, [axes] = new_figure(title, [WHOLE])
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
    figure, [upper, lower] = new_figure(f"Calibration (expected calibration error {error:.3f})", [UPPER, LOWER])
    upper.sharex(lower)
    upper.tick_params(labelbottom=False)
    upper.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="perfect")
    upper.plot(mean, share, color=BLUE, marker="o", markersize=4, label=f"observed, {N_BINS} bins")
    upper.set(ylabel=names[1], xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    upper.legend(fontsize=8, loc="upper left")
    _bars(lower, np.arange(N_BINS) / N_BINS, np.arange(1, N_BINS + 1) / N_BINS, counts)
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
        counts, edges = np.histogram(residual, bins=40)
        _bars(right, edges[:-1], edges[1:], counts, lying=True)
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
    title = "Permutation importance" + (f" ({len(order)} largest, and {more} more)" if more else "")
    figure, [axes] = new_figure(title, [WHOLE])
    rows = np.arange(len(order))
    _bars(axes, rows - 0.4, rows + 0.4, mean[order], lying=True)
    axes.errorbar(mean[order], rows, xerr=std[order], fmt="none", ecolor=BLACK, elinewidth=1)
    axes.axvline(0, color=BLACK, linewidth=0.8)
    _name(axes.yaxis, range(len(order)), [_label(names[k]) for k in order])
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
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), borderaxespad=0, fontsize=8)


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
    for row, column in np.argwhere(counts):
        share = shares[row, column]
        text, color = f"{counts[row, column]}\n{share:.0%}", "white" if share > 0.5 else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=color)
    rows, columns = np.nonzero(counts == 0)  # most cells: one marker for all, since a text each takes long
    glyph = TextPath((0, 0), "0", size=1)
    zero = Path(np.asarray(glyph.vertices) - glyph.get_extents().get_points().mean(axis=0), glyph.codes)
    axes.plot(columns, rows, linestyle="none", marker=zero, markersize=0.73 * size, color="black", markeredgewidth=0)


def _bars(axes: Axes, starts: np.ndarray, ends: np.ndarray, lengths: np.ndarray, *, lying: bool = False) -> None:
    """Draw bars, standing on zero or lying beside it, as one patch: matplotlib's take half a millisecond each."""
    zeros = np.zeros(len(lengths))
    corners = np.stack([starts, zeros, starts, lengths, ends, lengths, ends, zeros, starts, zeros], axis=1)
    corners = corners.reshape(-1, 2)[:, :: -1 if lying else 1]
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * len(lengths)
    patch = PathPatch(Path(corners, codes), facecolor=BLUE, edgecolor="white", linewidth=0.5)
    (patch.sticky_edges.x if lying else patch.sticky_edges.y).append(0)
    axes.add_patch(patch)
    axes.autoscale_view()


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
    more = f" (first {n} of {len(targets)} targets)" if len(targets) > n else ""
    figure, axes = new_figure(title + more, _boxes(n, width_ratios))
    panels = []
    for i, target in enumerate(targets[:n]):
        pair = np.stack([y[:, i], prediction[:, i]]).astype(float)
        actual, predicted = pair[:, np.isfinite(pair).all(axis=0)]
        if n > 1:
            axes[i * k].locator_params(axis="x", nbins=3)  # wide labels would run into each other
        panels.append(_Panel(axes[i * k : (i + 1) * k], _label(target, 24 if n == 1 else 16), actual, predicted))
    return figure, panels


def _boxes(n_panels: int, width_ratios: Sequence[float]) -> list[Box]:
    """Return the boxes of panels, two a row, each with one axes a width ratio."""
    n_rows, n_axes = (n_panels + 1) // 2, len(width_ratios)
    width, height = 5.2 if n_panels == 1 else 2.5, 3.3 if n_rows == 1 else 1.65
    widths = (width - 0.28 * (n_axes - 1)) * np.array(width_ratios) / sum(width_ratios)
    lefts = np.cumsum(widths + 0.28) - widths - 0.28
    corners = [(i % 2 * 3.45, (n_rows - 1 - i // 2) * 2.4) for i in range(n_panels)]
    return [(x + left, y, wide, height) for x, y in corners for left, wide in zip(lefts, widths, strict=True)]


def _name(axis: Axis, places: Sequence[float], names: Sequence[str]) -> None:
    """Have names for ticks; `set_ticks` would make matplotlib's own there and then."""
    axis.set_major_locator(FixedLocator(places))
    axis.set_major_formatter(FixedFormatter(names))


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
