"""One ONNX graph from raw columns to answers: the same as the training code gives, for any network and any rows."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pipeline.bundle import MISSING, Bundle, Predictions, Schema, bundle_files
from pipeline.calibration import Calibration, prediction_sets
from pipeline.compose import list_groups, load_config
from pipeline.data.preprocess import Preprocessor
from pipeline.data.raw import raw_values
from pipeline.errors import DataError
from pipeline.export import export_model
from pipeline.model_config import Model
from pipeline.networks import NETWORKS, build_network
from pipeline.networks.activations import ACTIVATIONS
from pipeline.outputs import predictions, run_network
from pipeline.types import Arrays, Features, Splits, Table, Task
from tests.conftest import mixed_frame, small
from tests.test_preprocess import config, taker

TARGETS = {"binary": ["bought"], "multiclass": ["grade"], "regression": ["amount"], "two targets": ["amount", "second"]}
PREPROCESSES = {name: load_config([f"preprocess={name}"]).preprocess for name in list_groups()["preprocess"]}
NETWORK_SECTIONS = {name: load_config(small(name)).model for name in NETWORKS}
MLP = NETWORK_SECTIONS["mlp"]


# ---------------------------------------------------------------- a trained model, and its bundle
@cache
def features_frame() -> pd.DataFrame:
    """Every kind of column, with levels of several lengths and scripts, and gaps in all."""
    n_rows = 200
    frame = mixed_frame(n_rows).drop(columns=["amount", "second", "bought", "grade"])
    rng = np.random.default_rng(1)
    frame["colour"] = frame["colour"].mask(rng.random(n_rows) < 0.1)
    frame["joined"] = (frame["joined"] + pd.to_timedelta(rng.integers(0, 10**9, n_rows), "ms")).mask(
        rng.random(n_rows) < 0.1
    )
    frame["city"] = frame["city"].where(rng.random(n_rows) < 0.8, rng.choice(["", "Zürich", "東京", " "], n_rows))
    frame["skewed"] = np.exp(3 * rng.normal(size=n_rows))
    frame["tied"] = rng.choice([0.0, 0.0, 0.0, 1.0, 7.0], n_rows)
    frame["constant"] = "always"
    return frame


@cache
def awkward() -> pd.DataFrame:
    """Rows with missing, extreme and unseen values in every column."""
    rows = (
        features_frame().iloc[:12].copy().astype({"count": float, "member": object, "city": object, "colour": object})
    )
    numbers = [name for name in rows if rows[name].dtype == float]
    for row, value in enumerate([np.nan, 1e300, -1e300, 0.0, 5e-324, 1.7e308]):
        rows.loc[row, numbers] = value
    for row, text in enumerate([None, "", "unseen", "Zürich", "ZÜRICH", "東京", "🦋\u200d", "red ", "a" * 5000]):
        rows.loc[row, ["colour", "city", "constant"]] = text
        rows.loc[row, "member"] = text
    moments = [None, "1600-02-29 23:59:59.999999", "1969-12-31 23:59:59.5", "2262-05-01", "2000-03-01", "9999-12-31"]
    rows["joined"] = rows["joined"].astype("datetime64[us]")
    for row, moment in enumerate(moments):
        rows.loc[row, "joined"] = pd.Timestamp(moment) if moment else pd.NaT
    return rows


def fitted(frame: pd.DataFrame, preprocess: str = "standard", kind: str = "binary", **fields: Any) -> Preprocessor:
    """Learned from all rows, for one of the kinds of target."""
    targets = mixed_frame(len(frame))[TARGETS[kind]]
    task: Task = "regression" if kind == "two targets" else kind  # type: ignore[assignment]
    classes = () if task == "regression" else tuple(sorted(map(str, targets.iloc[:, 0].unique())))
    if classes:
        targets = targets.apply(lambda column: column.map(lambda value: classes.index(str(value))))
    table, none = Table("t", "", "", frame, targets, task, classes), np.arange(0)
    preprocessor = Preprocessor(PREPROCESSES[preprocess].model_copy(update=fields))
    preprocessor.fit_transform(list(map(str, frame)), taker(frame), table, Splits(np.arange(len(frame)), none, none))
    return preprocessor


def trained(model: Model, preprocessor: Preprocessor, frame: pd.DataFrame) -> nn.Module:
    """A network with weights as training leaves them: none zero, batch norm's averages moved."""
    torch.manual_seed(0)
    network = build_network(model, preprocessor.features_)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    network.train()
    network(*map(torch.from_numpy, preprocessor.transform(frame)))
    return network


