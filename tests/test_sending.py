"""Operations on MLflow's store."""

from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.sending import Point, WholeRun, send
from pipeline.tracking import connect
from pipeline.writer import MAX_ENTRIES, MAX_PAIRS, Op


@pytest.fixture
def client(root: Path) -> MlflowClient:
    return connect(str(root))


@pytest.fixture
def parent(client: MlflowClient) -> Run:
    return client.create_run(client.create_experiment("e"))


def whole(parent: Run, *, n_points: int, n_params: int) -> Op:
    run = WholeRun(
        name="trial 0",
        tags={"kind": "trial"},
        params={},
        metrics=[Point("val/loss", 1 / (1 + step), 1_700_000_000_000 + step, step) for step in range(n_points)],
        start=1_700_000_000_000,
        end=1_700_000_009_000,
        status="KILLED",
    )
    params = [(f"p{place}", str(place)) for place in range(n_params)]
    return run._asdict() | {"do": "run", "experiment": parent.info.experiment_id, "params": params}


def test_a_run_that_is_over_is_written_whole_however_long(client: MlflowClient, parent: Run, tmp_path: Path) -> None:
    n_points, n_params = 2 * MAX_ENTRIES + 5, 2 * MAX_PAIRS + 5
    send(client, parent.info.run_id, whole(parent, n_points=n_points, n_params=n_params), tmp_path)
    (run,) = client.search_runs([parent.info.experiment_id], "tags.kind = 'trial'")
    assert (run.info.run_name, run.info.status) == ("trial 0", "KILLED")
    assert (run.info.start_time, run.info.end_time) == (1_700_000_000_000, 1_700_000_009_000)
    assert len(run.data.params) == n_params
    history = client.get_metric_history(run.info.run_id, "val/loss")
    assert sorted(point.step for point in history) == list(range(n_points))


def test_a_run_sent_again_after_a_failure_in_between_is_one_run(
    client: MlflowClient, parent: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    op = whole(parent, n_points=3, n_params=3)
    with monkeypatch.context() as patch:
        patch.setattr(client, "set_terminated", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            send(client, parent.info.run_id, op, tmp_path)
    send(client, parent.info.run_id, op, tmp_path)
    (run,) = client.search_runs([parent.info.experiment_id], "tags.kind = 'trial'")
    assert run.info.status == "KILLED"
    assert len(client.get_metric_history(run.info.run_id, "val/loss")) == 3


def test_a_file_goes_to_the_folder_in_its_name(client: MlflowClient, parent: Run, tmp_path: Path) -> None:
    for name in ("study.html", "figures/edf.png"):
        file = tmp_path / "files" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
        send(client, parent.info.run_id, {"do": "file", "name": name}, tmp_path)
    run_id = parent.info.run_id
    assert {file.path for file in client.list_artifacts(run_id)} == {"study.html", "figures"}
    assert [file.path for file in client.list_artifacts(run_id, "figures")] == ["figures/edf.png"]
