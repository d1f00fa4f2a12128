"""The figure of a leaderboard: quality against the time that fitting takes."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.canvas import Box, new_figure
from pipeline.leaderboards.ranking import Standing
from pipeline.metrics import CLASSIFICATION, REGRESSION
from pipeline.report import GREY, PALETTE

BOXES: list[Box] = [(0, 2.1, 3.1, 1.5), (3.95, 2.1, 3.1, 1.5), (0, 0, 3.1, 1.5), (3.95, 0, 3.1, 1.5)]
SINGLE: list[Box] = [(0, 0, 6.2, 3.4)]


def time_figure(title: str, tables: Mapping[str, Sequence[Standing]]) -> Figure:
    """Draw each entrant as a point with its interval, names beside; of more than four tables the first four."""
    drawn = list(tables.items())[: len(BOXES)]
    more = f", {len(drawn)} of {len(tables)} tables" if len(tables) > len(drawn) else ""
    figure, panels = new_figure(f"{title}: quality and time{more}", SINGLE if len(drawn) == 1 else BOXES[: len(drawn)])
    colors = dict(zip((row.entrant for row in drawn[0][1]), cycle((*PALETTE[:7], GREY)), strict=False))
    for axes, (table, rows) in zip(panels, drawn, strict=True):
        _panel(axes, [row for row in rows if not row.n_failed], colors)
        name = (CLASSIFICATION | REGRESSION)[rows[0].metric].label
        axes.set_ylabel(name if len(drawn) == 1 else f"{table}: {name}")
    return figure


def _panel(axes: Axes, rows: Sequence[Standing], colors: Mapping[str, str]) -> None:
    axes.set_xscale("log")
    axes.set_xlabel("seconds to fit")
    axes.margins(x=0.15)
    for place, row in enumerate(sorted(rows, key=lambda row: row.seconds)):
        color, above = colors[row.entrant], 4 if place % 2 else -11  # in turn, so that neighbours keep apart
        ends = [[row.value.value - row.value.low], [row.value.high - row.value.value]]
        errors = None if np.isnan(row.value.low) else ends
        axes.errorbar([row.seconds], [row.value.value], yerr=errors, fmt="o", color=color, elinewidth=1)
        at = (row.seconds, row.value.value)
        name = row.entrant.replace("$", r"\$")
        axes.annotate(name, at, textcoords="offset points", xytext=(6, above), fontsize=8, color=color)
