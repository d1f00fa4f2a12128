"""Lines over epochs as SVG within a page: it takes the page's colours, light or dark, and a few kilobytes."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pipeline.pages.document import Html, joined, tag

Points = Sequence[tuple[float, float]]  # x and y

WIDTH, HEIGHT = 450, 280
LEFT, RIGHT, TOP, BOTTOM = 74, 12, 34, 46  # margins
MAX_POINTS = 400  # of a line; more cannot be told apart
LOG_FROM = 50  # ratio of the largest to the smallest value from which the axis is logarithmic
N_TICKS = 5
GLYPH = 7.2  # mean width of a character


class Axis(NamedTuple):
    """From values to pixels: `low` is drawn at `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """The pixel of a value."""
        low, high, value = (math.log10(x) if self.log else x for x in (self.low, self.high, value))
        return round(self.start + (value - low) / (high - low) * (self.end - self.start), 1)


def line_chart(title: str, lines: Mapping[str, Points], *, y_label: str, best: float | None = None) -> Html:
    """Draw at most two lines by name over the epoch, and where the best one is; what is not finite is a gap.

    Empty where there is nothing to draw.
    """
    values = [y for points in lines.values() for _, y in points if math.isfinite(y)]
    if not values:
        return Html("")
    epochs = [x for points in lines.values() for x, _ in points]
    x = Axis(min(epochs), max(*epochs, min(epochs) + 1), LEFT, WIDTH - RIGHT)
    y = _vertical(values)
    parts = [*_grid(x, y), *_axes(y_label)]
    if best is not None:
        parts.append(tag("line", class_="best", x1=x.at(best), x2=x.at(best), y1=TOP, y2=HEIGHT - BOTTOM))
    for place, points in enumerate(lines.values()):
        parts += _line(points, x, y, f"s{place}")
    names = [*lines, *([f"best epoch: {best:.0f}"] if best is not None else [])]
    drawing = tag(
        "svg", *parts, *_legend(names, len(lines)), class_="chart", viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img",
        aria_label=f"{title}: {', '.join(names)}, over the epoch",
    )  # fmt: skip
    return tag("figure", drawing, tag("figcaption", title))


def _vertical(values: Sequence[float]) -> Axis:
    """The axis of the values: logarithmic where they are positive and span orders of magnitude."""
    low, high = min(values), max(values)
    if 0 < LOG_FROM * low < high:
        return Axis(low / 1.1, high * 1.1, HEIGHT - BOTTOM, TOP, log=True)
    room = (high - low or abs(high) or 1) * 0.05
    from_zero = 0 <= low <= high / 2 or low == high > 0
    return Axis(0 if from_zero else low - room, high + room, HEIGHT - BOTTOM, TOP)


def ticks(axis: Axis, *, whole: bool = False) -> list[float]:
    """Round numbers within an axis, about N_TICKS of them: 1, 2 or 5 times a power of ten."""
    if axis.log:
        powers = range(math.floor(math.log10(axis.low)), math.ceil(math.log10(axis.high)) + 1)
        digits = (1, 2, 5) if axis.high < 100 * axis.low else (1,)
        every = [digit * 10.0**power for power in powers for digit in digits]
        inside = [tick for tick in every if axis.low <= tick <= axis.high]
        return inside[:: math.ceil(len(inside) / (N_TICKS + 2)) or 1]
    rough = (axis.high - axis.low) / N_TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(digit * power for digit in (1, 2, 5, 10) if digit * power >= rough * 0.99)
    step = max(1, round(step)) if whole else step
    first, last = math.ceil(axis.low / step - 1e-9), math.floor(axis.high / step + 1e-9)
    return [step * k for k in range(first, last + 1)]


def _grid(x: Axis, y: Axis) -> Iterator[Html]:
    for tick in ticks(y):
        yield tag("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=y.at(tick), y2=y.at(tick))
        yield tag("text", _number(tick), x=LEFT - 8, y=y.at(tick) + 4, text_anchor="end")
    for tick in ticks(x, whole=True):
        yield tag("line", class_="axis", x1=x.at(tick), x2=x.at(tick), y1=HEIGHT - BOTTOM, y2=HEIGHT - BOTTOM + 4)
        yield tag("text", _number(tick), x=x.at(tick), y=HEIGHT - BOTTOM + 19, text_anchor="middle")


def _number(tick: float) -> str:
    """A tick's number in at most six characters, or nearly so."""
    text = f"{tick:.6g}"
    return text if len(text) <= 6 else f"{tick:.0e}".replace("e-0", "e-").replace("e+0", "e")


def _axes(y_label: str) -> Iterator[Html]:
    yield tag("line", class_="axis", x1=LEFT, x2=WIDTH - RIGHT, y1=HEIGHT - BOTTOM, y2=HEIGHT - BOTTOM)
    middle = (TOP + HEIGHT - BOTTOM) / 2
    yield tag("text", "epoch", x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 8, text_anchor="middle")
    yield tag("text", y_label, x=13, y=middle, text_anchor="middle", transform=f"rotate(-90 13 {middle})")


def _line(points: Points, x: Axis, y: Axis, series: str) -> Iterator[Html]:
    """A line, broken where a value is not finite; a point alone is a dot."""
    every = math.ceil(len(points) / MAX_POINTS)
    thinned = [*points[::every], *points[-1:]] if every > 1 else [*points]
    pieces: list[list[str]] = [[]]
    for epoch, value in thinned:
        if math.isfinite(value):
            pieces[-1].append(f"{x.at(epoch)},{y.at(value)}")
        elif pieces[-1]:
            pieces.append([])
    for piece in filter(None, pieces):
        if len(piece) == 1:
            cx, cy = piece[0].split(",")
            yield tag("circle", class_=f"dot {series}", cx=cx, cy=cy, r=3)
        else:
            yield tag("polyline", class_=f"line {series}", points=" ".join(piece))


def _legend(names: Sequence[str], n_lines: int) -> list[Html]:
    """Names above the plot, each after a piece of its line."""
    parts, at = [], float(LEFT)
    for place, name in enumerate(names):
        style = f"line s{place}" if place < n_lines else "best"
        stroke = tag("line", class_=style, x1=at, x2=at + 24, y1=14, y2=14)
        parts.append(joined([stroke, tag("text", name, x=at + 30, y=18)]))
        at += 30 + GLYPH * len(name) + 16
    return parts