def bundle_of(network: nn.Module, preprocessor: Preprocessor, calibration: Calibration) -> Bundle:
    features = preprocessor.features_
    schema = Schema(
        "t", "", features.task, tuple(f"t{i}" for i in range(features.n_outputs)),
        tuple(range(len(features.class_counts))), preprocessor.columns_, 0.9, {}, {}, "", "", "",
    )  # fmt: skip
    model = export_model(network, preprocessor, calibration)
    onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    return Bundle.of(bundle_files(schema, model), "of a test")


def raw(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    return {str(name): raw_values(column) for name, column in frame.items()}


def as_trained(
    network: nn.Module, preprocessor: Preprocessor, frame: pd.DataFrame, temperature: float = 1.0
) -> np.ndarray:
    """What the training code predicts."""
    num, cat = preprocessor.transform(frame)
    outputs = run_network(network, Arrays(num, cat, np.zeros(len(frame)))).double() / temperature
    scale = {"center": preprocessor.target_center_, "scale": preprocessor.target_scale_}
    return predictions(outputs, preprocessor.features_.task, **scale)


def assert_same(bundle: Bundle, network: nn.Module, preprocessor: Preprocessor, frame: pd.DataFrame) -> None:
    is_deep = type(network) in set(NETWORKS.values()) - {NETWORKS["mlp"]}
    is_unscaled = preprocessor.config.scaling == "none"
    # what deep networks make of values of 1e30, as they are, is chance
    for rows in ([] if is_deep and is_unscaled else [awkward()]) + [frame.iloc[:1], pd.concat([frame] * 10)]:
        expected = as_trained(network, preprocessor, rows)
        found = bundle.predict(raw(rows)).values
        assert np.isfinite(found).all()
        size = preprocessor.target_scale_ if preprocessor.features_.task == "regression" else 1
        # sums of unscaled inputs, thousands beside tenths, are not known to five digits in float32 itself
        # and neither are those of a thousand products
        tolerance = 1e-5 * 10**is_unscaled * 10**is_deep
        np.testing.assert_array_less(np.abs(found - expected) / (size + np.abs(expected)), tolerance)


# ---------------------------------------------------------------- every choice
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    "preprocess",
    ["standard", *(pytest.param(name, marks=pytest.mark.slow) for name in PREPROCESSES if name != "standard")],
)
@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("max_onehot", [0, pytest.param(9, marks=pytest.mark.slow)])
def test_every_network_and_preprocessing_exports_to_the_same_predictions(
    network: str, preprocess: str, kind: str, max_onehot: int
) -> None:
    frame = features_frame()
    preprocessor = fitted(frame, preprocess, kind, max_onehot=max_onehot)
    model = trained(NETWORK_SECTIONS[network], preprocessor, frame)
    assert_same(bundle_of(model, preprocessor, calibrated(preprocessor)), model, preprocessor, frame)


def calibrated(preprocessor: Preprocessor) -> Calibration:
    return Calibration(0.9, margins=(1.0,) * preprocessor.features_.n_outputs)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("dtype", "batch_norm"), [(torch.float32, True), (torch.float64, False)])
def test_every_activation_exports_in_every_precision(activation: str, dtype: torch.dtype, batch_norm: bool) -> None:
    frame = features_frame()
    preprocessor = fitted(frame)
    settings = {"activation": activation, "batch_norm": batch_norm, "dropout": 0.3, "hidden": (8, 8)}
    network = trained(MLP.model_copy(update=settings), preprocessor, frame).to(dtype)
    assert_same(bundle_of(network, preprocessor, calibrated(preprocessor)), network, preprocessor, frame)


@pytest.mark.parametrize("hidden", [(), (5,), (5, 4, 3, 2)])
@pytest.mark.parametrize("columns", ["x", "colour", "city", "joined", "member constant", "gappy city"])
def test_a_table_of_one_kind_of_column_exports(columns: str, hidden: tuple[int, ...]) -> None:
    frame = features_frame()[columns.split()]
    preprocessor = fitted(frame)
    network = trained(MLP.model_copy(update={"hidden": hidden}), preprocessor, frame)
    bundle = bundle_of(network, preprocessor, calibrated(preprocessor))
    np.testing.assert_allclose(bundle.predict(raw(frame)).values, as_trained(network, preprocessor, frame), atol=1e-6)


