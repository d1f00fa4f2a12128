"""Where runs are tracked, and whether there can be any."""

from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from pipeline.errors import TrackingError
from pipeline.store import has_store, is_remote, require_store, tracking_uri


def test_runs_are_tracked_in_a_database_under_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(str(tmp_path)) == f"sqlite:///{tmp_path}/mlflow.db"
    assert not is_remote(str(tmp_path))


def test_signs_that_say_something_in_a_uri_are_part_of_the_roots_name(tmp_path: Path) -> None:
    root = tmp_path / "50% of it?"
    assert make_url(tracking_uri(str(root))).database == str(root / "mlflow.db")


def test_the_server_of_the_environment_goes_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert tracking_uri("mlruns") == "http://127.0.0.1:9"
    assert is_remote("mlruns")
    assert has_store("mlruns")  # what is on a server only the server knows


def test_without_a_database_no_run_can_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(TrackingError, match=f"^run 'abcd': there are no runs under {tmp_path}$"):
        require_store(str(tmp_path), "abcd")
    (tmp_path / "mlflow.db").touch()
    require_store(str(tmp_path), "abcd")
