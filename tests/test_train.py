"""A run from config to result: reproducible, resumable, in several processes, refused where it cannot work."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
from mlflow import MlflowClient

from pipeline.compose import load_config
from pipeline.errors import ConfigError, TrackingError, TrainingError
from pipeline.tracking import connect, run_to_resume
from pipeline.train import train
from tests.conftest import Done, mixed_frame, quick, write_csv

pytestmark = pytest.mark.usefixtures("without_figures")

LONG = (
    "model=mlp",
    "data=digits",
    "trainer.max_epochs=40",
    "trainer.patience=null",
    "trainer.checkpoint_seconds=0",
    "scheduler=cosine",
    "baselines=[]",
)


class Power(pl.Callback):
    """Fails at the end of an epoch, before its checkpoint is written: what a kill looks like to the files."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch + 1 == self.epoch:
            raise OSError("power is out")


def history(client: MlflowClient, run_id: str, name: str) -> list[tuple[int, float]]:
    return [(metric.step, metric.value) for metric in client.get_metric_history(run_id, name)]


def numbers(client: MlflowClient, run_id: str) -> dict[str, list[tuple[int, float]]]:
    """Everything a run measured but for times."""
    names = client.get_run(run_id).data.metrics
    return {name: history(client, run_id, name) for name in names if not name.startswith("time/")}


# ---------------------------------------------------------------- what a run reaches
def test_two_runs_with_one_seed_agree_bit_for_bit_and_another_seed_differs() -> None:
    first, second, third = (train(quick("model.dropout=0.2", f"seed={seed}")) for seed in (3, 3, 4))
    assert first.test == second.test
    assert first.val == second.val
    assert first.test != third.test


def test_another_seed_is_tested_on_the_same_rows(root: Path) -> None:
    def rows(seed: int) -> list[int]:
        result = train(load_config(["data=iris", "trainer.max_epochs=1", f"seed={seed}"]))
        file = root / "artifacts" / result.run_id / "artifacts" / "predictions" / "test.parquet"
        return list(pd.read_parquet(file)["row"])

    assert rows(0) == rows(1)


@pytest.mark.parametrize(
    ("target", "task", "metrics"),
    [
        ("bought", "binary", {"accuracy", "roc_auc", "log_loss"}),
        ("grade", "multiclass", {"accuracy", "macro_f1", "ece"}),
        ("amount", "regression", {"rmse", "mae", "r2", "median_absolute_error"}),
        ("[amount,second]", "regression", {"rmse", "mae", "r2", "median_absolute_error"}),
    ],
)
def test_a_table_with_every_kind_of_column_trains_and_predicts_better_than_chance(
    target: str, task: str, metrics: set[str], tmp_path: Path, root: Path
) -> None:
    targets = {"bought", "grade", "amount", "second"} - set(target.strip("[]").split(","))
    path = write_csv(tmp_path / "shop.csv", mixed_frame(600), drop=sorted(targets))
    config = load_config(
        ["data=csv", f"data.path={path}", f"data.target={target}", "trainer.max_epochs=60", "optimizer.lr=0.01"]
    )
    result = train(config)
    run = connect(str(root)).get_run(result.run_id)
    assert run.data.tags["task"] == task
    assert metrics <= set(result.test)
    if task == "regression":
        assert result.test["r2"].low > 0.4
    else:
        assert result.test["balanced_accuracy"].low > (0.6 if task == "binary" else 0.4)


def test_regression_is_reported_in_the_targets_own_unit(tmp_path: Path) -> None:
    frame = mixed_frame(400)[["x", "colour", "amount"]]
    frame["amount"] *= 1e6
    path = write_csv(tmp_path / "money.csv", frame)
    result = train(
        quick(
            "data=csv",
            f"data.path={path}",
            "data.target=amount",
            "loss=mse",
            "optimizer.lr=0.02",
            "trainer.max_epochs=30",
        )
    )
    spread = float(np.std(frame["amount"]))
    assert 0.05 * spread < result.test["rmse"].value < spread
    assert result.val["val/loss"] == pytest.approx(result.val["val/rmse"] ** 2, rel=1e-4)


