"""The figure of a leaderboard: quality against the time that fitting takes."""

from collections.abc import Mapping, Sequence

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
    for axes, (table, rows) in zip(panels, drawn, strict=True):
        _panel(axes, [row for row in rows if not row.n_failed])
        name = (CLASSIFICATION | REGRESSION)[rows[0].metric].label
        axes.set_ylabel(name if len(drawn) == 1 else f"{table}: {name}")
    return figure


def _panel(axes: Axes, rows: Sequence[Standing]) -> None:
    axes.set_xscale("log")
    axes.set_xlabel("seconds to fit")
    for place, row in enumerate(rows):
        color = (*PALETTE[:7], GREY)[place % 8]
        ends = [[row.value.value - row.value.low], [row.value.high - row.value.value]]
        errors = None if np.isnan(row.value.low) else ends
        axes.errorbar([row.seconds], [row.value.value], yerr=errors, fmt="o", color=color, elinewidth=1)
        at = (row.seconds, row.value.value)
        name = row.entrant.replace("$", r"\$")
        axes.annotate(name, at, textcoords="offset points", xytext=(6, 4), fontsize=8, color=color)
