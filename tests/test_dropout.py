"""Dropout: the share that goes, the mean that stays, the same masks for the same seed."""

import pytest
import torch

from pipeline.networks.dropout import DRAWN, Dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("width", [64, 63, 1])
def test_drops_the_asked_share_and_keeps_the_mean(p: float, width: int) -> None:
    torch.manual_seed(0)
    out = Dropout(p)(torch.ones(300_000 // width, width))
    assert float((out == 0).float().mean()) == pytest.approx(p, abs=0.005)
    assert float(out.max()) == pytest.approx(1 / (1 - p))
    assert float(out.mean()) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("p", [1e-12, 1 - 1e-6, 1 - 1e-12])
def test_the_ends_of_the_range_are_met(p: float) -> None:
    torch.manual_seed(0)
    out = Dropout(p)(torch.ones(100, 10))
    assert set(out.unique().tolist()) <= {0.0, float(torch.tensor(1 / (1 - p)))}


def test_gradients_pass_where_values_do() -> None:
    torch.manual_seed(0)
    x = torch.ones(50, 10, requires_grad=True)
    out = Dropout(0.4)(x)
    out.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, out.detach())


def test_the_seed_decides_the_masks_of_an_epoch_whatever_came_before() -> None:
    layer, x, last = Dropout(0.5), torch.ones(20, 7), torch.ones(3, 7)

    def epoch() -> list[torch.Tensor]:
        torch.manual_seed(1)
        layer.eval()
        layer.train()
        return [layer(batch) for batch in (x, x, last)]

    first = epoch()
    assert not torch.equal(first[0], first[1])
    assert all(torch.equal(*pair) for pair in zip(first, epoch(), strict=True))


def test_a_layer_that_has_begun_draws_the_same_whatever_others_draw_meanwhile() -> None:
    def masks(*others: Dropout) -> list[torch.Tensor]:
        torch.manual_seed(0)
        layer = Dropout(0.5)
        layer.begin()
        return [[own(x) for own in (*others, layer)][-1] for _ in range(3)]

    x = torch.ones(200, 100)
    assert all(torch.equal(*pair) for pair in zip(masks(), masks(Dropout(0.5), Dropout(0.3)), strict=True))


def test_masks_drawn_at_once_differ_from_one_another() -> None:
    torch.manual_seed(0)
    layer, x = Dropout(0.5), torch.ones(10, 10)
    masks = {tuple(layer(x).flatten().tolist()) for _ in range(500)}
    assert len(masks) == 500


def test_each_draw_of_an_epoch_is_of_twice_as_many_masks_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, kept = [], Dropout.kept

    def counted(self: Dropout, n: int, dtype: torch.dtype) -> torch.Tensor:
        drawn.append(n)
        return kept(self, n, dtype)

    monkeypatch.setattr(Dropout, "kept", counted)
    layer, x = Dropout(0.5), torch.ones(DRAWN // 4)
    for _ in range(8):
        layer(x)
    assert drawn == [len(x), 2 * len(x), 4 * len(x), 4 * len(x)]
    layer.train()
    layer(torch.ones(DRAWN + 1))
    layer(torch.ones(DRAWN + 1))
    assert drawn[4:] == [DRAWN + 1] * 2


def test_evaluation_leaves_values_alone() -> None:
    x = torch.randn(5, 3)
    assert torch.equal(Dropout(0.5).eval()(x), x)
