"""From a trained network and what its columns need to one ONNX graph, from raw columns to calibrated answers.

Columns are stacked and prepared as matrices, a row a column, so that the graph stays small however many there are; in
double precision, as `Preprocessor` computes, so that both give the network the same numbers.
"""

import io
import warnings
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.bundle import MISSING
from pipeline.calibration import Calibration
from pipeline.data.preprocess import Category, Key, Number, Preprocessor
from pipeline.data.scaling import SMOOTH_BOUND, Affine, Interpolation
from pipeline.errors import DataError
from pipeline.graph import BOOL, DOUBLE, FLOAT, INT64, Graph
from pipeline.types import Features

OPSET = 17  # the newest that torch's exporter without onnxscript writes
DAY = 86400  # seconds
ERA_DAYS = 146097  # of 400 years, after which the calendar repeats
MARCH = 719468  # days from 0000-03-01, where the calendar's arithmetic begins, to 1970-01-01
SHIFT = 1000  # eras that make every day a positive number: ONNX rounds quotients towards 0
FARTHEST = 1e13  # seconds from 1970, 300,000 years: more is taken as it


def export_model(network: nn.Module, preprocessor: Preprocessor, calibration: Calibration) -> bytes:
    """The model as a serialised ONNX graph.

    Raises:
        DataError: a category that the graph cannot tell from a missing one, or a column without a name.
    """
    names = [column.name for column in preprocessor.columns_]
    _require_nameable(preprocessor)
    graph = Graph(names)
    num, cat = _prepared(graph, preprocessor)
    outputs, n_members = _network(graph, network, num, cat, preprocessor.features_)
    _answers(graph, graph.cast(outputs, DOUBLE), n_members, preprocessor, calibration)
    return graph.serialised(OPSET)


def _require_nameable(preprocessor: Preprocessor) -> None:
    for column in preprocessor.columns_:
        if not column.name:
            raise DataError("column '': a model's input needs a name")
        if MISSING in column.levels:
            raise DataError(f"column '{column.name}': the category '\\ue000' stands for missing values in a model")


# ---------------------------------------------------------------- columns
def _prepared(graph: Graph, preprocessor: Preprocessor) -> tuple[str, str]:
    """num (N, n_num) float32 and cat (N, n_cat) int64, as `Preprocessor.slots` describes them."""
    parts: list[str] = []
    if preprocessor.numbers_:
        x = _numbers(graph, preprocessor)
        missing = graph.op("IsNaN", x)
        fill = graph.column([number.fill for number in preprocessor.numbers_])
        parts += [_scaled(graph, graph.op("Where", missing, fill, x), preprocessor.numbers_)]
        indicators = [row for row, number in enumerate(preprocessor.numbers_) if number.indicator]
        parts += [graph.cast(graph.rows(missing, len(preprocessor.numbers_), indicators), FLOAT)] if indicators else []
    onehot = [category for category in preprocessor.categories_ if category.onehot]
    embedded = [category for category in preprocessor.categories_ if not category.onehot]
    parts += [_onehot(graph, onehot)] if onehot else []
    num = graph.op("Transpose", graph.stacked(parts), perm=[1, 0]) if parts else ""
    cat = graph.op("Transpose", _codes(graph, embedded), perm=[1, 0]) if embedded else ""
    return num or _empty(graph, preprocessor.categories_[0].name), cat


def _empty(graph: Graph, name: str) -> str:
    """num of a table without numbers, (N, 0)."""
    shape = graph.op("Concat", graph.op("Shape", graph.text(name)), graph.constant(np.array([0])), axis=0)
    return graph.op("ConstantOfShape", shape)


