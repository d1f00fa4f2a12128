"""Runs as MLflow holds them; a real server that goes away."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import pytorch_lightning as pl
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.compose import load_config
from pipeline.config import Config
from pipeline.errors import TrackingError
from pipeline.tracking import MlflowTracker, connect, pending_dir, root_override, start_run, sync
from pipeline.train import train
from tests.conftest import Done

pytestmark = pytest.mark.usefixtures("without_figures")


def short(*overrides: str) -> Config:
    """A config for a short tracked run on iris."""
    return load_config(["data=iris", "trainer.max_epochs=3", "model.hidden=[8]", *overrides])


def only_run(client: MlflowClient, experiment: str = "iris") -> Run:
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    (run,) = client.search_runs([found.experiment_id])
    return run


def steps(client: MlflowClient, run_id: str, name: str) -> list[int]:
    return [metric.step for metric in client.get_metric_history(run_id, name)]


# ---------------------------------------------------------------- a run in the database
@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[MlflowClient, Run, Config]:
    """A finished run on breast_cancer."""
    root = tmp_path_factory.mktemp("run") / "mlruns"
    config = load_config(["trainer.max_epochs=4", "model.hidden=[8]", f"tracking.root={root}"])
    result = train(config)
    client = connect(str(root))
    return client, client.get_run(result.run_id), config


def test_the_whole_config_is_params_and_an_artifact(finished: tuple[MlflowClient, Run, Config]) -> None:
    client, run, config = finished
    assert run.data.params["optimizer.lr"] == "0.001"
    assert run.data.params["model.hidden"] == "[8]"
    assert run.data.params["data.name"] == "breast_cancer"
    assert len(run.data.params) == sum(
        len(section) if isinstance(section, dict) else 1 for section in config.model_dump().values()
    )
    assert "config.yaml" in [file.path for file in client.list_artifacts(run.info.run_id)]


def test_tags_tell_task_model_status_and_where_the_run_comes_from(finished: tuple[MlflowClient, Run, Config]) -> None:
    _, run, _ = finished
    tags = run.data.tags
    assert (tags["task"], tags["model"], tags["status"], run.info.status) == ("binary", "mlp", "finished", "FINISHED")
    assert tags["version.torch"].startswith("2.")
    assert {"version.pytorch-lightning", "version.mlflow", "mlflow.source.name", "mlflow.user"} <= set(tags)
    assert "| Accuracy |" in tags["mlflow.note.content"]


def test_git_commit_and_dirty_flag_are_tagged_inside_a_repository(root: Path, tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "x")
    run = connect(str(root)).get_run(train(short("trainer.max_epochs=1")).run_id)
    assert run.data.tags["mlflow.source.git.commit"] == git("rev-parse", "HEAD")
    assert run.data.tags["mlflow.source.git.dirty"] == "false"
    (tmp_path / "a").write_text("2")
    run = connect(str(root)).get_run(train(short("trainer.max_epochs=1")).run_id)
    assert run.data.tags["mlflow.source.git.dirty"] == "true"


def test_the_data_set_is_an_input_a_split(finished: tuple[MlflowClient, Run, Config]) -> None:
    _, run, _ = finished
    assert run.inputs is not None
    rows = {}
    for entry in run.inputs.dataset_inputs:
        (context,) = [tag.value for tag in entry.tags if tag.key == "mlflow.data.context"]
        rows[context] = json.loads(str(entry.dataset.profile))["num_rows"]
        assert entry.dataset.name == "breast_cancer"
        assert len(entry.dataset.digest) == 8
        assert '"mean radius"' in str(entry.dataset.schema)
    assert rows == {"training": 364, "validation": 91, "test": 114}


def test_each_epoch_has_losses_metrics_rate_and_seconds(finished: tuple[MlflowClient, Run, Config]) -> None:
    client, run, _ = finished
    for name in ("train/loss", "val/loss", "val/accuracy", "val/roc_auc", "train/lr", "time/epoch"):
        assert steps(client, run.info.run_id, name) == [1, 2, 3, 4]


def test_test_metrics_are_there_once_each_with_its_interval(finished: tuple[MlflowClient, Run, Config]) -> None:
    client, run, _ = finished
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "log_loss", "brier", "ece"):
        assert steps(client, run.info.run_id, f"test/{name}") == [0]
        assert run.data.metrics[f"test/{name}_low"] <= run.data.metrics[f"test/{name}_high"]


def test_figures_and_predictions_are_artifacts(finished: tuple[MlflowClient, Run, Config]) -> None:
    client, run, _ = finished
    figures = {Path(file.path).stem for file in client.list_artifacts(run.info.run_id, "figures")}
    assert figures == {
        "learning_curves", "learning_rate", "confusion_matrix", "roc", "precision_recall", "calibration", "importance",
    }  # fmt: skip
    assert [file.path for file in client.list_artifacts(run.info.run_id, "predictions")] == ["predictions/test.parquet"]


def test_the_experiment_is_named_after_the_data_and_described(finished: tuple[MlflowClient, Run, Config]) -> None:
    client, run, _ = finished
    experiment = client.get_experiment(run.info.experiment_id)
    assert experiment.name == "breast_cancer"
    assert "569 rows, 30 features" in experiment.tags["mlflow.note.content"]


def test_nothing_waits_after_a_run_that_wrote_everything(finished: tuple[MlflowClient, Run, Config]) -> None:
    _, _, config = finished
    assert list(pending_dir(config.tracking.root).glob("*")) == []


def test_names_given_in_the_config_are_used(root: Path) -> None:
    train(short("tracking.experiment=mine", "tracking.run_name=first", "trainer.max_epochs=1"))
    assert only_run(connect(str(root)), "mine").info.run_name == "first"


def test_run_names_tell_model_optimizer_and_rate(root: Path) -> None:
    name = train(short("optimizer=sgd", "optimizer.lr=0.05", "trainer.max_epochs=1")).run_name
    assert name.startswith("mlp-sgd-5e-2-")


def test_an_interrupted_run_is_killed_and_a_failed_one_failed(root: Path) -> None:
    tracking = short().tracking
    for error, status in ((KeyboardInterrupt(), "KILLED"), (ValueError("no\nmore"), "FAILED")):
        with pytest.raises(type(error)), start_run(tracking, experiment=status, name="x", note=""):
            raise error
        run = only_run(connect(str(root)), status)
        assert run.info.status == status
        assert run.data.tags["status"] == status.lower()
    assert run.data.tags["error"] == "no"


def test_runs_that_start_at_the_same_moment_share_a_new_experiment(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = MlflowClient.create_experiment

    def after_another(client: MlflowClient, name: str, *args: object, **kwargs: object) -> str:
        make(client, name)
        return str(make(client, name, *args, **kwargs))  # type: ignore[arg-type]  # as it is called

    monkeypatch.setattr(MlflowClient, "create_experiment", after_another)
    result = train(load_config(["data=iris", "trainer.max_epochs=1"]))
    assert connect(str(root)).get_run(result.run_id).info.status == "FINISHED"


def test_a_deleted_experiment_is_one_clear_line(root: Path) -> None:
    client = connect(str(root))
    client.delete_experiment(client.create_experiment("iris"))
    with pytest.raises(TrackingError, match=r"^experiment 'iris': was deleted; restore it, or choose another with "):
        train(short())


def test_long_values_are_cut_to_what_mlflow_takes(root: Path) -> None:
    tracking = short().tracking
    with start_run(tracking, experiment="long", name="x", note="") as tracker:
        tracker.params({f"p{i}": "x" * 10_000 for i in range(250)})
        tracker.tags({"long": "y" * 10_000})
        tracker.end("FINISHED")
    run = only_run(connect(str(root)), "long")
    assert len(run.data.params) == 250
    assert len(run.data.tags["long"]) == 8000


# ---------------------------------------------------------------- a server that goes away
class Server:
    """A real MLflow server on a free loopback port, over a database of its own."""

    def __init__(self, root: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.root, self.url = root, f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        environment.pop("MLFLOW_TRACKING_URI", None)
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port),
                "--workers", "1", "--backend-store-uri", f"sqlite:///{self.root / 'mlflow.db'}",
                "--artifacts-destination", (self.root / "artifacts").as_uri(),
            ],
            env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=2):
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    store = tmp_path / "server"
    store.mkdir()
    server = Server(store)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    yield server
    server.kill()


class AtEpoch(pl.Callback):
    """Does something at the end of an epoch."""

    def __init__(self, actions: dict[int, Callable[[], None]]) -> None:
        self.actions = actions

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.actions.get(trainer.current_epoch + 1, lambda: None)()


@pytest.mark.slow
def test_a_server_killed_and_restarted_mid_run_costs_no_metric(server: Server) -> None:
    config = short("trainer.max_epochs=12", "trainer.patience=null", "tracking.flush_seconds=0.05")

    def kill() -> None:
        time.sleep(0.5)
        server.kill()

    pauses = {epoch: lambda: time.sleep(0.1) for epoch in range(1, 12)}
    result = train(config, [AtEpoch({**pauses, 4: kill, 8: server.start})])
    client = MlflowClient(server.url)
    run = client.get_run(result.run_id)
    assert run.info.status == "FINISHED"
    assert steps(client, result.run_id, "val/loss") == list(range(1, 13))
    assert "test/accuracy" in run.data.metrics
    assert {file.path for file in client.list_artifacts(result.run_id)} == {
        "config.yaml", "doctor", "figures", "model", "predictions",
    }  # fmt: skip
    assert not (Path("mlruns") / "pending" / result.run_id).exists()


@pytest.mark.slow
def test_what_a_server_that_stays_away_missed_waits_for_sync(server: Server, cli: Callable[..., Done]) -> None:
    config = short("trainer.max_epochs=6", "tracking.flush_seconds=0.05", "tracking.wait_seconds=0.2")
    result = train(config, [AtEpoch({3: server.kill})])
    assert result.status == "FINISHED"
    assert (Path("mlruns") / "pending" / result.run_id / "ops.jsonl").exists()
    away = cli("sync")
    assert away.code == 2
    assert away.err.startswith(f"error: MLFLOW_TRACKING_URI: the tracking store {server.url} cannot be used: ")
    assert len(away.err.splitlines()) == 1

    server.start()
    done = cli("sync")
    assert (done.code, done.out) == (0, f"written: {result.run_id}\n")
    client = MlflowClient(server.url)
    assert client.get_run(result.run_id).info.status == "FINISHED"
    assert steps(client, result.run_id, "val/loss") == list(range(1, 7))
    assert {file.path for file in client.list_artifacts(result.run_id)} == {
        "config.yaml", "doctor", "figures", "model", "predictions",
    }  # fmt: skip
    assert cli("sync").out == "nothing waits to be written\n"


def test_sync_without_anything_waiting_needs_no_store() -> None:
    assert sync("mlruns") == []
    assert not Path("mlruns").exists()


def test_a_server_that_does_not_answer_at_the_start_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(TrackingError) as failed:
        train(short())
    message = str(failed.value)
    assert message.startswith("MLFLOW_TRACKING_URI: the tracking store http://127.0.0.1:9 cannot be used: ")
    assert "\n" not in message


@pytest.mark.parametrize("root", ["mlruns", "/data/runs-2", "my runs", "50% of it?", "it's", '"$HOME"', "a\\"])
def test_the_root_that_a_command_is_told_with_passes_the_shell_and_the_config(root: str) -> None:
    assert load_config(["data=iris", *shlex.split(root_override(root))]).tracking.root == root


def test_a_tracker_repeats_nothing_a_resumed_run_has_already(root: Path) -> None:
    tracking = short().tracking
    assert tracking.name == "mlflow"
    with start_run(tracking, experiment="again", name="x", note="") as first:
        first.metrics({"n_params": 3})
        first.metrics({"train/loss": 1.0}, step=1)
        first.end("KILLED")
    with start_run(tracking, experiment="again", name="x", note="", resume=first.run_id) as second:
        assert isinstance(second, MlflowTracker)
        second.metrics({"n_params": 3, "late": 4})
        for epoch in (1, 2):
            second.metrics({"train/loss": 1.0}, step=epoch)
        second.end("FINISHED")
    client = connect(str(root))
    assert steps(client, first.run_id, "train/loss") == [1, 2]
    assert steps(client, first.run_id, "n_params") == [0]
    assert client.get_run(first.run_id).data.metrics["late"] == 4