def test_a_diverging_run_stops_with_epoch_step_and_advice_and_is_failed(root: Path) -> None:
    config = load_config(["data=diabetes", "optimizer=sgd", "optimizer.lr=1e20", "model.batch_norm=false"])
    message = (
        r"^the training loss is (nan|inf) in epoch 1, step \d; "
        r"try a smaller optimizer\.lr \(it was 1e\+20\), or trainer\.gradient_clip_val=1\n"
        r"  found: the learning rate is too high: "
    )
    with pytest.raises(TrainingError, match=message):
        train(config)
    client = connect(str(root))
    found = client.get_experiment_by_name("diabetes")
    assert found is not None
    (run,) = client.search_runs([found.experiment_id])
    assert run.info.status == "FAILED"
    assert run.data.tags["error"].startswith("the training loss is")


def test_a_device_that_is_not_there_is_refused_before_a_run_is_opened(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"^trainer: .*gpu"):
        train(load_config(["data=iris", "trainer.accelerator=gpu"]))
    assert connect(str(root)).get_experiment_by_name("iris") is None


def test_the_batch_size_by_the_table_is_told_and_recorded(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    short = ["data=iris", "trainer.max_epochs=2", "baselines=[]"]
    with caplog.at_level(logging.INFO, "pipeline"):
        auto = train(load_config([*short, "trainer.batch_size=auto"]))
    assert "trainer.batch_size=auto: 32 rows a step\n" in caplog.text
    assert connect(str(root)).get_run(auto.run_id).data.params["trainer.batch_size"] == "32"
    assert auto.test == train(load_config([*short, "trainer.batch_size=32"])).test


@pytest.mark.parametrize(("has_amx", "precision"), [(True, "bf16-mixed"), (False, "32-true")])
def test_the_precision_by_the_machine_is_told_and_recorded(
    has_amx: bool, precision: str, root: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"amx_bf16": True} if has_amx else {})
    short = ["data=iris", "trainer.max_epochs=2", "baselines=[]", "trainer.accelerator=cpu"]
    with caplog.at_level(logging.INFO, "pipeline"):
        auto = train(load_config([*short, "trainer.precision=auto"]))
    assert f"trainer.precision=auto: {precision}\n" in caplog.text
    assert connect(str(root)).get_run(auto.run_id).data.params["trainer.precision"] == precision
    assert auto.test == train(load_config([*short, f"trainer.precision={precision}"])).test


# ---------------------------------------------------------------- going on after a cut
@pytest.mark.parametrize(
    ("cut", "model"),
    [
        (7, "model.hidden=[16]"),
        (5, "model.hidden=[16] trainer.folds=3 trainer.patience=2"),
        *(
            pytest.param(cut, model, marks=pytest.mark.slow)
            for cut, model in (
                *((cut, "model.hidden=[16]") for cut in (1, 2, 12)),
                (8, "model=realmlp model.hidden=[16]"),
                (3, "model=tabm model.n_members=4 model.d_block=16"),
                (5, "model.hidden=[16] trainer.seeds=3"),
                (5, "model.hidden=[16] trainer.ema_epochs=3"),
                (2, "model=resnet model.d_block=8 trainer.folds=2"),
            )
        ),
    ],
)
def test_a_run_cut_off_in_any_epoch_ends_with_the_numbers_of_an_uncut_one(cut: int, model: str, root: Path) -> None:
    settings = [*LONG, *model.split(), "trainer.max_epochs=12", "model.dropout=0.3", "scheduler.warmup_epochs=1.5"]
    whole = train(load_config(settings))
    config = load_config([*settings, "tracking.run_name=cut"])
    with pytest.raises(OSError, match="power is out"):
        train(config, [Power(cut)])
    client = connect(str(root))
    found = client.get_experiment_by_name("digits")
    assert found is not None
    (cut_run,) = client.search_runs([found.experiment_id], "attributes.run_name = 'cut'")
    resumed = train(config, resume=cut_run.info.run_id)
    assert resumed.run_id == cut_run.info.run_id
    assert resumed.test == whole.test
    assert numbers(client, resumed.run_id) == numbers(client, whole.run_id)
    assert client.get_run(resumed.run_id).info.status == "FINISHED"


