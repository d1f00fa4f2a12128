"""Learned vectors for categorical columns."""

import pytest
import torch

from pipeline.networks.embeddings import CategoryEmbeddings, embedding_width


@pytest.mark.parametrize(("n_levels", "width"), [(2, 2), (10, 6), (100, 21), (1000, 50), (100_000, 50)])
def test_width_follows_fastais_rule(n_levels: int, width: int) -> None:
    assert embedding_width(n_levels) == width


def test_code_zero_starts_as_the_zero_vector_and_others_with_length_about_one() -> None:
    torch.manual_seed(0)
    vectors = CategoryEmbeddings((1000,), 64)(torch.arange(1000).unsqueeze(1)).detach()
    assert (vectors[0] == 0).all()
    assert float(vectors[1:].square().sum(dim=1).mean()) == pytest.approx(1, rel=0.05)


def test_columns_stand_side_by_side_each_from_its_own_table() -> None:
    embeddings = CategoryEmbeddings((3, 12), None)
    first, second = embedding_width(3), embedding_width(12)
    assert embeddings.widths == [first, second]
    out = embeddings(torch.tensor([[1, 11], [1, 4]]))
    assert out.shape == (2, first + second)
    assert torch.equal(out[0, :first], out[1, :first])
    assert torch.equal(out[0, first:], embeddings.tables[1].weight[11])  # type: ignore[index]


def test_a_level_without_training_rows_stays_where_it_was() -> None:
    embeddings = CategoryEmbeddings((4,), 3)
    (table,) = embeddings.parameters()
    before = table.detach().clone()
    optimizer = torch.optim.Adam(embeddings.parameters(), lr=0.1)
    embeddings(torch.tensor([[1], [2]])).sum().backward()
    optimizer.step()
    assert (table != before).any(dim=1).tolist() == [False, True, True, False]
