"""Matplotlib figures drawn in a fraction of the usual time: few artists, text by Pillow, no layout to solve.

pyplot is left out: it keeps every figure alive, and its state is shared between threads.
"""

from collections.abc import Sequence
from functools import cache, lru_cache
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.backend_bases import GraphicsContextBase, RendererBase
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.cbook import is_math_text
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.path import Path
from matplotlib.transforms import Bbox, IdentityTransform
from PIL import Image, ImageDraw, ImageFont

Box = tuple[float, float, float, float]  # left, bottom, width and height of an axes in inches

DPI = 100
POINT = DPI / 72  # pixels
CANVAS = (13.0, 7.0)  # inches: room for the longest labels and legends on any side; what stays white is cut away
ORIGIN = (3.6, 2.0)  # inches: where boxes are counted from
PADDING = 8  # white pixels left around what was drawn
TICK, MINOR_TICK, GAP = 3.5 * POINT, 2 * POINT, 3.5 * POINT  # ticks, and between them, their labels and the axis's
DIGIT = 0.73  # height of a digit, of the font's size


def new_figure(title: str, boxes: Sequence[Box]) -> tuple[Figure, list[Axes]]:
    """Return a titled figure of the common look, and an axes for each box."""
    figure = Figure(figsize=CANVAS, dpi=DPI)
    label_size = 10 if len(boxes) <= 2 else 8
    axes = [figure.add_axes(_Plot(figure, box, label_size)) for box in boxes]
    left, right = min(x for x, _, _, _ in boxes), max(x + width for x, _, width, _ in boxes)
    top = max(y + height for _, y, _, height in boxes) + 0.18  # below it an axis's factor, such as 1e6, has room
    x, y = (ORIGIN[0] + (left + right) / 2) / CANVAS[0], (ORIGIN[1] + top) / CANVAS[1]
    figure.suptitle(title, fontsize=11, x=x, y=y, verticalalignment="bottom")
    return figure, axes


def to_png(figure: Figure) -> bytes:
    """Return what stands on the figure as a PNG file, compressed lightly since speed matters more than size."""
    renderer = _Renderer(CANVAS[0] * DPI, CANVAS[1] * DPI, DPI)  # type: ignore[no-untyped-call]
    figure.draw(renderer)
    pixels = np.asarray(renderer.buffer_rgba())  # type: ignore[no-untyped-call]
    drawn = pixels.view(np.uint32)[..., 0] != 0xFFFFFFFF
    ends = [np.flatnonzero(drawn.any(axis=axis))[[0, -1]] for axis in (1, 0)]
    window = tuple(slice(max(first - PADDING, 0), last + 1 + PADDING) for first, last in ends)
    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels[window][..., :3])).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


class _Plot(Axes):
    """Axes that draw ticks, grid and labels themselves, in few strokes; matplotlib takes five artists a tick.

    All is set and read as of any axes.
    """

    def __init__(self, figure: Figure, box: Box, label_size: float) -> None:
        x, y, width, height = box
        corner = (ORIGIN[0] + x) / CANVAS[0], (ORIGIN[1] + y) / CANVAS[1]
        super().__init__(figure, (*corner, width / CANVAS[0], height / CANVAS[1]))
        self.tick_params(labelsize=8)
        for axis in (self.xaxis, self.yaxis):
            axis.label.set_fontsize(label_size)
        self.grid(True)
        for part in (self.xaxis, self.yaxis, self.patch, *self.spines.values()):
            part.set_visible(False)

    def draw(self, renderer: RendererBase) -> None:
        for axis in (self.xaxis, self.yaxis):
            _draw_axis(renderer, axis, self.bbox)
        super().draw(renderer)


def _draw_axis(renderer: RendererBase, axis: XAxis | YAxis, box: Bbox) -> None:
    """Draw grid, line, ticks, their labels and the label of an axis; `box` is the plot in pixels."""
    look, flat = axis.get_tick_params(), axis.axis_name == "x"
    (start, end), (edge, far) = (box.intervalx, box.intervaly) if flat else (box.intervaly, box.intervalx)
    major, minor = (_places(axis, at, start, end) for at in (axis.get_majorticklocs(), axis.get_minorticklocs()))
    if look["gridOn"]:
        _draw_strokes(renderer, _pen("#dddddd", 0.6), [(at, edge, at, far) for at in major], flat=flat)
    strokes = [(start, edge, end, edge)]
    strokes += [(at, edge - length, at, edge) for ats, length in ((major, TICK), (minor, MINOR_TICK)) for at in ats]
    _draw_strokes(renderer, _pen("black", 0.8), strokes, flat=flat)
    below = edge - TICK - GAP
    if look["labelbottom" if flat else "labelleft"]:
        below = _draw_tick_labels(renderer, axis, major, below)
        below = _draw_factor(renderer, axis, end, below)
    x, y = axis.label.get_position()
    axis.label.set_position((x, below - GAP) if flat else (below - GAP, y))
    axis.label.draw(renderer)