def _numbers(graph: Graph, preprocessor: Preprocessor) -> str:
    """The values (n, N) of `numbers_`, before missing ones are filled."""
    plain = list(dict.fromkeys(number.name for number in preprocessor.numbers_ if number.part is None))
    moments = list(dict.fromkeys(number.name for number in preprocessor.numbers_ if number.part is not None))
    places: dict[Key, int] = {(name, None): row for row, name in enumerate(plain)}
    blocks = [graph.matrix([graph.number(name) for name in plain])] if plain else []
    if moments:
        parts = _date_parts(graph, graph.matrix([graph.number(name) for name in moments]))
        needed = {number.part for number in preprocessor.numbers_}
        for part in [part for part in parts if part in needed]:
            start = len(places)
            places |= {(name, part): start + row for row, name in enumerate(moments)}
            blocks.append(parts[part])
    return graph.rows(graph.stacked(blocks), len(places), [places[number.key] for number in preprocessor.numbers_])


def _date_parts(graph: Graph, seconds: str) -> dict[str | None, str]:
    """DATE_PARTS of moments (d, N), nan where they are missing; the calendar's by Hinnant's days_from_civil, 2013."""
    missing = graph.op("IsNaN", seconds)
    bounded = graph.op("Clip", seconds, graph.double(-FARTHEST), graph.double(FARTHEST))
    filled = graph.op("Where", missing, graph.double(0.0), bounded)
    whole = graph.cast(graph.op("Floor", filled), INT64)
    whole = graph.op("Add", whole, graph.whole((SHIFT * ERA_DAYS + MARCH) * DAY))
    days, second = graph.divided(whole, DAY)
    hour, second = graph.divided(second, 3600)
    minute, second = graph.divided(second, 60)
    era, day_of_era = graph.divided(days, ERA_DAYS)
    year, day_of_year = _of_era(graph, day_of_era)
    month, day = _of_year(graph, day_of_year)
    years = graph.op("Add", year, graph.op("Mul", graph.op("Sub", era, graph.whole(SHIFT)), graph.whole(400)))
    next_year = graph.cast(graph.op("LessOrEqual", month, graph.whole(2)), INT64)  # years begin in March so far
    weekday = graph.op("Add", days, graph.whole(2))  # 0000-03-01 was a Wednesday, and an era is of whole weeks
    microseconds = graph.op("Round", graph.op("Mul", filled, graph.double(1e6)))  # exactly those of the table
    found = {
        "year": graph.op("Add", years, next_year),
        "month": month,
        "day": day,
        "day_of_week": graph.op("Mod", weekday, graph.whole(7)),
        "hour": hour,
        "minute": minute,
        "second": second,
    }
    parts: dict[str | None, str] = {"elapsed": graph.op("Div", microseconds, graph.double(DAY * 1e6))}
    parts |= {part: graph.cast(name, DOUBLE) for part, name in found.items()}
    return {part: graph.op("Where", missing, graph.double(np.nan), name) for part, name in parts.items()}


def _of_era(graph: Graph, day: str) -> tuple[str, str]:
    """Year of the era and day of the year, from 0 and from March on, of a day of the era."""
    corrections = [graph.op("Div", day, graph.whole(days)) for days in (1460, 36524, ERA_DAYS - 1)]
    minus, plus, last = corrections
    leapless = graph.op("Sub", graph.op("Add", graph.op("Sub", day, minus), plus), last)
    year = graph.op("Div", leapless, graph.whole(365))
    leap_days = graph.op("Sub", graph.op("Div", year, graph.whole(4)), graph.op("Div", year, graph.whole(100)))
    before = graph.op("Add", graph.op("Mul", year, graph.whole(365)), leap_days)
    return year, graph.op("Sub", day, before)


def _of_year(graph: Graph, day: str) -> tuple[str, str]:
    """Month, from 1, and day of the month, from 1, of a day of the year from March on."""
    fifths = graph.op("Add", graph.op("Mul", day, graph.whole(5)), graph.whole(2))
    from_march = graph.op("Div", fifths, graph.whole(153))
    start = graph.op("Add", graph.op("Mul", from_march, graph.whole(153)), graph.whole(2))
    day = graph.op("Add", graph.op("Sub", day, graph.op("Div", start, graph.whole(5))), graph.whole(1))
    month = graph.op("Mod", graph.op("Add", from_march, graph.whole(2)), graph.whole(12))
    return graph.op("Add", month, graph.whole(1)), day


