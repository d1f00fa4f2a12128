"""The doctor beside a run: what it tracks, what it says at once, and what it leaves alone."""

import json
import logging
import os
import signal
from pathlib import Path

import pytest
import pytorch_lightning as pl
from mlflow import MlflowClient

from pipeline.config import Config
from pipeline.errors import TrainingError
from pipeline.tracking import connect
from pipeline.train import train
from tests.conftest import quick

SICK = ("model.init=zeros", "model.dropout=0", "model.batch_norm=false", "trainer.max_epochs=4")


def tracked(*overrides: str) -> Config:
    return quick(*overrides, "tracking=mlflow")


@pytest.fixture
def client(root: Path) -> MlflowClient:
    return connect(str(root))


def test_findings_are_tags_a_file_and_lines(client: MlflowClient) -> None:
    result = train(tracked(*SICK))
    tags = client.get_run(result.run_id).data.tags
    names = tags["findings"].split(", ")
    assert names[0] == "symmetric_units"
    assert tags["finding.symmetric_units"] == result.findings[0]
    file = Path(client.download_artifacts(result.run_id, "doctor/findings.json"))
    told = json.loads(file.read_text())["findings"]
    assert [finding["name"] for finding in told] == names
    assert told[0]["advice"] == ["model.init=auto"]
    files = {file.path for file in client.list_artifacts(result.run_id, "doctor")}
    assert files == {"doctor/findings.json", "doctor/health.png"}


def test_measures_are_metrics_by_layer_and_epoch(client: MlflowClient) -> None:
    result = train(tracked("model.hidden=[8,8]", "trainer.max_epochs=4", "trainer.patience=null"))
    steps = [point.step for point in client.get_metric_history(result.run_id, "doctor/std/layer_2")]
    assert steps == [0, 1, 2, 4]
    assert len(client.get_metric_history(result.run_id, "doctor/gradient/output")) == 3
    assert client.get_run(result.run_id).data.metrics["time/doctor"] > 0


def test_what_is_certain_is_said_after_the_first_epoch(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "pipeline"):
        train(quick(*SICK))
    said = [record.message for record in caplog.records if "copies of one another" in record.message]
    assert len(said) == 1


def test_a_run_that_diverges_says_why_and_is_tagged(client: MlflowClient) -> None:
    diverging = tracked("optimizer=sgd", "optimizer.lr=1e20", "model.activation=identity", "model.batch_norm=false")
    with pytest.raises(TrainingError, match=r"\n  found: the learning rate is too high: .*; try optimizer.lr=1e\+19"):
        train(diverging)
    experiment = client.get_experiment_by_name("iris")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FAILED"
    assert "lr_too_high" in run.data.tags["findings"]


def test_a_run_stopped_in_its_first_epoch_is_told_nothing() -> None:
    class Stop(pl.Callback):
        def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    result = train(quick("data=digits"), [Stop()])
    assert (result.status, result.n_epochs, result.findings) == ("KILLED", 0, ())


def test_switched_off_it_leaves_nothing(client: MlflowClient) -> None:
    result = train(tracked(*SICK, "doctor=off"))
    run = client.get_run(result.run_id)
    assert result.findings == ()
    assert not [name for name in (*run.data.metrics, *run.data.tags) if name.startswith(("doctor/", "finding"))]
    assert "doctor" not in {file.path for file in client.list_artifacts(result.run_id)}
