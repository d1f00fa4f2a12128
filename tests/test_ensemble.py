"""Ensembles: networks side by side are those that they are alone."""

import logging
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from pipeline.config import Config
from pipeline.data.datamodule import TableDataModule
from pipeline.loop import Checkpoint
from pipeline.module import TableModule
from pipeline.networks import NETWORKS, build_ensemble, build_network, is_trained_apart
from pipeline.networks.ensemble import Ensemble
from pipeline.outputs import run_network
from pipeline.train import train
from tests.conftest import mixed_frame, quick, write_csv

STILL = {  # no dropout: its masks are drawn for all networks at once
    "mlp": ["model.dropout=0"],
    "realmlp": ["model.dropout=0"],
    "tabm": ["model.dropout=0"],
    "resnet": ["model.dropout=0", "model.residual_dropout=0"],
    "ft_transformer": ["model.dropout=0", "model.attention_dropout=0", "model.residual_dropout=0"],
}


class Kept(pl.Callback):
    """The module and the checkpoint of a fit."""

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TableModule)
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        self.module, self.checkpoint = pl_module, next(each for each in callbacks if isinstance(each, Checkpoint))


def mixed_table(tmp_path: Path, target: str = "bought") -> list[str]:
    frame = mixed_frame(120).drop(columns={"amount", "second", "bought", "grade"} - {target})
    return ["data=csv", f"data.path={write_csv(tmp_path / 't.csv', frame)}", f"data.target={target}"]


def mixed(tmp_path: Path, *overrides: str, model: str = "mlp", target: str = "bought") -> Config:
    """A run in double precision on a small table with numbers, one-hot and embedded categories."""
    asked = [*mixed_table(tmp_path, target), f"model={model}"]
    short = ["preprocess.max_onehot=3", "trainer.batch_size=16", "trainer.max_epochs=4", "trainer.precision=64-true"]
    return quick(*asked, *STILL[model], *short, "baselines=[]", *overrides)


def trained(config: Config) -> Kept:
    kept = Kept()
    train(config, [kept])
    return kept


def answers(config: Config, kept: Kept) -> Tensor:
    data = TableDataModule(config)
    data.setup()
    return run_network(kept.module.network, data.test)


# ---------------------------------------------------------------- the pass
@pytest.mark.parametrize("model", NETWORKS)
@pytest.mark.parametrize("target", ["bought", "amount"])
@pytest.mark.parametrize("training", [True, False])
def test_outputs_are_those_of_each_network_side_by_side(
    tmp_path: Path, model: str, target: str, *, training: bool
) -> None:
    config = mixed(tmp_path, model=model, target=target)
    data = TableDataModule(config)
    data.setup()
    networks = []
    for seed in range(3):
        torch.manual_seed(seed)
        networks.append(build_network(config.model, data.features).train(training))
    num, cat, _ = (torch.from_numpy(array[:20]) for array in data.train)
    whole = build_ensemble(networks).train(training)(num, cat)
    torch.testing.assert_close(whole, torch.cat([network(num, cat) for network in networks], dim=1))


@pytest.mark.parametrize("model", NETWORKS)
def test_a_networks_weights_have_their_part_of_the_whole(tmp_path: Path, model: str) -> None:
    config = mixed(tmp_path, model=model)
    data = TableDataModule(config)
    data.setup()
    networks = [build_network(config.model, data.features) for _ in range(3)]
    whole = build_ensemble(networks)
    assert isinstance(whole, Ensemble)
    for number, network in enumerate(networks):
        own = sorted(float(p.detach().double().sum()) for p in network.parameters())
        parts = whole.parts({name: p.detach() for name, p in whole.named_parameters()}, number)
        assert sorted(float(p.double().sum()) for p in parts) == pytest.approx(own, rel=1e-6)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("model", ["tabm", "resnet", "ft_transformer"])
