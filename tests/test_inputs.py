"""The vector that a network's first layer takes."""

import torch

from pipeline.compose import load_config
from pipeline.model_config import Mlp
from pipeline.networks.inputs import Inputs
from pipeline.types import Features

FEATURES = Features("binary", 3, (4, 30), 1, edges=((0.0, 1.0, 2.0), (0.0, 2.0)))


def inputs(*overrides: str) -> Inputs:
    torch.manual_seed(0)
    model = load_config(overrides).model
    assert isinstance(model, Mlp)
    return Inputs(model, FEATURES)


def test_values_stand_before_flags_before_categories() -> None:
    made, num = inputs("model.d_embedding=5"), torch.randn(6, 3)
    out = made(num, torch.ones(6, 2, dtype=torch.long))
    assert made.widths == [1, 1, 1, 5, 5]
    assert out.shape == (6, made.width)
    assert torch.equal(out[:, :3], num)


def test_only_continuous_columns_are_embedded() -> None:
    made, num = inputs("model.d_embedding=5", "model.num_embedding=pbld"), torch.randn(6, 3)
    out = made(num, torch.ones(6, 2, dtype=torch.long))
    assert made.widths == [4, 4, 1, 5, 5]
    assert out.shape == (6, 19)
    assert torch.equal(out[:, [3, 7, 8]], num)  # pbld keeps the value itself, last


def test_columns_that_are_not_there_take_no_room() -> None:
    model = load_config([]).model
    assert isinstance(model, Mlp)
    assert Inputs(model, Features("binary", 2, (), 1)).widths == [1, 1]
    assert Inputs(model, Features("binary", 0, (4,), 1)).width == 3