class Ensemble(nn.Module):
    """Three members of a network, as (B, 3, C)."""

    def __init__(self, features: Features) -> None:
        super().__init__()
        self.members = nn.ModuleList(build_network(MLP, features) for _ in range(3))

    def forward(self, num: Tensor, cat: Tensor) -> Tensor:
        return torch.cat([member(num, cat) for member in self.members], dim=1)


@pytest.mark.parametrize("kind", TARGETS)
def test_members_are_averaged_as_probabilities_at_the_temperature(kind: str) -> None:
    frame = features_frame()
    preprocessor = fitted(frame, kind=kind)
    network, calibration = Ensemble(preprocessor.features_), replace(calibrated(preprocessor), temperature=2.5)
    found = bundle_of(network, preprocessor, calibration).predict(raw(frame)).values
    temperature = 1.0 if preprocessor.features_.task == "regression" else 2.5
    np.testing.assert_allclose(found, as_trained(network, preprocessor, frame, temperature), rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------- sets and intervals
def answers(kind: str, calibration: Calibration) -> Predictions:
    frame = features_frame()
    preprocessor = fitted(frame, kind=kind)
    return bundle_of(trained(MLP, preprocessor, frame), preprocessor, calibration).predict(raw(frame))


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 0.99])
def test_sets_are_those_of_the_calibration_and_never_empty(threshold: float) -> None:
    found = answers("multiclass", Calibration(0.9, threshold=threshold))
    assert found.sets is not None
    np.testing.assert_array_equal(found.sets, prediction_sets(found.values, threshold))
    assert found.sets.any(axis=1).all()


def test_intervals_are_as_wide_as_each_targets_margin() -> None:
    found = answers("two targets", Calibration(0.9, margins=(3.0, 0.5)))
    assert found.low is not None
    assert found.high is not None
    np.testing.assert_allclose(found.values - found.low, np.broadcast_to([3.0, 0.5], found.values.shape))
    np.testing.assert_allclose(found.high - found.values, np.broadcast_to([3.0, 0.5], found.values.shape))