# ---------------------------------------------------------------- scaling
def _scaled(graph: Graph, x: str, numbers: Sequence[Number]) -> str:
    """Values (n, N), none missing, scaled as the columns' `Scaling.apply` does; float32."""
    scalings = [number.scaling for number in numbers]
    affine = [scaling for scaling in scalings if isinstance(scaling, Affine)]
    if len(affine) == len(scalings):
        return graph.cast(_affine(graph, x, affine), FLOAT)
    return graph.cast(_interpolated(graph, x, [s for s in scalings if isinstance(s, Interpolation)]), FLOAT)


def _affine(graph: Graph, x: str, scalings: Sequence[Affine]) -> str:
    centered = graph.op("Sub", x, graph.column([scaling.center for scaling in scalings]))
    scaled = graph.op("Mul", centered, graph.column([scaling.scale for scaling in scalings]))
    bound = max(scaling.bound for scaling in scalings)  # one of all: it belongs to the kind of scaling
    z = graph.op("Clip", scaled, graph.double(-bound), graph.double(bound))
    if not any(scaling.smooth for scaling in scalings):
        return z
    ratio = graph.op("Div", z, graph.double(SMOOTH_BOUND))
    return graph.op("Div", z, graph.op("Sqrt", graph.op("Add", graph.op("Mul", ratio, ratio), graph.double(1.0))))


def _interpolated(graph: Graph, x: str, scalings: Sequence[Interpolation]) -> str:
    """Between which two of its column's points a value lies, by bisection in all columns at once; then as np.interp."""
    width = 1 << max(1, int(np.ceil(np.log2(max(len(scaling.points) for scaling in scalings)))))
    points = np.full((len(scalings), width), np.inf)
    scores, slopes = np.zeros((2, *points.shape))
    for row, scaling in enumerate(scalings):
        n = len(scaling.points)
        points[row, :n], scores[row, :n] = scaling.points, scaling.scores
        with np.errstate(over="ignore"):  # points far apart: the slope between them is 0
            slopes[row, : n - 1] = np.diff(scaling.scores) / np.diff(scaling.points)
    x = graph.op("Max", x, graph.column([scaling.points[0] for scaling in scalings]))
    x = graph.op("Min", x, graph.column([scaling.points[-1] for scaling in scalings]))
    table = graph.constant(points.reshape(-1))
    place = graph.constant(np.arange(len(scalings), dtype=np.int32)[:, None] * np.int32(width))  # of the first points
    step = width // 2
    while step:
        further = graph.op("Add", place, graph.constant(np.array(step, np.int32)))
        place = graph.op("Where", graph.op("LessOrEqual", graph.op("Gather", table, further), x), further, place)
        step //= 2
    return _on_line(graph, x, place, points, scores, slopes)


def _on_line(graph: Graph, x: str, place: str, points: np.ndarray, scores: np.ndarray, slopes: np.ndarray) -> str:
    """As np.interp computes: also between points so far apart that their distance is infinite, and the slope 0."""
    start, score, slope = (graph.op("Gather", graph.constant(v.reshape(-1)), place) for v in (points, scores, slopes))
    z = graph.op("Add", score, graph.op("Mul", slope, graph.op("Sub", x, start)))
    with np.errstate(over="ignore", invalid="ignore"):
        is_far = np.isinf(np.diff(points)) & np.isfinite(points[:, 1:])
    if not is_far.any():
        return z
    following = graph.constant(np.roll(scores, -1).reshape(-1))
    return graph.op("Where", graph.op("IsNaN", z), graph.op("Gather", following, place), z)


