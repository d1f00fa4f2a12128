"""Evaluation on the test rows, and the predictions as a file."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import accuracy_score, root_mean_squared_error
from torch import nn

from pipeline.calibration import Calibration
from pipeline.config import Config
from pipeline.data.datamodule import TableDataModule
from pipeline.evaluate import Evaluation, evaluate, predictions_parquet
from pipeline.importance import Importance
from pipeline.losses import build_loss
from pipeline.networks import build_network
from pipeline.train import train
from tests.conftest import mixed_frame, quick, write_csv


def ready(config: Config) -> tuple[TableDataModule, nn.Module]:
    data = TableDataModule(config)
    data.setup()
    torch.manual_seed(0)
    return data, build_network(config.model, data.features)


def evaluated(config: Config, *, double: bool = False) -> tuple[TableDataModule, Evaluation]:
    data, network = ready(config)
    network = network.double() if double else network
    return data, evaluate(network, build_loss(config.loss, data.features), data, seed=0)


def test_classes_agree_with_scikit_learn() -> None:
    data, found = evaluated(quick())
    np.testing.assert_allclose(found.prediction.sum(axis=1), 1)
    truth = data.table.targets.iloc[data.splits.test, 0]
    assert found.y.tolist() == truth.tolist()
    accuracy = found.metrics["accuracy"]
    assert accuracy.value == pytest.approx(accuracy_score(truth, found.prediction.argmax(axis=1)))
    assert accuracy.low <= accuracy.value <= accuracy.high
    assert set(found.importance.names) == set(data.table.frame)


def test_values_are_in_the_targets_own_unit() -> None:
    data, found = evaluated(quick("data=diabetes"))
    truth = data.table.targets.iloc[data.splits.test].to_numpy()
    np.testing.assert_array_equal(found.y, truth)
    assert found.prediction.mean() == pytest.approx(truth.mean(), rel=0.5)
    assert found.metrics["rmse"].value == pytest.approx(root_mean_squared_error(truth, found.prediction))


def test_a_network_trained_in_double_precision_is_evaluated_in_it() -> None:
    (_, single), (_, double) = (evaluated(quick("data=diabetes"), double=precise) for precise in (False, True))
    assert double.prediction.tolist() != single.prediction.tolist()
    np.testing.assert_allclose(double.prediction, single.prediction, rtol=1e-4)


def test_the_column_behind_the_target_comes_first(tmp_path: Path) -> None:
    frame = mixed_frame(400)[["count", "x"]].assign(y=lambda table: 3 * table["x"] + 1)
    path = write_csv(tmp_path / "t.csv", frame)
    config = quick("data=csv", f"data.path={path}", "data.target=y", "model.hidden=[]", "model.init=zeros")
    data, network = ready(config)
    with torch.no_grad():
        next(network.parameters())[0, [number.name for number in data.preprocessor.numbers_].index("x")] = 1
    importance = evaluate(network, build_loss(config.loss, data.features), data, seed=0).importance
    assert importance.names == ("x", "count")
    assert importance.mean[0] > 0.5
    assert importance.mean[1] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("model", "lr"),
    [("mlp", 0.01), ("tabm", 0.01), ("realmlp", 0.2), ("resnet", 0.01), ("ft_transformer", 0.01),
     ("tabm trainer.folds=2", 0.01)],
)  # fmt: skip
def test_in_a_table_too_wide_to_shuffle_each_column_the_one_behind_the_target_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, lr: float
) -> None:
    monkeypatch.setattr("pipeline.importance.MAX_WORK", 1)
    monkeypatch.setattr("pipeline.importance.MIN_COLUMNS", 2)
    numbers = np.random.default_rng(0).normal(size=(400, 8))
    frame = pd.DataFrame(numbers, columns=[f"x{i}" for i in range(8)]).assign(y=numbers[:, 5] > 0)
    asked = ["data=csv", f"data.path={write_csv(tmp_path / 't.csv', frame)}", "data.target=y", "trainer.max_epochs=20"]
    seen: list[Evaluation] = []

    def kept(*given: Any, **named: Any) -> Evaluation:
        seen.append(evaluate(*given, **named))
        return seen[0]

    monkeypatch.setattr("pipeline.train.evaluate", kept)
    train(quick(*asked, *f"model={model} optimizer.lr={lr}".split()))
    importance = seen[0].importance
    assert importance.names[0] == "x5"
    assert importance.mean[0] > 0.1
    assert np.isnan(importance.mean).tolist() == [False, False, *[True] * 6]


NO_IMPORTANCE = Importance((), np.zeros(0), np.zeros(0))


def read(
    y: np.ndarray, prediction: np.ndarray, *, classes: tuple[str, ...] = (), targets: tuple[str, ...]
) -> pd.DataFrame:
    rows = np.array([4, 0])
    found = Evaluation(y, prediction, prediction, {}, NO_IMPORTANCE, Calibration(0.9), {}, {})
    return pd.read_parquet(io.BytesIO(predictions_parquet(found, rows, classes=classes, targets=targets)))


def test_parquet_of_classes_has_labels_and_a_probability_each() -> None:
    frame = read(np.array([1, 0]), np.array([[0.2, 0.8], [0.4, 0.6]]), classes=("no", "yes"), targets=("bought",))
    assert frame.to_dict("list") == {
        "row": [5, 1],
        "bought": ["yes", "no"],
        "predicted": ["yes", "yes"],
        "probability of no": [0.2, 0.4],
        "probability of yes": [0.8, 0.6],
    }


def test_parquet_of_values_has_truth_and_prediction_of_each_target() -> None:
    frame = read(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.5, 2.5], [3.5, 4.5]]), targets=("a", "b"))
    assert frame.to_dict("list") == {
        "row": [5, 1],
        "a": [1.0, 3.0],
        "predicted a": [1.5, 3.5],
        "b": [2.0, 4.0],
        "predicted b": [2.5, 4.5],
    }