# ---------------------------------------------------------------- preprocessing alone
class Reveal(nn.Module):
    """Gives back what the network is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, num: Tensor, cat: Tensor) -> Tensor:
        return torch.cat([num, cat.to(num.dtype)], dim=1).unsqueeze(1) if cat.shape[1] else num.unsqueeze(1)


def revealed(preprocessor: Preprocessor, frame: pd.DataFrame) -> np.ndarray:
    """num and cat as the graph prepares them."""
    width = preprocessor.features_.n_num + len(preprocessor.features_.cardinalities)
    preprocessor.features_ = replace(preprocessor.features_, task="regression", n_outputs=width, class_counts=())
    preprocessor.target_center_, preprocessor.target_scale_ = np.zeros(width), np.ones(width)
    bundle = bundle_of(Reveal(), preprocessor, Calibration(0.9, margins=(0.0,) * width))
    return bundle.predict(raw(frame)).values


def check_prepared(frame: pd.DataFrame, rows: pd.DataFrame, preprocessor: Preprocessor) -> None:
    num, cat = preprocessor.transform(rows)
    found = revealed(preprocessor, rows)
    np.testing.assert_allclose(found[:, : num.shape[1]].astype(np.float32), num, rtol=3e-7, atol=1e-37)
    np.testing.assert_array_equal(found[:, num.shape[1] :].astype(np.int64), cat)


FLOATS = st.floats(allow_infinity=False)
LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters=[MISSING])
CELLS = st.one_of(st.none(), st.text(LETTERS, max_size=4))


@settings(max_examples=60, deadline=None)
@given(
    x=st.lists(FLOATS, min_size=2, max_size=30),
    texts=st.lists(CELLS, min_size=2, max_size=30),
    given_rows=st.lists(st.tuples(FLOATS, CELLS), min_size=1, max_size=10),
    scaling=st.sampled_from(["standard", "robust", "quantile", "none"]),
    max_onehot=st.sampled_from([0, 9]),
)
@example([0.0, 1.0], ["a", "a\0b"], [(0.5, "a\0"), (0.5, "a")], "standard", 0)
@example([-1.7e308, 1.7e308], ["a", "b"], [(1.0, ""), (-1e308, ""), (1.7e308, "")], "quantile", 0)
@example([1e-300, 1.7e308, -1.7e308, 3.0], ["a", "b"], [(0.0, ""), (1.6e308, "")], "quantile", 0)
def test_the_graph_prepares_any_rows_as_the_preprocessor_does(
    x: list[float], texts: list[str | None], given_rows: list[tuple[float, str | None]], scaling: str, max_onehot: int
) -> None:
    n_rows = max(len(x), len(texts))
    frame = pd.DataFrame({"x": np.resize(x, n_rows), "text": np.resize(np.array(texts, dtype=object), n_rows)})
    frame["sure"] = np.arange(n_rows)
    table, none = Table("t", "", "", frame, frame[["sure"]], "regression", ()), np.arange(0)
    preprocessor = Preprocessor(config(scaling, 1, max_onehot))
    preprocessor.fit_transform(list(map(str, frame)), taker(frame), table, Splits(np.arange(n_rows), none, none))
    rows = pd.DataFrame({"x": [x for x, _ in given_rows], "text": np.array([t for _, t in given_rows], dtype=object)})
    check_prepared(frame, rows.assign(sure=1), preprocessor)


@settings(max_examples=60, deadline=None)
@given(
    seconds=st.lists(st.integers(-62_000_000_000, 253_000_000_000), min_size=2, max_size=20),
    microseconds=st.integers(0, 999_999),
)
@example([0, -1, 951_782_400, 951_868_799, -11_676_096_000, 4_107_542_400], 999_999)
def test_the_graph_knows_the_calendar(seconds: list[int], microseconds: int) -> None:
    moments = np.array(seconds) * 10**6 + (microseconds if max(map(abs, seconds)) < 4 * 10**9 else 0)
    frame = pd.DataFrame({"d": moments.astype("datetime64[us]"), "sure": np.arange(len(seconds))})
    preprocessor = Preprocessor(config("none"))
    table, none = Table("t", "", "", frame, frame[["sure"]], "regression", ()), np.arange(0)
    preprocessor.fit_transform(list(map(str, frame)), taker(frame), table, Splits(np.arange(len(frame)), none, none))
    check_prepared(frame, frame, preprocessor)


@pytest.mark.parametrize("scaling", ["standard", "quantile"])
def test_a_thousand_columns_make_a_small_graph(scaling: str) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(300, 1000)), columns=[f"c{i}" for i in range(1000)])
    preprocessor = fitted(frame, scaling)
    network = trained(MLP, preprocessor, frame)
    model = export_model(network, preprocessor, calibrated(preprocessor))
    assert len(onnx.load_from_string(model).graph.node) < 100
    found = bundle_of(network, preprocessor, calibrated(preprocessor)).predict(raw(frame)).values
    np.testing.assert_allclose(found, as_trained(network, preprocessor, frame), atol=1e-5)


# ---------------------------------------------------------------- names and refusals
@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_columns_may_have_any_name(kind: str) -> None:
    names = ["values", "sets", "low", "high", "_1", "__2", "num", "_net.num", "Größe (m²)", "a b", "/0/Gemm_output_0"]
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(50, len(names))), columns=names)
    preprocessor = fitted(frame, kind=kind)
    network = trained(MLP, preprocessor, frame)
    bundle = bundle_of(network, preprocessor, calibrated(preprocessor))
    np.testing.assert_allclose(bundle.predict(raw(frame)).values, as_trained(network, preprocessor, frame), rtol=1e-5)


def test_a_category_that_stands_for_missing_ones_is_refused() -> None:
    frame = pd.DataFrame({"c": ["a", MISSING] * 20})
    preprocessor = fitted(frame)
    network = trained(MLP, preprocessor, frame)
    message = r"^column 'c': the category '\\ue000' stands for missing values in a model$"
    with pytest.raises(DataError, match=message):
        export_model(network, preprocessor, calibrated(preprocessor))


def test_a_column_without_a_name_is_refused() -> None:
    frame = pd.DataFrame({"": [1.0, 2.0] * 20})
    preprocessor = fitted(frame)
    with pytest.raises(DataError, match=r"^column '': a model's input needs a name$"):
        export_model(trained(MLP, preprocessor, frame), preprocessor, calibrated(preprocessor))


def test_the_graph_holds_no_path_and_no_stack_of_this_machine() -> None:
    frame = features_frame()
    preprocessor = fitted(frame)
    model = export_model(trained(MLP, preprocessor, frame), preprocessor, calibrated(preprocessor))
    assert str(Path(__file__).parent.parent).encode() not in model
