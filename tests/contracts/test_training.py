"""Every value of every group trains on a small table: numbers are finite and the weights move."""

import math
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from pipeline.compose import list_groups
from pipeline.losses import FITTING
from pipeline.module import TableModule
from pipeline.networks import NETWORKS
from pipeline.networks.activations import ACTIVATIONS
from pipeline.networks.initializers import INITIALIZERS
from pipeline.networks.numeric import NUM_EMBEDDINGS
from pipeline.train import train
from pipeline.types import Result, Task
from tests.conftest import mixed_frame, quick, write_csv

pytestmark = pytest.mark.usefixtures("without_figures")

DATA: dict[Task, str] = {"binary": "breast_cancer", "multiclass": "iris", "regression": "diabetes"}
GROUPS = list_groups()


class Moves(pl.Callback):
    """Which parameters end elsewhere than they began."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._before = self._weights(pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        after = self._weights(pl_module)
        self.moved = {name: not torch.equal(weight, after[name]) for name, weight in self._before.items()}

    def _weights(self, module: pl.LightningModule) -> dict[str, Tensor]:
        assert isinstance(module, TableModule)
        return {name: weight.detach().clone() for name, weight in module.network.named_parameters()}


def trained(*overrides: str) -> tuple[Result, dict[str, bool]]:
    moves = Moves()
    result = train(quick(*overrides), [moves])
    assert (result.status, result.n_epochs) == ("FINISHED", 2)
    numbers = [*result.val.values(), *(part for interval in result.test.values() for part in interval)]
    assert numbers
    assert all(math.isfinite(number) for number in numbers)
    return result, moves.moved


@pytest.mark.parametrize(
    "setting",
    [
        *(f"model.activation={name}" for name in ACTIVATIONS),
        *(f"model.init={name}" for name in INITIALIZERS if name != "zeros"),
        *(f"optimizer={name}" for name in GROUPS["optimizer"]),
        *(f"scheduler={name}" for name in GROUPS["scheduler"]),
        *(f"scheduler={name} scheduler.warmup_epochs=0.5" for name in GROUPS["scheduler"] if name != "one_cycle"),
        *(f"preprocess={name}" for name in GROUPS["preprocess"]),
        *(f"model.batch_norm={norm} model.dropout={share}" for norm in ("true", "false") for share in (0, 0.5)),
        *(f"trainer.precision={precision}" for precision in ("64-true", "bf16-mixed")),
        *(f"trainer.gradient_clip_val=0.1 trainer.gradient_clip_algorithm={kind}" for kind in ("norm", "value")),
        "trainer.accumulate_grad_batches=2 trainer.batch_size=16",
        "model.hidden=[]",
        *(f"model={name}" for name in GROUPS["model"]),
        *(f"model.num_embedding={name}" for name in NUM_EMBEDDINGS),
        "model.parametric_activation=true",
        "model.input_scale=true",
        "model.parametrization=ntk",
        "trainer.regularization_schedule=flat_cos optimizer=adamw",
        "trainer.ema_epochs=2",
        "model.hidden=[8,8,8] model.activation=[relu,tanh,gelu] model.dropout=[0,0.1,0.2]",
        "trainer.batch_size=1000",
    ],
)
def test_a_setting_trains(setting: str) -> None:
    assert all(trained(*setting.split())[1].values())


@pytest.mark.parametrize(("task", "name"), [(task, name) for task, names in FITTING.items() for name in names])
def test_a_loss_trains_on_the_tasks_it_fits(task: Task, name: str) -> None:
    assert all(trained(f"data={DATA[task]}", f"loss={name}")[1].values())


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_weighted_and_smoothed_classes_train(task: Task) -> None:
    settings = ("loss.class_weight=balanced", "loss.label_smoothing=0.1")
    assert all(trained(f"data={DATA[task]}", *settings)[1].values())


@pytest.mark.parametrize("precision", [pytest.param("64-true", marks=pytest.mark.slow), "bf16-mixed"])
@pytest.mark.parametrize("seeds", [pytest.param(1, marks=pytest.mark.slow), 2])
@pytest.mark.parametrize("task", [pytest.param("binary", marks=pytest.mark.slow), "regression"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_trains_in_every_precision(name: str, task: Task, seeds: int, precision: str) -> None:
    asked = (f"data={DATA[task]}", f"model={name}", f"trainer.seeds={seeds}", f"trainer.precision={precision}")
    assert all(trained(*asked)[1].values())


def test_from_zero_weights_only_the_output_bias_moves() -> None:
    """No unit differs from another, none says anything: why weights start at random."""
    _, moved = trained("model.init=zeros", "model.batch_norm=false")
    assert [name for name, it_moved in moved.items() if it_moved] == [list(moved)[-1]]


@pytest.mark.parametrize(
    ("target", "max_onehot"), [("amount", 0), ("amount", 9), ("[amount,second]", 9), ("bought", 9), ("grade", 0)]
)
def test_a_table_of_every_kind_of_column_trains(tmp_path: Path, target: str, max_onehot: int) -> None:
    others = {"amount", "second", "bought", "grade"} - set(target.strip("[]").split(","))
    path = write_csv(tmp_path / "table.csv", mixed_frame(), drop=sorted(others))
    _, moved = trained("data=csv", f"data.path={path}", f"data.target={target}", f"preprocess.max_onehot={max_onehot}")
    assert all(moved.values())
    assert any("categories" in name for name in moved)
