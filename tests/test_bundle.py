"""A bundle: read without anything heavy, answers as columns, broken or misfitting ones refused in one line."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.bundle import (
    DESCRIPTION,
    MISSING,
    MODEL,
    Bundle,
    BundleError,
    Column,
    Label,
    Predictions,
    Schema,
    seconds_of,
    write_bundle,
)
from pipeline.graph import BOOL, DOUBLE, FLOAT, Graph

HEAVY = [
    "torch", "lightning", "pytorch_lightning", "mlflow", "sklearn", "optuna", "pandas", "pyarrow", "scipy", "onnx",
    "pydantic", "matplotlib",
]  # fmt: skip
X = Column("x", "number", True, False, 0.0, 1.0, (), 0.5)
COLOUR = Column("Färbe", "category", True, False, None, None, ("", "rot"), "rot", rare=True)
CONSTANT = Column("always", "number", False, True, 1.0, 1.0, (), 1.0)
SCHEMA = Schema(
    name="t", run_id="r", task="binary", targets=("y",), classes=("no", "yes"), columns=(X, COLOUR, CONSTANT),
    coverage=0.9, metrics={"test/accuracy": 0.5}, versions={"torch": "2"}, digest="d", test_digest="e",
    created="2026-01-01T00:00:00+00:00",
)  # fmt: skip


def graph_of(task: str = "binary", opset: int = 17) -> bytes:
    """The logit of "yes", or the value, is x plus 1 for rot, plus 2 for the empty text and 3 for a missing one."""
    graph = Graph([X.name, COLOUR.name])
    code = graph.cast(graph.looked_up(COLOUR.name, {"rot": 1, "": 2, MISSING: 3}), DOUBLE)
    z = graph.op("Add", graph.number(X.name), code)
    column = graph.op("Transpose", graph.matrix([z]), perm=[1, 0])
    if task == "regression":
        for name, shift in (("values", 0.0), ("low", -1.0), ("high", 2.0)):
            graph.give(name, graph.op("Add", column, graph.double(shift)), DOUBLE, 1)
        return graph.serialised(opset)
    one = graph.op("Sigmoid", column)
    values = graph.op("Concat", graph.op("Sub", graph.double(1.0), one), one, axis=1)
    graph.give("values", values, DOUBLE, 2)
    graph.give("sets", graph.op("GreaterOrEqual", values, graph.double(0.2)), BOOL, 2)
    return graph.serialised(opset)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "bundle", SCHEMA, graph_of())
    return tmp_path / "bundle"


def rows(n_rows: int = 4) -> dict[str, np.ndarray]:
    texts = np.array(["rot", "", MISSING, "grün"], dtype=object)
    return {"x": np.linspace(-0.5, 1, n_rows), "Färbe": np.resize(texts, n_rows), "always": np.ones(n_rows)}


def refusal(folder: Path) -> str:
    with pytest.raises(BundleError) as error:
        Bundle.load(folder)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 2
    return str(error.value).replace(str(folder), "F")


# ---------------------------------------------------------------- written and read
@pytest.mark.parametrize("classes", [("no", "yes"), (0, 1), (False, True), (0.5, 1.0)])
def test_a_schema_is_read_as_it_was_written(classes: tuple[Label, ...], tmp_path: Path) -> None:
    schema = replace(SCHEMA, classes=classes)
    write_bundle(tmp_path, schema, graph_of())
    found = Bundle.load(tmp_path).schema
    assert found == schema
    assert [type(label) for label in found.classes] == [type(label) for label in classes]


def test_a_bundle_is_data_alone(folder: Path) -> None:
    assert sorted(file.name for file in folder.iterdir()) == [DESCRIPTION, MODEL]
    assert json.loads((folder / DESCRIPTION).read_text())["format"] == 1


def test_reading_and_predicting_load_nothing_heavy(folder: Path) -> None:
    script = (
        "import sys, numpy as np\n"
        "from pipeline.bundle import Bundle\n"
        f"bundle = Bundle.load({str(folder)!r})\n"
        "texts = np.array(['rot', ''], dtype=object)\n"
        "bundle.table(bundle.predict({'x': np.ones(2), 'Färbe': texts, 'always': np.ones(2)}))\n"
        f"print([name for name in {HEAVY} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# ---------------------------------------------------------------- predicting
def test_answers_follow_the_graph(folder: Path) -> None:
    found = Bundle.load(folder).predict(rows())
    logits = np.linspace(-0.5, 1, 4) + np.array([1, 2, 3, 0])
    np.testing.assert_allclose(found.values[:, 1], 1 / (1 + np.exp(-logits)))
    assert found.values.dtype == np.float64
    assert found.sets is not None
    np.testing.assert_array_equal(found.sets, found.values >= 0.2)
    assert found.low is None


@pytest.mark.parametrize("n_rows", [1, 2, 200_001])
def test_batches_of_any_size_give_the_rows_their_own_answers(folder: Path, n_rows: int) -> None:
    bundle, given = Bundle.load(folder, threads=2), rows(n_rows)
    found = bundle.predict(given)
    assert found.values.shape == (n_rows, 2)
    last = bundle.predict({name: column[-1:] for name, column in given.items()})
    np.testing.assert_array_equal(found.values[-1:], last.values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": None}, "column 'x': not given, and the model needs it"),
        ({"always": None}, "column 'always': not given, and the model needs it"),
        ({"more": np.ones(4)}, "column 'more': the model knows no such column"),
        ({"x": np.ones(3)}, "columns must be of one length, at least 1, got 3, 4"),
        (dict.fromkeys(("x", "Färbe", "always"), np.ones(0)), "columns must be of one length, at least 1, got 0"),
    ],
)
def test_columns_that_do_not_fit_are_refused(folder: Path, change: dict[str, Any], message: str) -> None:
    columns = {name: column for name, column in (rows() | change).items() if column is not None}
    with pytest.raises(BundleError) as error:
        Bundle.load(folder).predict(columns)
    assert str(error.value) == message


# ---------------------------------------------------------------- answers as columns
@pytest.mark.parametrize(
    ("classes", "names"),
    [
        (("no", "yes"), ("no", "yes")),
        ((3, 7), ("3", "7")),
        ((False, True), ("False", "True")),
        ((0.5, 1.0), ("0.5", "1")),
    ],
)
def test_classes_are_answered_as_the_data_has_them(
    classes: tuple[Label, ...], names: tuple[str, str], folder: Path
) -> None:
    bundle = Bundle.load(folder)
    bundle.schema = replace(SCHEMA, classes=classes)
    found = bundle.table(bundle.predict(rows()))
    assert list(found) == ["predicted", f"probability of {names[0]}", f"probability of {names[1]}", "set"]
    predicted = np.asarray(found["predicted"]).tolist()
    assert predicted == [classes[1], classes[1], classes[1], classes[1]]
    assert {type(label) for label in predicted} == {type(classes[1])}
    assert found["set"] == [[classes[0], classes[1]], [classes[1]], [classes[1]], [classes[0], classes[1]]]


def test_sets_of_many_classes_are_lists_of_their_labels(folder: Path) -> None:
    bundle, classes = Bundle.load(folder), tuple(range(100, 120))
    bundle.schema = replace(SCHEMA, task="multiclass", classes=classes)
    sets = np.random.default_rng(0).random((50, 20)) < 0.3
    found = bundle.table(Predictions(np.ones((50, 20)), sets=sets))
    assert found["set"] == [[label for label, is_in in zip(classes, row, strict=True) if is_in] for row in sets]


def test_values_are_answered_with_their_interval(tmp_path: Path) -> None:
    write_bundle(tmp_path, replace(SCHEMA, task="regression", classes=()), graph_of("regression"))
    bundle = Bundle.load(tmp_path)
    found = bundle.table(bundle.predict(rows()))
    assert list(found) == ["predicted", "low", "high"]
    np.testing.assert_allclose(found["low"], np.asarray(found["predicted"]) - 1)
    np.testing.assert_allclose(found["high"], np.asarray(found["predicted"]) + 2)


def test_several_targets_are_told_apart_by_name(folder: Path) -> None:
    bundle = Bundle.load(folder)
    bundle.schema = replace(SCHEMA, task="regression", targets=("a", "b"), classes=())
    values = np.array([[1.0, 2.0]])
    found = bundle.table(Predictions(values, values - 1, values + 1))
    assert {name: np.asarray(column).tolist() for name, column in found.items()} == {
        "predicted a": [1.0], "low a": [0.0], "high a": [2.0], "predicted b": [2.0], "low b": [1.0], "high b": [3.0],
    }  # fmt: skip


# ---------------------------------------------------------------- broken ones
def test_a_folder_that_is_no_bundle_is_refused(folder: Path) -> None:
    (folder / MODEL).unlink()
    assert refusal(folder) == "bundle F: model.onnx cannot be read: No such file or directory"
    (folder / DESCRIPTION).unlink()
    assert refusal(folder) == "bundle F: bundle.json cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("?", "bundle F: bundle.json is not JSON: Expecting value: line 1 column 1 (char 0)"),
        ("[]", "bundle F: bundle.json has format None, this version reads 1"),
        ('{"format": 2}', "bundle F: bundle.json has format 2, this version reads 1"),
        ('{"format": 1}', "bundle F: bundle.json is not as it is written: 'schema'"),
        ('{"format": 1, "schema": {"columns": [{}]}}', "bundle F: bundle.json is not as it is written: 'levels'"),
    ],
)
def test_a_description_that_is_not_one_is_refused(folder: Path, content: str, message: str) -> None:
    (folder / DESCRIPTION).write_text(content)
    assert refusal(folder) == message


def test_a_model_that_was_changed_is_refused(folder: Path) -> None:
    (folder / MODEL).write_bytes((folder / MODEL).read_bytes() + b" ")
    assert refusal(folder) == "bundle F: model.onnx is not the one that bundle.json describes"


@pytest.mark.parametrize("model", [b"", b"nonsense", graph_of(opset=999)])
def test_a_model_that_cannot_be_loaded_is_refused(tmp_path: Path, model: bytes) -> None:
    write_bundle(tmp_path, SCHEMA, model)
    assert refusal(tmp_path).startswith("bundle F: model.onnx cannot be loaded: ")


# ---------------------------------------------------------------- moments
@pytest.mark.parametrize(
    ("microseconds", "seconds"),
    [(0, 0.0), (1_500_000, 1.5), (-1, -1e-6), (-1_500_000, -1.5), (1_700_000_000_123_456, 1_700_000_000.123456)],
)
def test_moments_are_seconds_since_1970(microseconds: int, seconds: float) -> None:
    assert seconds_of(np.array([microseconds])).tolist() == [seconds]


@pytest.mark.parametrize("year", [0, 1600, 2300, 9999])
def test_the_last_microsecond_of_a_day_stays_in_it(year: int) -> None:
    moment = np.datetime64(f"{year:04d}-12-31T23:59:59.999999", "us").astype(np.int64)
    (found,) = seconds_of(np.array([moment])).tolist()
    assert found // 86400 == moment // (86400 * 10**6)
    assert found == pytest.approx(moment / 1e6, abs=1e-4)


def test_graph_types_are_onnx_own() -> None:
    assert (FLOAT, DOUBLE, BOOL) == (1, 11, 9)
