"""The figure of a run's health: what was measured, layer by layer and epoch by epoch."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from pipeline.canvas import Box, new_figure
from pipeline.doctor.measuring import Measure

MAX_TICKS, MAX_ROWS = 9, 10


class Map(NamedTuple):
    """A heat map: the quantity of a layer, its title, and whether its colours go by the logarithm."""

    quantity: str
    title: str
    by_log: bool


MAPS = (
    Map("gradient", "gradient, root mean square", by_log=True),
    Map("update", "change of a step / size of the weights", by_log=True),
    Map("std", "spread of the activations over rows", by_log=True),
    Map("dead", "share of dead ReLU units", by_log=False),
    Map("saturated", "share of saturated values", by_log=False),
)
BOXES: tuple[Box, ...] = tuple((column * 4.0, row * 2.3, 2.5, 1.5) for row in (1, 0) for column in (0, 1))


def health(measures: Sequence[Measure]) -> Figure:
    """Heat maps, layers by measured epochs, of the quantities that the network has."""
    known = [(one, *_known(measures, one.quantity)) for one in MAPS]
    maps = [found for found in known if found[1].size][: len(BOXES)]
    figure, every = new_figure("Health of the layers", BOXES[: len(maps)])
    for axes, (one, values, names, epochs) in zip(every, maps, strict=True):
        norm = _norm(values, one)
        image = axes.imshow(np.ma.masked_invalid(values), aspect="auto", cmap="cividis", norm=norm)
        ends = [norm.vmin, norm.vmax]
        bar = figure.colorbar(image, ax=axes, pad=0.03, ticks=ends)
        bar.ax.minorticks_off()
        bar.ax.set_yticklabels([f"{end:.1g}" for end in ends], fontsize=8)
        axes.set_title(one.title, fontsize=9)
        ticks = range(0, len(epochs), -(-len(epochs) // MAX_TICKS))
        axes.set_xticks(list(ticks), [str(epochs[tick]) for tick in ticks], fontsize=8)
        rows = range(0, len(names), -(-len(names) // MAX_ROWS))
        axes.set_yticks(list(rows), [names[row] for row in rows], fontsize=8)
        axes.set_xlabel("epoch, 0: before the first step" if 0 in epochs else "epoch", fontsize=8)
        axes.grid(visible=False)
    return figure


def _known(measures: Sequence[Measure], quantity: str) -> tuple[np.ndarray, list[str], list[int]]:
    """The values (layers, epochs) of those layers and epochs that have any, and their names."""
    values = np.array([[getattr(layer, quantity) for layer in measure.layers] for measure in measures]).T
    rows, columns = (np.flatnonzero(np.isfinite(values).any(axis=axis)) for axis in (1, 0))
    names = [measures[0].layers[row].name for row in rows]
    return values[np.ix_(rows, columns)], names, [measures[int(column)].epoch for column in columns]


def _norm(values: np.ndarray, one: Map) -> Normalize:
    positive = values[np.isfinite(values) & (values > 0)]
    if not one.by_log or not len(positive):
        return Normalize(0, 1)
    return LogNorm(positive.min(), max(positive.max(), positive.min() * 1.01))