def _places(axis: XAxis | YAxis, locations: np.ndarray, start: float, end: float) -> np.ndarray:
    """Return the pixel along the axis of each location, nan where it is out of view."""
    to_linear = axis.get_transform().transform
    low, high = to_linear(np.asarray(axis.get_view_interval()))
    share = (to_linear(np.asarray(locations, dtype=float)) - low) / (high - low)
    return np.where((share > -1e-6) & (share < 1 + 1e-6), start + share * (end - start), np.nan)


def _draw_strokes(
    renderer: RendererBase, pen: GraphicsContextBase, strokes: Sequence[tuple[float, ...]], *, flat: bool
) -> None:
    """Draw lines between two points each, given along and across an axis."""
    ends = np.array(strokes, dtype=float).reshape(-1, 2)
    codes = [Path.MOVETO, Path.LINETO] * len(strokes)
    renderer.draw_path(pen, Path(ends if flat else ends[:, ::-1], codes), IdentityTransform())


def _draw_tick_labels(renderer: RendererBase, axis: XAxis | YAxis, places: np.ndarray, below: float) -> float:
    """Draw the labels of an axis's ticks from the pixel `below` on; return where they end."""
    look, flat, formatter = axis.get_tick_params(), axis.axis_name == "x", axis.get_major_formatter()
    upright, size = flat and look.get("rotation") == 90, look["labelsize"] * POINT
    pen, font, longest = _pen("black"), FontProperties(size=look["labelsize"]), 0.0
    for at, text in zip(places, formatter.format_ticks(list(axis.get_majorticklocs())), strict=True):
        if np.isnan(at):
            continue
        math = bool(is_math_text(text))
        line = text if math else text.replace(r"\$", "$")
        width, _, _ = renderer.get_text_width_height_descent(line, font, math)
        if upright:
            x, y = at + DIGIT / 2 * size, below - width
        else:
            x, y = (at - width / 2, below - DIGIT * size) if flat else (below - width, at - DIGIT / 2 * size)
        renderer.draw_text(pen, x, CANVAS[1] * DPI - y, line, font, 90 if upright else 0, math)
        longest = max(longest, width)
    return below - (longest if upright or not flat else size)


def _draw_factor(renderer: RendererBase, axis: XAxis | YAxis, end: float, below: float) -> float:
    """Draw what the labels of an axis leave out, such as 1e6, at its end; return where the labels end now."""
    factor, points = axis.get_major_formatter().get_offset(), axis.get_tick_params()["labelsize"]
    if not factor:
        return below
    font, size, flat = FontProperties(size=points), points * POINT, axis.axis_name == "x"
    width, _, _ = renderer.get_text_width_height_descent(factor, font, False)
    x, y = (end - width, below - size) if flat else (axis.axes.bbox.x0, end + size / 3)
    renderer.draw_text(_pen("black"), x, CANVAS[1] * DPI - y, factor, font, 0)
    return below - size if flat else below


def _pen(color: str, points: float = 1) -> GraphicsContextBase:
    pen = GraphicsContextBase()
    pen.set_foreground(color)
    pen.set_linewidth(points * POINT)
    pen.set_snap(True)
    return pen


class _Ink(NamedTuple):
    """A line of text: how dark it is (H, W), and where from the start of its baseline, in pixels."""

    darkness: np.ndarray
    left: int
    top: int
    right: int
    bottom: int


@lru_cache(maxsize=1024)  # most ticks, titles and legends come again and again
def _ink(text: str, points: float) -> _Ink:
    font = _font(points)
    left, top, right, bottom = (int(end) for end in font.getbbox(text, anchor="ls"))
    image = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(image).text((-left, -top), text, fill=255, font=font, anchor="ls")
    return _Ink(np.asarray(image), left, top, right, bottom)


@cache
def _font(points: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(findfont(FontProperties()), points * POINT)


class _Renderer(RendererAgg):
    """Agg with Pillow's text, in a tenth of the time of matplotlib's own; formulas are left to that."""

    def get_text_width_height_descent(self, s: str, prop: FontProperties, ismath: Any) -> tuple[float, float, float]:
        if ismath:
            return super().get_text_width_height_descent(s, prop, ismath)  # type: ignore[no-untyped-call, no-any-return]
        ink = _ink(s, prop.get_size_in_points())
        return ink.right, ink.bottom - ink.top, ink.bottom

    def draw_text(
        self,
        gc: GraphicsContextBase,
        x: float,
        y: float,
        s: str,
        prop: FontProperties,
        angle: float,
        ismath: Any = False,
        mtext: Any = None,
    ) -> None:
        if ismath:
            super().draw_text(gc, x, y, s, prop, angle, ismath, mtext)  # type: ignore[no-untyped-call]
            return
        darkness, left, top, _, bottom = _ink(s, prop.get_size_in_points())
        if angle == 90:
            darkness, left, bottom = np.rot90(darkness), top, -left
        image = np.empty((*darkness.shape, 4), np.uint8)
        image[..., :3], image[..., 3] = np.multiply(gc.get_rgb()[:3], 255), darkness
        self.draw_image(gc, round(x) + left, round(self.height - y) - bottom, image[::-1])
