"""The training module: steps, schedule, numbers of an epoch, and what does not change them."""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from pipeline.clock import Clock
from pipeline.config import Config
from pipeline.data.datamodule import TableDataModule, batch_rows, batches, steps_per_epoch
from pipeline.errors import TrainingError
from pipeline.fitting import build_trainer
from pipeline.loop import Validation
from pipeline.metrics import compute_metrics
from pipeline.module import TableModule
from pipeline.networks import build_network
from pipeline.optim import Span
from pipeline.outputs import predictions, run_network
from pipeline.train import try_out
from pipeline.validation import Scorer
from tests.conftest import quick

PLAIN = ("model.dropout=0", "model.batch_norm=false")


@dataclass
class Watch(pl.Callback):
    """What each step of the optimizer saw."""

    rates: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    largest: list[float] = field(default_factory=list)
    train_losses: list[float] = field(default_factory=list)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.optimizers[0].register_step_pre_hook(self._look)

    def _look(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        self.rates.append(optimizer.param_groups[0]["lr"])
        self.norms.append(float(torch.stack([g.norm() for g in gradients]).norm()))
        self.largest.append(max(float(g.abs().max()) for g in gradients))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TableModule)
        self.train_losses.append(pl_module.train_loss())


@dataclass
class Fitted:
    data: TableDataModule
    module: TableModule
    watch: Watch
    metrics: Mapping[str, float]

    @property
    def weights(self) -> Mapping[str, Tensor]:
        return self.module.network.state_dict()


def fit(config: Config) -> Fitted:
    data = TableDataModule(config)
    data.setup()
    torch.manual_seed(config.seed)
    network = build_network(config.model, data.features)
    n_batches = steps_per_epoch(len(data.train.y), batch_rows(config.trainer))
    span = Span(config.trainer.max_epochs, n_batches, config.trainer.accumulate_grad_batches, higher_is_better=False)
    module = TableModule(config, network, Scorer(config, data), span)
    watch, trainer = Watch(), build_trainer(config)
    trainer.callbacks += [Validation(data.validation_batches(), Clock()), watch]  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        trainer.fit(module, datamodule=data)
    return Fitted(data, module, watch, {name: float(value) for name, value in trainer.callback_metrics.items()})


def changed(config: Config, **trainer: Any) -> Config:
    return config.model_copy(update={"trainer": config.trainer.model_copy(update=trainer)})


def assert_equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
    assert all(torch.equal(first[name], second[name]) for name in first)


# ---------------------------------------------------------------- what changes nothing
@pytest.mark.parametrize(
    "settings",
    [
        [],
        ["trainer.accumulate_grad_batches=5"],
        ["trainer.gradient_clip_val=0.1"],
        ["scheduler=exponential", "scheduler.warmup_epochs=0.7"],
        ["scheduler=one_cycle"],
        ["scheduler=cosine", "optimizer=momentum", "trainer.accumulate_grad_batches=2"],
        ["trainer.precision=bf16-mixed"],
        ["trainer.batch_size=19", *PLAIN],
    ],
    ids=" ".join,
)
def test_steps_per_execution_changes_no_bit(settings: list[str]) -> None:
    config = quick("trainer.batch_size=8", *settings)
    one, seven, auto = (fit(changed(config, steps_per_execution=steps)) for steps in (1, 7, "auto"))
    for other in (seven, auto):
        assert_equal(one.weights, other.weights)
        assert one.metrics == other.metrics
        assert one.watch.train_losses == other.watch.train_losses


def test_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    config = quick("data=breast_cancer")
    first, again = fit(config), fit(config)
    assert_equal(first.weights, again.weights)
    assert first.metrics == again.metrics
    other = fit(config.model_copy(update={"seed": config.seed + 1}))
    assert all(
        not torch.equal(other.weights[name], first.weights[name]) for name in first.weights if "num_b" not in name
    )


@pytest.mark.parametrize(("size", "window", "whole"), [(16, 2, 32), (16, 4, 64), (8, 100, 96)])
def test_accumulated_mini_batches_are_one_large_one(size: int, window: int, whole: int) -> None:
    """Also where the epoch's last step gathers fewer of the 96 training rows."""
    config = quick(*PLAIN, "optimizer=momentum", "scheduler=cosine")
    parts = fit(changed(config, batch_size=size, accumulate_grad_batches=window))
    large = fit(changed(config, batch_size=whole))
    assert parts.module.n_steps == large.module.n_steps
    for name in large.weights:
        torch.testing.assert_close(parts.weights[name], large.weights[name], rtol=1e-4, atol=1e-6)