# ---------------------------------------------------------------- categories
def _codes(graph: Graph, categories: Sequence[Category]) -> str:
    """Codes (n, N) of the columns' texts; 0: rare or unseen."""
    codes = []
    for category in categories:
        known = {level: code for code, level in enumerate(category.levels, start=1)}
        known |= {MISSING: category.n_codes - 1} if category.missing_level else {}
        codes.append(graph.looked_up(category.name, known))
    return graph.matrix(codes)


def _onehot(graph: Graph, categories: Sequence[Category]) -> str:
    """A 0/1 row for each code but 0 of each column, float32."""
    rows = [row for row, category in enumerate(categories) for _ in range(1, category.n_codes)]
    codes = np.array([code for category in categories for code in range(1, category.n_codes)])
    spread = graph.rows(_codes(graph, categories), len(categories), rows)
    return graph.cast(graph.op("Equal", spread, graph.constant(codes[:, None])), FLOAT)


# ---------------------------------------------------------------- network and answers
def _network(graph: Graph, network: nn.Module, num: str, cat: str, features: Features) -> tuple[str, int]:
    """Outputs (N, K, C) of the network as torch writes it, and K; float32: onnxruntime lacks activations in float64."""
    rows = 2  # any number: the axis is free
    inputs = {
        "num": torch.zeros(rows, features.n_num),
        "cat": torch.zeros(rows, len(features.cardinalities), dtype=torch.int64),
    }
    network = deepcopy(network).float().eval()
    with torch.no_grad():
        n_members = network(**inputs).shape[1]
    buffer = io.BytesIO()
    free: dict[str, Any] = {name: {0: "N"} for name in (*inputs, "outputs")}
    with warnings.catch_warnings():  # its successor needs onnxscript and takes 40 times as long
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, tuple(inputs.values()), buffer,  # type: ignore[arg-type]  # it does write to a buffer
            input_names=list(inputs), output_names=["outputs"], dynamic_axes=free,
            opset_version=OPSET, dynamo=False,
        )  # fmt: skip
    return graph.inlined(buffer.getvalue(), {"num": num, "cat": cat}), n_members


def _mean(graph: Graph, values: str, n_members: int) -> str:
    """The mean (N, C) over the members of (N, K, C); onnxruntime takes as long over one as for a layer."""
    if n_members == 1:
        return graph.op("Squeeze", values, graph.constant(np.array([1])))
    return graph.op("ReduceMean", values, axes=[1], keepdims=0)


def _answers(graph: Graph, outputs: str, n_members: int, preprocessor: Preprocessor, calibration: Calibration) -> None:
    """Values and intervals, or probabilities and sets, of outputs (N, K, C) in double precision."""
    features = preprocessor.features_
    if features.task == "regression":
        mean = _mean(graph, outputs, n_members)
        scale, center = (graph.constant(v[None, :]) for v in (preprocessor.target_scale_, preprocessor.target_center_))
        values = graph.op("Add", graph.op("Mul", mean, scale), center)
        margins = graph.constant(np.array([calibration.margins]))
        low, high = graph.op("Sub", values, margins), graph.op("Add", values, margins)
        for name, internal in (("values", values), ("low", low), ("high", high)):
            graph.give(name, internal, DOUBLE, features.n_outputs)
        return
    logits = graph.op("Div", outputs, graph.double(calibration.temperature))
    if features.task == "binary":
        one = _mean(graph, graph.op("Sigmoid", logits), n_members)
        values = graph.op("Concat", graph.op("Sub", graph.double(1.0), one), one, axis=1)
    else:
        values = _mean(graph, graph.op("Softmax", logits, axis=2), n_members)
    graph.give("values", values, DOUBLE, len(features.class_counts))
    graph.give("sets", _sets(graph, values, calibration.threshold), BOOL, len(features.class_counts))


def _sets(graph: Graph, values: str, threshold: float) -> str:
    """The sets (N, C) that `calibration.prediction_sets` makes."""
    most = graph.op("ReduceMax", values, axes=[1], keepdims=1)
    enough = graph.op("GreaterOrEqual", values, graph.double(threshold))
    return graph.op("Or", enough, graph.op("Equal", values, most))
