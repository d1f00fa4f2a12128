"""The learning-rate range test: what it chooses of a curve, and what it leaves as it was."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.compose import load_config
from pipeline.data.datamodule import TableDataModule
from pipeline.errors import TrainingError
from pipeline.lr_range import N_STEPS, RangeTest, _chosen, resolved
from pipeline.networks import build_network
from pipeline.tracking import config_file, connect
from pipeline.train import train
from tests.conftest import quick

RATES = np.geomspace(1e-6, 10, 71)  # ten a decade


def curve(start: float, lowest: float, end: float) -> np.ndarray:
    """A loss that falls from 2 to 1 between two rates, along their logarithm, and rises behind the second."""
    return np.interp(np.log(RATES), np.log([start, lowest, end]), [2.0, 1.0, 9.0])


@pytest.mark.parametrize(("start", "lowest", "rate"), [(1e-4, 1e-2, 1e-3), (1e-3, 1e-1, 1e-2)])
def test_the_rate_is_where_the_loss_has_fallen_half_way(start: float, lowest: float, rate: float) -> None:
    found = _chosen(RATES, curve(start, lowest, 10))
    assert found.rate == pytest.approx(rate, rel=0.3)
    assert found.line == (
        f"optimizer.lr=auto: {found.rate:g}, at which the loss had fallen half way to its lowest at {lowest:.2g}, "
        "in 71 steps from 1e-06 up (range test, Smith 2017)"
    )


def test_a_loss_that_ends_in_no_number_is_not_the_lowest() -> None:
    losses = curve(1e-4, 1e-2, 10)
    losses[-1] = np.nan
    assert _chosen(RATES, losses).rate == pytest.approx(1e-3, rel=0.3)


def test_where_the_loss_never_falls_a_rate_is_asked_for() -> None:
    with pytest.raises(TrainingError) as error:
        _chosen(RATES, np.full(len(RATES), 2.0))
    assert str(error.value) == (
        "optimizer.lr=auto: the loss fell at no rate from 1e-06 to 10; "
        "give a rate, as optimizer.lr=1e-3, and see model.init and preprocess"
    )


def ranged(*overrides: str) -> tuple[RangeTest, torch.nn.Module, torch.nn.Module]:
    config = load_config(["data=digits", "optimizer.lr=auto", "tracking=none", *overrides])
    data = TableDataModule(config)
    data.setup()
    networks = []
    for _ in range(2):
        torch.manual_seed(0)
        networks.append(build_network(config.model, data.features))
    before = torch.random.get_rng_state()
    changed, found = resolved(config, data, networks[0])
    assert torch.equal(before, torch.random.get_rng_state())
    assert found is not None
    assert changed.optimizer.lr == found.rate
    return found, networks[0], networks[1]


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adagrad", "rmsprop", "adam", "adamw"])
def test_network_and_generators_stay_and_100_steps_are_enough(optimizer: str) -> None:
    found, network, twin = ranged(f"optimizer={optimizer}")
    assert len(found.rates) == len(found.losses) <= N_STEPS
    assert 1e-4 < found.rate < 1
    for tensor, other in zip(network.state_dict().values(), twin.state_dict().values(), strict=True):
        assert torch.equal(tensor, other)


def test_a_rate_that_is_a_number_stays() -> None:
    config = quick("optimizer.lr=0.5")
    assert resolved(config, None, None) == (config, None)  # type: ignore[arg-type]


def test_a_run_is_that_of_the_rate_found_and_keeps_curve_and_reason(root: Path) -> None:
    overrides = ("data=breast_cancer", "tracking=mlflow")
    result = train(quick(*overrides, "optimizer.lr=auto"))
    client = connect(str(root))
    run = client.get_run(result.run_id)
    rate = run.data.params["optimizer.lr"]
    assert float(rate) > 0
    assert run.data.tags["lr"] == "auto"
    assert run.data.tags["lr.found"].startswith(f"optimizer.lr=auto: {float(rate):g}, ")
    assert "figures/lr_range.png" in {file.path for file in client.list_artifacts(result.run_id, "figures")}
    assert f"lr: {rate}" in config_file(str(root), result.run_id).read_text()  # what a resumed run goes on with
    assert train(quick(*overrides, f"optimizer.lr={rate}")).test == result.test