# ---------------------------------------------------------------- steps
def test_warm_up_scales_the_schedule_step_by_step() -> None:
    fitted = fit(
        quick("trainer.batch_size=16", "scheduler=exponential", "scheduler.gamma=0.5", "scheduler.warmup_epochs=1.5")
    )
    factors = [min(1, (step + 1) / 10) for step in range(12)]  # 6 steps an epoch, so 9 of warm-up
    assert fitted.watch.rates == pytest.approx([1e-3 * factors[step] * 0.5 ** (step // 6) for step in range(12)])
    assert fitted.module.learning_rate() == pytest.approx(1e-3 * 0.25)


@pytest.mark.parametrize(
    ("scheduler", "rates"),
    [
        (["scheduler=cosine"], [(1 + np.cos(np.pi * step / 6)) / 2 for step in range(6)]),
        (["scheduler=step", "scheduler.step_size=1"], [1, 1, 0.1, 0.1, 0.01, 0.01]),
    ],
)
def test_a_schedule_moves_by_the_step_or_by_the_epoch(scheduler: list[str], rates: list[float]) -> None:
    watch = fit(quick("trainer.batch_size=48", "trainer.max_epochs=3", *scheduler)).watch
    assert watch.rates == pytest.approx([1e-3 * rate for rate in rates])


def test_plateau_goes_by_the_monitored_metric() -> None:
    """A rate too small to change any prediction's class keeps the accuracy where it is, while the loss falls."""
    settings = ["scheduler=plateau", "scheduler.patience=0", "trainer.max_epochs=3", "trainer.batch_size=96", *PLAIN]
    accuracy = fit(quick(*settings, "optimizer.lr=1e-4", "trainer.monitor=val/accuracy")).watch.rates
    loss = fit(quick(*settings, "optimizer.lr=1e-4")).watch.rates
    assert accuracy == pytest.approx([1e-4, 1e-4, 1e-5])
    assert loss == pytest.approx([1e-4, 1e-4, 1e-4])


def test_clipping_bounds_the_norm_or_each_value() -> None:
    free = fit(quick()).watch
    assert min(free.norms) > 0.2
    assert min(free.largest) > 0.02
    norm = fit(quick("trainer.gradient_clip_val=0.2")).watch
    assert norm.norms == pytest.approx([0.2] * len(norm.norms), rel=1e-3)
    value = fit(quick("trainer.gradient_clip_val=0.02", "trainer.gradient_clip_algorithm=value")).watch
    assert value.largest == pytest.approx([0.02] * len(value.largest))


def test_dropout_and_weight_decay_fall_in_the_second_half_where_asked_for() -> None:
    settings = ["trainer.max_epochs=8", "model.dropout=0.4", "optimizer=adamw", "optimizer.weight_decay=0.1"]
    seen: list[tuple[float, float]] = []

    class Watch(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
            (share,) = (layer.p for layer in pl_module.modules() if isinstance(layer, nn.Dropout))
            decays = {group["weight_decay"] for group in trainer.optimizers[0].param_groups}
            seen.append((share, max(decays)))

    try_out(quick(*settings, "trainer.regularization_schedule=flat_cos"), [Watch()])
    strength = [1, 1, 1, 1, 1, (1 + math.cos(math.pi / 4)) / 2, 0.5, (1 - math.cos(math.pi / 4)) / 2]
    assert [share for share, _ in seen] == pytest.approx([0.4 * value for value in strength])
    assert [decay for _, decay in seen] == pytest.approx([0.1 * value for value in strength])


def test_an_average_of_the_weights_is_validated_and_the_weights_learn_as_without_it() -> None:
    settings = ("trainer.batch_size=8", "trainer.max_epochs=3", "optimizer.lr=0.05")
    without, averaged = fit(quick(*settings)), fit(quick(*settings, "trainer.ema_epochs=1"))
    assert_equal(without.weights, averaged.weights)
    assert without.module.kept is without.module.network
    assert without.metrics["val/loss"] != averaged.metrics["val/loss"]
    kept = averaged.module.kept
    moved = {name for name, weight in kept.named_parameters() if not torch.equal(weight, averaged.weights[name])}
    assert moved == {name for name, _ in kept.named_parameters()}
    (batch,) = batches(averaged.data.val)
    outputs = kept.eval()(batch.num, batch.cat)
    assert Scorer(averaged.module.config, averaged.data).together(outputs) == averaged.metrics


def test_step_count_makes_a_round_trip() -> None:
    first, second = fit(quick()).module, fit(quick("trainer.max_epochs=1")).module
    checkpoint: dict[str, Any] = {}
    first.on_save_checkpoint(checkpoint)
    second.on_load_checkpoint(checkpoint)
    assert (first.n_steps, second.n_steps) == (4, 4)


# ---------------------------------------------------------------- numbers of an epoch
def test_train_loss_is_the_mean_over_rows() -> None:
    """With a rate near 0, it is the loss of the network on the rows, though the mini-batches are unequal."""
    fitted = fit(quick(*PLAIN, "optimizer=sgd", "optimizer.lr=1e-12", "trainer.batch_size=40"))
    data, module = fitted.data, fitted.module
    whole = module.loss(run_network(module.network, data.train), torch.from_numpy(data.train.y))
    assert fitted.watch.train_losses == pytest.approx([float(whole)] * 2)


ERRORS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "auto": lambda e, s: e**2,
    "mse": lambda e, s: e**2,
    "mae": lambda e, s: np.abs(e),
    "smooth_l1": lambda e, s: np.where(np.abs(e) < s, e**2 / (2 * s), np.abs(e) - s / 2),
    "huber": lambda e, s: np.where(np.abs(e) < s, e**2 / 2, s * (np.abs(e) - s / 2)),
}


@pytest.mark.parametrize("loss", ERRORS)
def test_losses_are_in_the_targets_own_unit(loss: str) -> None:
    """The width of smooth_l1 and huber is 1 standard deviation s of the target."""
    fitted = fit(quick("data=diabetes", f"loss={loss}", *PLAIN, "optimizer=sgd", "optimizer.lr=1e-12"))
    data = fitted.data
    scale = {"center": data.preprocessor.target_center_, "scale": data.preprocessor.target_scale_}

    def expected(rows: np.ndarray, arrays: Any) -> float:
        predicted = predictions(run_network(fitted.module.network, arrays), "regression", **scale)
        return float(ERRORS[loss](predicted - data.targets(rows), float(scale["scale"][0])).mean())

    assert fitted.metrics["val/loss"] == pytest.approx(expected(data.splits.val, data.val), rel=1e-5)
    assert fitted.watch.train_losses[-1] == pytest.approx(expected(data.splits.train, data.train), rel=1e-5)


@pytest.mark.parametrize(("precision", "agreement"), [("32-true", 1e-6), ("64-true", 1e-12), ("bf16-mixed", 1e-6)])
def test_validation_loss_is_as_precise_as_the_weights(precision: str, agreement: float) -> None:
    """Log loss is computed apart, in double precision."""
    metrics = fit(quick(f"trainer.precision={precision}")).metrics
    assert metrics["val/loss"] == pytest.approx(metrics["val/log_loss"], rel=agreement)


def test_metrics_are_the_scores_as_they_are() -> None:
    fitted = fit(quick())
    data = fitted.data
    outputs = run_network(fitted.module.network, data.val)
    assert fitted.metrics == {"val/loss": fitted.metrics["val/loss"]} | {
        f"val/{name}": value
        for name, value in compute_metrics(
            "multiclass", data.val.y, predictions(outputs, "multiclass", center=np.zeros(1), scale=np.ones(1))
        ).items()
    }


# ---------------------------------------------------------------- divergence
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["preprocess=none"],
            "the training loss is nan in epoch 1, step 2; try a smaller optimizer.lr (it was 1e+30), "
            "or trainer.gradient_clip_val=1, or preprocess=standard",
        ),
        (
            ["scheduler=cosine", "trainer.steps_per_execution=1"],
            "the training loss is nan in epoch 1, step 2; try a smaller optimizer.lr (it was 1e+30), "
            "or trainer.gradient_clip_val=1",
        ),
        (
            ["trainer.batch_size=96"],
            "the validation loss is nan in epoch 1, step 1; try a smaller optimizer.lr (it was 1e+30), "
            "or trainer.gradient_clip_val=1",
        ),
        (
            ["trainer.gradient_clip_val=5e9", "trainer.batch_size=48"],
            "the training loss is nan in epoch 1, step 2; try a smaller optimizer.lr (it was 1e+30)",
        ),
    ],
)
def test_a_loss_that_is_no_number_stops_training(settings: list[str], message: str) -> None:
    with pytest.raises(TrainingError) as stopped:
        fit(quick(*PLAIN, "optimizer=sgd", "optimizer.lr=1e30", *settings))
    assert str(stopped.value) == message
    assert stopped.value.exit_code == 1
