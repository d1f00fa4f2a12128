"""What a run delivers: a bundle that answers as its network does, or the row where it does not."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import pipeline.delivery
import pipeline.export
from pipeline.bundle import Bundle
from pipeline.compose import load_config
from pipeline.config import Config
from pipeline.data.datamodule import TableDataModule
from pipeline.data.raw import raw_values
from pipeline.data.sources import load_table
from pipeline.tracking import connect
from pipeline.train import train, try_out
from pipeline.types import Result
from tests.conftest import mixed_frame, quick, write_csv

pytestmark = pytest.mark.usefixtures("without_figures")

TARGETS = ("bought", "grade", "amount", "second")


def shop(tmp_path: Path, target: str, *overrides: str) -> Config:
    path = write_csv(tmp_path / "shop.csv", mixed_frame(300), drop=sorted(set(TARGETS) - set(target.split(","))))
    short = ["data=csv", f"data.path={path}", f"data.target=[{target}]" if "," in target else f"data.target={target}"]
    return load_config([*short, "trainer.max_epochs=2", "model.hidden=[8]", "baselines=[]", *overrides])


def bundle_dir(root: Path, run_id: str) -> Path:
    return root / "artifacts" / run_id / "artifacts" / "model" / "artifacts" / "bundle"


def tags(root: Path, result: Result) -> dict[str, str]:
    return connect(str(root)).get_run(result.run_id).data.tags


@pytest.mark.parametrize("target", ["bought", "grade", "amount", "amount,second"])
def test_a_run_leaves_a_bundle_that_answers_raw_rows_as_its_network_did(
    target: str, tmp_path: Path, root: Path
) -> None:
    config = shop(tmp_path, target)
    result = train(config)
    assert result.fault == ""
    assert tags(root, result)["parity"] == "passed"
    bundle = Bundle.load(bundle_dir(root, result.run_id))
    frame = pd.read_csv(config.data.path, parse_dates=["joined"])  # type: ignore[union-attr]
    predictions = pd.read_parquet(root / "artifacts" / result.run_id / "artifacts" / "predictions" / "test.parquet")
    rows = frame.iloc[predictions["row"] - 1].drop(columns=target.split(","))
    found = bundle.table(bundle.predict({str(name): raw_values(column) for name, column in rows.items()}))
    told = [name for name in map(str, predictions) if name.startswith("predicted")]
    if target in ("bought", "grade"):
        labels = np.asarray(found["predicted"])
        assert [str(label) for label in labels] == predictions["predicted"].tolist()
        assert set(labels) <= set(frame[target])  # of the data's own type
    else:
        ours = [name for name in found if name.startswith("predicted")]
        for own, one in zip(ours, told, strict=True):
            np.testing.assert_allclose(np.asarray(found[own]), predictions[one], rtol=1e-5)


def test_the_schema_tells_what_the_columns_held_and_what_was_reached(tmp_path: Path, root: Path) -> None:
    config = shop(tmp_path, "grade", "predict.coverage=0.8", "data.drop=[member]")
    result = train(config)
    schema = Bundle.load(bundle_dir(root, result.run_id)).schema
    assert (schema.name, schema.run_id, schema.task, schema.targets) == (
        "shop",
        result.run_id,
        "multiclass",
        ("grade",),
    )
    assert (schema.classes, schema.coverage) == ((0, 1, 2, 3), 0.8)
    assert [column.name for column in schema.columns] == ["x", "gappy", "count", "colour", "city", "joined"]
    by_name = {column.name: column for column in schema.columns}
    data = TableDataModule(config)
    data.setup()
    train_rows = pd.read_csv(config.data.path, parse_dates=["joined"]).iloc[data.splits.train]  # type: ignore[union-attr]
    assert (by_name["count"].low, by_name["count"].high) == (train_rows["count"].min(), train_rows["count"].max())
    assert by_name["count"].integer
    assert not by_name["x"].integer
    assert by_name["gappy"].missing
    assert not by_name["x"].missing
    assert by_name["colour"].levels == ("blue", "green", "red")
    assert not by_name["colour"].rare
    assert by_name["city"].rare
    first = train_rows.iloc[0]
    assert (by_name["x"].example, by_name["colour"].example) == (first["x"], first["colour"])
    assert by_name["joined"].example == first["joined"].timestamp()
    assert by_name["joined"].low == train_rows["joined"].min().timestamp()
    assert schema.metrics["test/accuracy"] == result.test["accuracy"].value
    assert schema.metrics["val/loss"] == result.val["val/loss"]
    assert schema.metrics["test/coverage"] == result.trust["coverage"]
    assert {"torch", "onnxruntime"} <= set(schema.versions)


def test_coverage_and_sizes_are_tracked(tmp_path: Path, root: Path) -> None:
    for target, size in (("grade", "mean_set_size"), ("amount", "mean_interval_width")):
        result = train(shop(tmp_path, target))
        metrics = connect(str(root)).get_run(result.run_id).data.metrics
        assert {"test/coverage", f"test/{size}"} <= set(metrics)
        assert metrics["test/coverage"] == result.trust["coverage"] > 0.7


def test_the_test_digest_is_that_of_the_same_test_rows(tmp_path: Path, root: Path) -> None:
    def digest(*overrides: str) -> str:
        result = train(shop(tmp_path, "grade", "trainer.max_epochs=1", *overrides))
        return Bundle.load(bundle_dir(root, result.run_id)).schema.test_digest

    first = digest()
    assert first == digest("seed=1", "preprocess=quantile", "model.hidden=[4]")
    assert first != digest("data.split_seed=1")


# ---------------------------------------------------------------- the gate
def test_a_bundle_that_answers_otherwise_than_its_network_is_told_with_the_worst_row(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = pipeline.export.export_model

    def forgetful(network: nn.Module, *others: Any) -> bytes:
        network = copy.deepcopy(network)
        with torch.no_grad():
            next(network.parameters()).mul_(1.5)
        return real(network, *others)

    monkeypatch.setattr(pipeline.delivery, "export_model", forgetful)
    result = train(load_config(["data=iris", "trainer.max_epochs=2"]))
    told = tags(root, result)
    assert told["parity"] == "failed"
    assert told["parity.fault"] == result.fault
    assert result.fault.startswith("row ")
    assert ": it answers 0." in result.fault
    assert ", the network 0." in result.fault
    assert "for sepal length (cm)=" in result.fault
    assert result.test["accuracy"].value > 0  # the rest of the run is kept
    row = int(result.fault.split()[1].removesuffix(":"))
    frame = load_table(load_config(["data=iris"]).data)[1].take("sepal length (cm)", np.arange(150))
    assert f"sepal length (cm)={np.float64(frame.iloc[row - 1])!r}" in result.fault


def test_a_bundle_that_cannot_be_made_costs_the_run_nothing_else(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> bytes:
        raise RuntimeError("no such operator\nand a stack")

    monkeypatch.setattr(pipeline.delivery, "export_model", broken)
    result = train(load_config(["data=iris", "trainer.max_epochs=2"]))
    assert result.fault == "the bundle cannot be made: RuntimeError: no such operator"
    assert (result.status, tags(root, result)["parity"]) == ("FINISHED", "failed")
    assert f"the run's bundle must not be used: {result.fault}" in caplog.text
    assert not bundle_dir(root, result.run_id).exists()


@pytest.mark.parametrize(
    ("preprocess", "precision"),
    [("none", "32-true"), ("robust", "64-true"), ("quantile", "bf16-mixed"), ("none", "64-true")],
)
def test_the_gate_lets_every_preprocessing_and_precision_pass(preprocess: str, precision: str, root: Path) -> None:
    overrides = [f"preprocess={preprocess}", f"trainer.precision={precision}", "trainer.max_epochs=1"]
    assert train(load_config(["data=diabetes", *overrides])).fault == ""


def test_nothing_is_exported_where_nobody_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline.delivery, "export_model", lambda *_: 1 / 0)
    assert train(quick()).fault == ""
    try_out(quick())
