"""Axes that draw themselves: what is written where, and that no pixel is lost."""

from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator
from PIL import Image

from pipeline import canvas
from pipeline.canvas import PADDING, new_figure, to_png
from pipeline.report import WHOLE


class Line(NamedTuple):
    """A line of text as it was drawn: where its baseline starts, y downwards."""

    text: str
    x: float
    y: float
    angle: float


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Line]:
    """The lines that are drawn from now on."""
    lines: list[Line] = []
    draw = canvas._Renderer.draw_text

    def note(
        self: canvas._Renderer, gc: Any, x: float, y: float, s: str, prop: Any, angle: float, *more: Any, **by: Any
    ) -> None:
        lines.append(Line(s, x, y, angle))
        draw(self, gc, x, y, s, prop, angle, *more, **by)

    monkeypatch.setattr(canvas._Renderer, "draw_text", note)
    return lines


def pixels(figure: Figure) -> np.ndarray:
    with Image.open(BytesIO(to_png(figure))) as image:
        assert image.mode == "RGB"
        return np.asarray(image)


def one() -> tuple[Figure, Axes]:
    figure, [axes] = new_figure("", [WHOLE])
    return figure, axes


def test_a_png_holds_what_was_drawn_and_a_white_margin() -> None:
    figure, axes = one()
    axes.grid(False)
    axes.tick_params(labelbottom=False, labelleft=False)
    axes.set_xlim(10, 11)
    axes.set_ylim(10, 11)
    axes.axhspan(10, 11, color="#ff0000", linewidth=0)
    image = pixels(figure)
    assert (image[:PADDING] == 255).all()
    assert (image[:, -PADDING:] == 255).all()
    assert (image[60, 100] == [255, 0, 0]).all()
    tick = 5  # pixels outside of the plot
    assert image.shape == pytest.approx((330 + tick + 2 * PADDING, 520 + tick + 2 * PADDING, 3), abs=2)


@pytest.mark.parametrize(("low", "high", "scale"), [(0, 1, "linear"), (-250, 40, "linear"), (0.003, 50, "log")])
def test_each_tick_in_view_has_matplotlibs_own_label(low: float, high: float, scale: str, written: list[Line]) -> None:
    figure, axes = one()
    axes.set_xlim(low, high)
    axes.set_xscale(scale)
    axes.tick_params(labelleft=False)
    to_png(figure)
    own = [label.get_text() for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high]
    assert len(own) > 2
    assert [line.text for line in written] == own
    assert sorted(line.x for line in written) == [line.x for line in written]
    assert len({line.y for line in written}) == 1


@pytest.mark.parametrize("angle", [0, 90])
def test_names_are_drawn_as_text_and_the_axis_label_stands_clear_of_them(angle: int, written: list[Line]) -> None:
    names = ["a$b", "much longer than that"]
    figure, axes = one()
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator([0, 1]))
        axis.set_major_formatter(FixedFormatter([name.replace("$", r"\$") for name in names]))
    axes.tick_params(axis="x", rotation=angle)
    axes.set(xlabel="across", ylabel="up", xlim=(-0.5, 1.5), ylim=(-0.5, 1.5))
    to_png(figure)
    first, second, across, *rows, up = written
    assert [line.text for line in (first, second, *rows)] == names * 2
    assert (first.angle, second.angle, across.angle, up.angle) == (angle, angle, 0, 90)
    assert across.y > max(first.y, second.y)
    assert up.x < min(row.x for row in rows)


def test_a_factor_left_out_of_the_labels_stands_at_the_end_of_the_axis(written: list[Line]) -> None:
    figure, axes = one()
    axes.set(xlim=(0, 3e8), ylim=(0, 2e-7), xlabel="across")
    to_png(figure)
    right, above = ([line for line in written if line.text == factor] for factor in ("1e8", "1e−7"))
    labels = [line for line in written if line.text not in ("1e8", "1e−7", "across")]
    assert right[0].y > max(line.y for line in labels)
    assert next(line.y for line in written if line.text == "across") > right[0].y
    assert above[0].y < min(line.y for line in labels)


def test_text_is_drawn_in_its_colour_and_turned() -> None:
    sizes = []
    for rotation in (0, 90):
        figure, axes = one()
        axes.set_axis_off()
        axes.text(0.5, 0.5, "turned", color="#0000ff", rotation=rotation, fontsize=20)
        sizes.append((pixels(figure) == [0, 0, 255]).all(axis=2).nonzero())
    (rows, columns), (turned_rows, turned_columns) = sizes
    assert np.ptp(columns) > 2 * np.ptp(rows)
    assert (np.ptp(turned_rows), np.ptp(turned_columns)) == (np.ptp(columns), np.ptp(rows))


def test_the_widest_names_and_legends_fit() -> None:
    wide = "W" * 24  # what the report cuts names to; half of it where they stand upright
    figure, axes = one()
    for axis, name in ((axes.xaxis, wide[:12]), (axes.yaxis, wide)):
        axis.set_major_locator(FixedLocator([0]))
        axis.set_major_formatter(FixedFormatter([name]))
    axes.tick_params(axis="x", rotation=90)
    axes.plot([0, 1], [0, 1], label=f"AUC 0.123: {wide}")
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8)
    axes.set(xlabel="across", ylabel="up")
    image = pixels(figure)
    for side in (image, image[::-1], image.swapaxes(0, 1), image.swapaxes(0, 1)[::-1]):
        assert (side[:PADDING] == 255).all()
