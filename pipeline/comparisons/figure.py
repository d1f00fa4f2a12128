"""The figure of a comparison: each case's curves, mean and range over seeds."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.canvas import Box, new_figure
from pipeline.comparisons.child import Child
from pipeline.metrics import CLASSIFICATION, REGRESSION
from pipeline.report import GREY, PALETTE
from pipeline.types import Task

COLORS = (*PALETTE[:7], GREY)  # yellow is too faint for a thin line
STYLES = ("-", "--", "-.", ":")  # curves that coincide are seen as two
MOST = len(STYLES) * len(COLORS)  # cases that can be told apart
LONGEST = 34  # characters of a label
BOXES: dict[int, list[Box]] = {
    1: [(0, 0, 5.2, 3.3)],
    2: [(0, 0, 3.1, 3.0), (3.95, 0, 3.1, 3.0)],
    3: [(0, 2.1, 3.1, 1.5), (3.95, 2.1, 3.1, 1.5), (0, 0, 3.1, 1.5)],
    4: [(0, 2.1, 3.1, 1.5), (3.95, 2.1, 3.1, 1.5), (0, 0, 3.1, 1.5), (3.95, 0, 3.1, 1.5)],
}
LOG_RATIO = 30  # largest to smallest value from which a logarithmic axis shows more
WORDS = {"train": "training", "val": "validation"}


def curves_figure(title: str, task: Task, cases: Mapping[str, Sequence[Child]], curves: Sequence[str]) -> Figure:
    """Draw each of one to four `curves` by epoch: a line for the mean of a case's seeds, a band for their range.

    Seeds that diverged are left out. A case's line ends where the first of its seeds stopped. Of more than MOST cases
    the first are drawn. The axis is made for what follows the first tenth of the epochs, which may go beyond it.
    """
    sound = {label: [child for child in children if not child.error] for label, children in cases.items()}
    drawn = dict([(label, children) for label, children in sound.items() if children][:MOST])
    n_seeds = max(map(len, drawn.values()))
    more = f", {MOST} of {len(cases)} cases" if len(cases) > MOST else ""
    over = f"mean and range over {n_seeds} seeds" if n_seeds > 1 else "one seed"
    figure, panels = new_figure(f"{title}: {over}{more}", BOXES[len(curves)])
    for axes, name in zip(panels, curves, strict=True):
        _panel(axes, name, drawn)
        axes.set_ylabel(axis_label(name, task))
    handles, labels = panels[0].get_legend_handles_labels()
    last = panels[min(len(panels), 2) - 1]  # the upper right one
    names = [_fit(label) for label in labels]
    last.legend(handles, names, loc="upper left", bbox_to_anchor=(1.02, 1), borderaxespad=0, fontsize=8)
    return figure


def axis_label(name: str, task: Task) -> str:
    """What a metric is called on an axis, with its unit."""
    part, _, metric = name.partition("/")
    if metric == "lr":
        return "learning rate"
    known = (CLASSIFICATION | REGRESSION).get(metric)
    unit = ""
    if metric in ("loss", "log_loss") and task != "regression":
        unit = " (nats)"
    elif metric in ("rmse", "mae", "median_absolute_error"):
        unit = " (the target's unit)"
    elif metric in ("accuracy", "balanced_accuracy"):
        unit = " (share)"
    spoken = known.label if known else metric
    return f"{WORDS[part]} {spoken if spoken[:2].isupper() else spoken[0].lower() + spoken[1:]}{unit}"


def _panel(axes: Axes, name: str, cases: Mapping[str, Sequence[Child]]) -> None:
    seen = []
    for place, (label, children) in enumerate(cases.items()):
        values = _values(name, children)
        color, style = COLORS[place % len(COLORS)], STYLES[(place + place // len(COLORS)) % len(STYLES)]
        epochs = np.arange(1, values.shape[1] + 1)
        marker = "o" if len(epochs) == 1 else None  # without it a single epoch would be invisible
        axes.plot(epochs, values.mean(axis=0), color=color, linestyle=style, linewidth=1.4, marker=marker, label=label)
        if len(values) > 1:
            axes.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=color, alpha=0.15, linewidth=0)
        seen.append(values[:, values.shape[1] // 10 :])
    low, high = min(map(np.min, seen)), max(map(np.max, seen))
    if 0 < LOG_RATIO * low < high:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.2, high * 1.2)
    elif high > low:
        axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))


def _values(name: str, children: Sequence[Child]) -> np.ndarray:
    """A metric of each seed by epoch, (n_seeds, n_epochs)."""
    rows = [child.curve(name) for child in children]
    n_epochs = min(len(row) for row in rows)
    return np.array([row[:n_epochs] for row in rows])


def _fit(label: str) -> str:
    line = label.replace("$", r"\$")
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
