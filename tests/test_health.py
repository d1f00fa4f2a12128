"""The figure of a run's health: a map for each quantity that the network has."""

import math
from dataclasses import replace
from typing import Any

from pipeline.canvas import to_png
from pipeline.doctor.health import health
from pipeline.doctor.measuring import Layer, Measure


def measures(**known: Any) -> list[Measure]:
    layers = [Layer(name, "", weight=1.0) for name in ("layer 1", "layer 2", "output")]
    start = Measure(0, tuple(replace(layer, std=1.0) for layer in layers))
    return [start, *(Measure(epoch, tuple(replace(layer, **known) for layer in layers)) for epoch in (1, 2, 4))]


def test_a_map_for_each_quantity_that_was_measured() -> None:
    figure = health(measures(gradient=1e-3, update=1e-3, std=1.0, dead=0.5))
    assert [axes.get_title() for axes in figure.axes if axes.get_title()] == [
        "gradient, root mean square",
        "change of a step / size of the weights",
        "spread of the activations over rows",
        "share of dead ReLU units",
    ]


def test_epochs_without_a_value_are_left_out() -> None:
    first, *_ = health(measures(gradient=1e-3)).axes
    assert [label.get_text() for label in first.get_xticklabels()] == ["1", "2", "4"]
    assert [label.get_text() for label in first.get_yticklabels()] == ["layer 1", "layer 2", "output"]


def test_it_is_drawn_also_where_a_gradient_is_nothing_or_no_number() -> None:
    for value in (0.0, math.inf):
        assert to_png(health(measures(gradient=value, update=math.nan))).startswith(b"\x89PNG")
