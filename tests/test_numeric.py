"""Embeddings of continuous columns, against the formulas of their papers."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.compose import load_config
from pipeline.model_config import Mlp, ModelSection
from pipeline.networks.numeric import (
    NUM_EMBEDDINGS,
    PBLD,
    PBLD_FREQUENCIES,
    WIDTHS,
    build_num_embedding,
    num_embedding_width,
)

EDGES = ((-1.0, 0.0, 2.0), (0.0, 1.0), (-3.0, 3.0, 4.0, 5.0))


def section(**settings: Any) -> ModelSection:
    model = load_config(["model=mlp"]).model
    assert isinstance(model, Mlp)
    return Mlp.model_validate(model.model_dump() | settings)


@pytest.mark.parametrize("kind", NUM_EMBEDDINGS)
@pytest.mark.parametrize("width", [None, 6])
def test_each_column_becomes_so_many_numbers_of_its_own(kind: str, width: int | None) -> None:
    torch.manual_seed(0)
    config = section(num_embedding=kind, d_num_embedding=width)
    embedding = build_num_embedding(config, EDGES)
    assert embedding is not None
    x = torch.randn(7, 3)
    out = embedding(x)
    assert out.shape == (7, 3, width or WIDTHS[kind])
    assert num_embedding_width(config) == out.shape[2]
    moved = embedding(x + torch.tensor([0.0, 1.0, 0.0]))
    assert [torch.equal(moved[:, column], out[:, column]) for column in range(3)] == [True, False, True]


@pytest.mark.parametrize(("kind", "edges"), [("none", EDGES), ("pbld", ())])
def test_nothing_is_built_where_nothing_is_embedded(kind: str, edges: tuple[tuple[float, ...], ...]) -> None:
    assert build_num_embedding(section(num_embedding=kind), edges) is None
    assert num_embedding_width(section()) == 1


def test_pbld_is_cosines_mixed_beside_the_value() -> None:
    torch.manual_seed(0)
    embedding, x = PBLD(2, 4, 0.1), torch.randn(5, 2)
    parts = {name: value.detach().double().numpy() for name, value in embedding.named_parameters()}
    values = x.double().numpy()
    waves = np.cos(2 * math.pi * values[:, :, None] * parts["frequency"] + parts["phase"])
    mixed = np.einsum("bnf,nfd->bnd", waves, parts["weight"]) + parts["bias"].transpose(1, 0, 2)
    np.testing.assert_allclose(embedding(x).detach(), np.dstack([mixed, values]), atol=1e-5)


def test_the_first_frequencies_have_the_scale_asked_for() -> None:
    torch.manual_seed(0)
    for scale, expected in ((None, 0.1), (2.0, 2.0)):
        embedding = build_num_embedding(section(num_embedding="pbld", frequency_scale=scale), ((0.0, 1.0),) * 500)
        assert isinstance(embedding, PBLD)
        assert embedding.frequency.shape == (500, PBLD_FREQUENCIES)
        assert float(embedding.frequency.detach().std()) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"d_num_embedding": 8}, "d_num_embedding: needs a model.num_embedding, got none and 8"),
        (
            {"num_embedding": "piecewise_linear", "frequency_scale": 1.0},
            "frequency_scale: applies to model.num_embedding=pbld and periodic only, got piecewise_linear",
        ),
    ],
)
def test_a_setting_that_does_not_apply_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        section(**settings)
