"""The evidence: constants, a linear model and single columns, against what is known of them."""

import numpy as np
import pytest

from pipeline.compose import load_config
from pipeline.data.datamodule import TableDataModule
from pipeline.doctor import gathering
from pipeline.fitting import build_module
from pipeline.networks import build_network


@pytest.mark.parametrize(("name", "n_classes"), [("iris", 3), ("breast_cancer", 2)])
def test_a_constant_answer_costs_the_entropy_of_the_classes(name: str, n_classes: int) -> None:
    data = TableDataModule(load_config([f"data={name}", "tracking=none"]))
    data.setup()
    module = build_module(data.config, data, build_network(data.config.model, data.features), 1)
    shares = np.array(data.features.class_counts) / sum(data.features.class_counts)
    best, neutral = gathering._constant_losses(module, data.train, data.features.task)
    assert best == pytest.approx(-float((shares * np.log(shares)).sum()), rel=1e-5)
    assert neutral == pytest.approx(np.log(n_classes), rel=1e-5)


def test_a_column_tells_no_more_than_can_be_told_on_other_rows() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 600)
    assert gathering._share(y, y, "binary") == pytest.approx(1 - 2 * 3 / 600, abs=0.01)  # three rows count as missed
    assert gathering._share(rng.integers(0, 50, 600), y, "binary") < 0.1
    assert gathering._share(np.arange(600), y, "binary") < 0.1  # an id, which fits each row by heart
    assert gathering._share(rng.integers(0, 10, 600), rng.normal(size=600), "regression") < 0.1


def test_one_hot_columns_are_one_code_and_numbers_are_cut_at_quantiles() -> None:
    (codes,) = gathering._binned(np.array([[1, 0], [0, 1], [0, 0]], np.float32))
    assert codes.tolist() == [1, 2, 0]
    (codes,) = gathering._binned(np.linspace(0, 1, 80, dtype=np.float32)[:, None])
    assert np.bincount(codes).tolist() == [20, 20, 20, 20]


def iris(*overrides: str) -> TableDataModule:
    data = TableDataModule(load_config(["data=iris", "tracking=none", *overrides]))
    data.setup()
    return data


def test_the_loss_of_a_linear_model_is_compared_row_by_row() -> None:
    y = np.array([0, 1] * 50)
    network, linear = (np.where(np.eye(2)[y] == 1, sure, 1 - sure) for sure in (0.5, 0.8))
    found = gathering._lower_loss(iris(), y, network, linear)
    assert found == pytest.approx([np.log(0.8 / 0.5)] * 3)


def test_another_loss_than_that_of_the_linear_model_is_not_compared() -> None:
    y = np.zeros((5, 1))
    assert gathering._lower_loss(iris("data=diabetes", "loss=mae"), y, y, y) is None
