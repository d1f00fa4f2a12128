"""TabM: the values, gradients and dropout of the package's backbone, computed a member at a time."""

import pytest
import torch
from torch import Tensor, nn

from pipeline.compose import load_config
from pipeline.networks import build_network
from pipeline.networks.tabm import TabM
from pipeline.types import Features

FEATURES = Features("multiclass", 3, (12,), 4, (5, 5, 5, 5), edges=((-1.0, 0.0, 1.0),) * 2)
N_ROWS = 96
ORDERS = (N_ROWS, 4)  # factors go into weights, and into rows
SMALL = ("model.n_members=5", "model.n_blocks=3", "model.d_block=16")


def built(*overrides: str) -> TabM:
    torch.manual_seed(0)
    network = build_network(load_config(["model=tabm", *SMALL, *overrides]).model, FEATURES)
    assert isinstance(network, TabM)
    for parameter in network.parameters():  # factors other than the ones that they start from
        nn.init.normal_(parameter, std=0.5)
    return network.double()


def of_the_package(network: TabM, num: Tensor, cat: Tensor) -> Tensor:
    out: Tensor = network.output(network.backbone(network.view(network.inputs(num, cat))))
    return out


@pytest.fixture
def rows() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(N_ROWS, 3, dtype=torch.float64), torch.randint(12, (N_ROWS, 1))


@pytest.mark.parametrize("n_rows", ORDERS)
@pytest.mark.parametrize("overrides", [(), ("model.num_embedding=none",), ("model.variant=tabm-mini",)])
def test_values_and_gradients_are_the_packages(
    overrides: tuple[str, ...], n_rows: int, rows: tuple[Tensor, Tensor]
) -> None:
    network = built("model.dropout=0", *overrides)
    some = [tensor[:n_rows] for tensor in rows]
    ours, theirs = network(*some), of_the_package(network, *some)
    torch.testing.assert_close(ours, theirs)
    weighed = torch.randn_like(ours)
    names, parameters = zip(*network.named_parameters(), strict=True)
    for name, mine, its in zip(
        names,
        torch.autograd.grad((weighed * ours).sum(), parameters),
        torch.autograd.grad((weighed * theirs).sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(mine, its, msg=name)


@pytest.mark.parametrize("n_rows", ORDERS)
def test_mixed_precision_is_near_the_full_one_and_leaves_gradients_full(
    n_rows: int, rows: tuple[Tensor, Tensor]
) -> None:
    network = built("model.dropout=0").float()
    num, cat = rows[0][:n_rows].float(), rows[1][:n_rows]
    full = network(num, cat)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = network(num, cat)
    assert float((mixed - full).detach().abs().max() / full.detach().abs().max()) < 0.05
    assert not torch.equal(mixed, full)
    weighed, parameters = torch.randn_like(full), list(network.parameters())
    pairs = [torch.autograd.grad((weighed * out).sum(), parameters) for out in (full, mixed.float())]
    for its, mine in zip(*pairs, strict=True):
        assert mine.dtype == torch.float32
        assert float((mine - its).norm() / its.norm()) < 0.15


@pytest.mark.parametrize("n_rows", ORDERS)
def test_gradients_with_dropout_are_those_of_the_values(n_rows: int, rows: tuple[Tensor, Tensor]) -> None:
    network = built("model.dropout=0.4")
    weight = network.backbone.blocks[0][0].weight

    def value() -> Tensor:
        torch.manual_seed(3)  # the same masks
        network.train()
        total: Tensor = network(*(tensor[:n_rows] for tensor in rows)).square().sum()
        return total

    (slope,) = torch.autograd.grad(value(), weight)
    with torch.no_grad():
        for place in ((0, 0), (5, 3), (15, 7)):
            step = torch.zeros_like(weight)
            step[place] = 1e-6
            weight += step
            above = value()
            weight -= 2 * step
            below = value()
            weight += step
            assert float((above - below) / 2e-6) == pytest.approx(float(slope[place]), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("p", [1e-12, 1 - 1e-6])
def test_the_ends_of_the_range_of_dropout_are_met(p: float, rows: tuple[Tensor, Tensor]) -> None:
    assert bool(built(f"model.dropout={p:.12f}")(*rows).isfinite().all())


def test_dropout_keeps_the_mean_and_stops_in_evaluation(rows: tuple[Tensor, Tensor]) -> None:
    network = built("model.n_blocks=1", "model.dropout=0.4")
    with torch.no_grad():
        drawn = torch.stack([network(*rows) for _ in range(1000)])
        network.eval()
        still = network(*rows)
        assert torch.equal(still, network(*rows))
    error = drawn.std(0) / drawn.shape[0] ** 0.5
    assert float(((drawn.mean(0) - still) / error).abs().max()) < 5  # standard errors, of 1920 values
