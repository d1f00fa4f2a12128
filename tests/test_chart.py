"""Lines over epochs: what is drawn where, and that odd numbers do not break it."""

import re

import pytest

from pipeline.pages.chart import BOTTOM, HEIGHT, LEFT, MAX_POINTS, RIGHT, TOP, WIDTH, Axis, line_chart, ticks

NAN, INF = float("nan"), float("inf")


def places(drawn: str) -> list[tuple[float, float]]:
    """Every point of every line."""
    pairs = " ".join(re.findall(r'points="([^"]*)"', drawn)).split()
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in pairs)]


def labels(drawn: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", drawn)


def test_a_line_goes_from_the_first_epoch_to_the_last() -> None:
    drawn = line_chart("Loss", {"training": [(1, 2.0), (2, 1.0), (3, 0.0)]}, y_label="loss")
    assert places(drawn)[0][0] == LEFT
    assert places(drawn)[-1] == (WIDTH - RIGHT, HEIGHT - BOTTOM)


def test_the_best_epoch_and_every_line_are_in_the_legend_and_for_those_who_hear_it() -> None:
    drawn = line_chart("Loss", {"training": [(1, 2.0), (2, 1.0)], "validation": [(1, 3.0)]}, y_label="loss", best=2)
    assert {"training", "validation", "best epoch: 2", "loss", "epoch"} <= set(labels(drawn))
    assert 'aria-label="Loss: training, validation, best epoch: 2, over the epoch"' in drawn


def test_names_are_escaped() -> None:
    assert "<b>" not in line_chart("<b>", {"<b>": [(1, 1.0)]}, y_label="<b>")


@pytest.mark.parametrize("points", [[], [(1, NAN)], [(1, INF), (2, NAN)]])
def test_nothing_is_drawn_of_nothing(points: list[tuple[float, float]]) -> None:
    assert line_chart("Loss", {"training": points}, y_label="loss") == ""


def test_what_is_not_finite_is_a_gap_and_a_point_alone_a_dot() -> None:
    drawn = line_chart("Loss", {"training": [(1, 1.0), (2, 2.0), (3, NAN), (4, 3.0)]}, y_label="loss")
    assert len(places(drawn)) == 2
    assert drawn.count("<circle") == 1
    assert "nan" not in drawn


@pytest.mark.parametrize("value", [0.0, 1e-3, -5.0, 1e300])
def test_a_constant_is_drawn_within_the_plot(value: float) -> None:
    drawn = line_chart("Rate", {"rate": [(1, value), (2, value)]}, y_label="rate")
    assert all(TOP <= y <= HEIGHT - BOTTOM for _, y in places(drawn))


def test_orders_of_magnitude_are_drawn_on_a_logarithmic_axis() -> None:
    drawn = line_chart("Loss", {"training": [(1, 100.0), (2, 10.0), (3, 1.0)]}, y_label="loss")
    (_, first), (_, middle), (_, last) = places(drawn)
    assert middle == pytest.approx((first + last) / 2, abs=0.2)


def test_many_epochs_are_thinned_and_the_last_is_kept() -> None:
    drawn = line_chart("Loss", {"training": [(epoch, 1.0) for epoch in range(1, 5_002)]}, y_label="loss")
    assert len(places(drawn)) <= MAX_POINTS + 1
    assert places(drawn)[-1][0] == WIDTH - RIGHT


@pytest.mark.parametrize(
    ("axis", "whole", "expected"),
    [
        (Axis(0, 1, 0, 1), False, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (Axis(1, 63, 0, 1), True, [20, 40, 60]),
        (Axis(1, 3, 0, 1), True, [1, 2, 3]),
        (Axis(1, 100, 0, 1, log=True), False, [1, 10, 100]),
        (Axis(1, 60, 0, 1, log=True), False, [1, 2, 5, 10, 20, 50]),
        (Axis(1e-6, 1, 0, 1, log=True), False, [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1]),
    ],
)
def test_ticks_are_round_numbers(axis: Axis, whole: bool, expected: list[float]) -> None:
    assert ticks(axis, whole=whole) == pytest.approx(expected)