def test_networks_in_threads_are_those_that_take_turns_dropout_included(
    tmp_path: Path, model: str, precision: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = quick(*mixed_table(tmp_path), f"model={model}", "trainer.folds=3", f"trainer.precision={precision}")
    found = {}
    for n_cores, told in ((1, "1 torch thread\n"), (2, "1 torch thread, 2 networks at a time\n")):
        monkeypatch.setattr("pipeline.threads.cores", lambda n=n_cores: n)
        with caplog.at_level(logging.INFO, "pipeline"):
            found[n_cores] = train(config)
        assert told in caplog.text
        assert found[n_cores].threads == n_cores
    for one, two in zip(found[1].history, found[2].history, strict=True):
        assert {**two, "time/epoch": 0} == {**one, "time/epoch": 0}


def test_networks_that_are_computed_at_once_have_no_threads() -> None:
    for model in NETWORKS:
        config = quick(f"model={model}", "trainer.folds=2")
        data = TableDataModule(config)
        data.setup()
        network = build_ensemble([build_network(config.model, data.features) for _ in range(2)])
        assert is_trained_apart(network) == (model not in ("mlp", "realmlp"))


def test_one_network_stays_itself() -> None:
    network = nn.Linear(1, 1)
    assert build_ensemble([network]) is network


# ---------------------------------------------------------------- training
@pytest.mark.parametrize("target", ["bought", pytest.param("amount", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("model", "settings"),
    [
        *(pytest.param(model, "", marks=[] if model == "mlp" else [pytest.mark.slow]) for model in NETWORKS),
        ("mlp", "loss=cross_entropy loss.class_weight=balanced"),
        ("mlp", "trainer.gradient_clip_val=0.01 optimizer=sgd optimizer.lr=1"),
        ("resnet", "trainer.gradient_clip_val=0.01 optimizer=sgd optimizer.lr=1"),
        ("mlp", "trainer.gradient_clip_val=0.01 trainer.gradient_clip_algorithm=value optimizer=sgd"),
        ("mlp", "trainer.accumulate_grad_batches=3 scheduler=one_cycle"),
        ("mlp", "trainer.ema_epochs=2 trainer.max_epochs=40 trainer.patience=2 optimizer.lr=0.05"),
        ("mlp", "scheduler=step scheduler.warmup_epochs=1.5 optimizer=momentum"),
        ("mlp", "trainer.max_epochs=40 trainer.patience=2 optimizer.lr=0.05 trainer.monitor=val/loss"),
    ],
)
def test_networks_trained_side_by_side_are_those_of_runs_with_their_seeds(
    tmp_path: Path, model: str, settings: str, target: str
) -> None:
    """Whatever is trained with, and each with its own best epoch."""
    if "class_weight" in settings and target == "amount":
        target = "grade"
    asked = {"model": model, "target": target}
    config = mixed(tmp_path, *settings.split(), "trainer.seeds=3", "seed=5", **asked)
    whole = trained(config)
    found = answers(config, whole).chunk(3, dim=1)
    for number, own in enumerate(found):
        alone = mixed(tmp_path, *settings.split(), f"seed={5 + number}", **asked)
        kept = trained(alone)
        assert kept.checkpoint.best_epoch == whole.checkpoint.best_epochs[number]
        torch.testing.assert_close(own, answers(alone, kept), rtol=1e-6, atol=1e-7)


def test_training_ends_when_the_last_network_has_stopped(tmp_path: Path) -> None:
    config = mixed(tmp_path, "trainer.max_epochs=100", "trainer.patience=2", "optimizer.lr=0.05", "trainer.seeds=4")
    kept = Kept()
    result = train(config, [kept])
    best = kept.checkpoint.best_epochs
    assert len(set(best)) > 1
    assert result.n_epochs == max(best) + 2
    assert result.best_epoch == max(best)


@pytest.mark.parametrize("model", NETWORKS)
def test_a_network_of_folds_learns_nothing_of_the_rows_held_out_from_it(tmp_path: Path, model: str) -> None:
    """Other targets of one fold change every network but that fold's own, which has one epoch to choose from."""
    config = mixed(tmp_path, "trainer.folds=3", "trainer.max_epochs=1", model=model, target="amount")
    data = TableDataModule(config)
    data.setup()
    assert data.folds is not None
    rows = data.splits.train[data.folds.held[1].numpy()]
    shuffled = mixed_frame(120)["amount"].to_numpy().copy()
    shuffled[rows] = shuffled[rows][::-1]
    first = answers(config, trained(config)).chunk(3, dim=1)
    frame = mixed_frame(120).drop(columns=["second", "bought", "grade"]).assign(amount=shuffled)
    write_csv(tmp_path / "t.csv", frame)
    second = answers(config, trained(config)).chunk(3, dim=1)
    alike = [torch.allclose(a, b, rtol=1e-6, atol=1e-7) for a, b in zip(first, second, strict=True)]
    assert alike == [False, True, False]


# ---------------------------------------------------------------- a run
def test_validation_metrics_are_out_of_fold(tmp_path: Path) -> None:
    """Targets that nothing tells are learned by heart, and not foretold."""
    frame = mixed_frame(120)[["x", "count"]].assign(amount=torch.randn(120).numpy())
    config = mixed(tmp_path, "trainer.folds=4", "trainer.max_epochs=60", "optimizer.lr=0.02", "trainer.patience=null",
                   "trainer.monitor=val/loss", target="amount")  # fmt: skip
    write_csv(tmp_path / "t.csv", frame)
    result = train(config)
    assert result.val["val/r2"] < 0.2
    assert result.history[-1]["val/r2"] < 0 < result.history[-1]["epoch"]


@pytest.mark.parametrize("model", NETWORKS)
def test_the_exported_graph_averages_the_networks(tmp_path: Path, root: Path, model: str) -> None:
    """A run whose graph answers otherwise than its networks has a fault."""
    settings = ["tracking=mlflow", f"tracking.root={root}", "trainer.precision=32-true"]
    result = train(mixed(tmp_path, "trainer.folds=2", "trainer.seeds=2", *settings, model=model))
    assert (result.status, result.fault) == ("FINISHED", "")
    assert result.prediction is not None
    assert set(result.alone) == set(result.test)


def test_averaging_gains_what_the_networks_do_not_have_alone(tmp_path: Path) -> None:
    """The squared error of a mean is at most the mean of squared errors (Krogh and Vedelsby 1995)."""
    result = train(mixed(tmp_path, "trainer.seeds=3", target="amount"))
    assert result.test["rmse"].value < result.alone["rmse"]
    assert train(mixed(tmp_path, target="amount")).alone == {}