def test_a_run_cut_off_after_an_early_stop_is_not_trained_on(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(["data=iris", "optimizer.lr=0.1", "trainer.patience=2", "tracking.run_name=cut"])
    with monkeypatch.context() as patched:
        patched.setattr("pipeline.train.evaluate", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(config)
    client = connect(str(root))
    found = client.get_experiment_by_name("iris")
    assert found is not None
    (run,) = client.search_runs([found.experiment_id])
    epochs = len(history(client, run.info.run_id, "val/loss"))
    result = train(config, resume=run.info.run_id)
    assert result.n_epochs == epochs == result.best_epoch + 2


@pytest.mark.slow
def test_kill_9_mid_run_and_resume_from_the_command_line_loses_nothing(root: Path, cli: Callable[..., Done]) -> None:
    command = [sys.executable, "-m", "pipeline", "train", *LONG, "trainer.max_epochs=400", "optimizer.lr=1e-4"]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(root.glob("checkpoints/*/last.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.7)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL  # it was still running
    (run_id,) = [folder.name for folder in (root / "checkpoints").iterdir()]
    client = connect(str(root))
    assert client.get_run(run_id).info.status == "RUNNING"

    assert cli("train", "--resume", run_id).code == 0
    assert cli(*command[3:]).code == 0
    found = client.get_experiment_by_name("digits")
    assert found is not None
    first, second = client.search_runs([found.experiment_id])
    assert {first.info.status, second.info.status} == {"FINISHED"}
    assert numbers(client, first.info.run_id) == numbers(client, second.info.run_id)
    assert [step for step, _ in history(client, run_id, "val/loss")] == list(range(1, 401))
    assert first.data.params == second.data.params


@pytest.mark.slow
def test_ctrl_c_in_the_command_line_ends_with_130_and_a_killed_run(root: Path) -> None:
    command = [sys.executable, "-m", "pipeline", "train", *LONG, "trainer.max_epochs=100000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(root.glob("checkpoints/*/last.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    (run_id,) = [folder.name for folder in (root / "checkpoints").iterdir()]
    assert f"go on with: python -m pipeline train --resume {run_id}" in out
    run = connect(str(root)).get_run(run_id)
    assert (run.info.status, run.data.tags["status"]) == ("KILLED", "killed")
    assert "test/accuracy" in run.data.metrics


def test_only_a_run_that_can_go_on_is_resumed(root: Path) -> None:
    finished = train(load_config(["data=iris", "trainer.max_epochs=1"])).run_id
    message = f"^run '{finished}': is finished, there is nothing to resume; start a new run$"
    with pytest.raises(TrackingError, match=message):
        run_to_resume(str(root), finished)
    with pytest.raises(
        TrackingError, match=r"^run 'nonesuch': not in sqlite:///.*mlflow\.db; give a run's id, its first d"
    ):
        run_to_resume(str(root), "nonesuch")


# ---------------------------------------------------------------- several processes
@pytest.mark.slow
def test_two_cpu_processes_give_the_result_of_one_with_the_summed_batch(root: Path, cli: Callable[..., Done]) -> None:
    common = [
        "data=digits", "trainer.max_epochs=5", "model.hidden=[32]", "model.batch_norm=false", "model.dropout=0",
        "optimizer=momentum", "trainer.accelerator=cpu",
    ]  # fmt: skip
    two = subprocess.run(
        [sys.executable, "-m", "pipeline", "train", *common, "trainer.devices=2", "trainer.strategy=ddp",
         "trainer.batch_size=32", "tracking.run_name=two"],
        capture_output=True, text=True, timeout=300, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert two.returncode == 0, two.stderr
    assert two.stdout.count("\nbest epoch") == 1
    assert cli("train", *common, "trainer.batch_size=64", "tracking.run_name=one").code == 0
    client = connect(str(root))
    found = client.get_experiment_by_name("digits")
    assert found is not None
    runs = {run.info.run_name: run.info.run_id for run in client.search_runs([found.experiment_id])}
    assert set(runs) == {"one", "two"}
    for name in ("train/loss", "val/loss", "val/log_loss", "test/log_loss"):
        pairs = zip(history(client, runs["one"], name), history(client, runs["two"], name), strict=True)
        for (_, one), (_, other) in pairs:
            assert other == pytest.approx(one, rel=1e-4)
