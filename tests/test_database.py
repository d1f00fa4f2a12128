"""The shipped schema against the one MLflow makes, and databases made from it."""

from pathlib import Path

import pytest

from pipeline.database import SCHEMA, make_database
from pipeline.tracking import connect
from tests.schema import dump, made_by_mlflow


def lines(schema: str) -> list[str]:
    """Its lines in an order of their own: SQLAlchemy writes constraints in one that varies."""
    return sorted(line.strip().rstrip(",") for line in schema.splitlines())


def test_the_schema_that_is_shipped_is_the_one_mlflow_makes() -> None:
    assert lines(SCHEMA.read_text()) == lines(made_by_mlflow())


def test_a_new_database_is_made_from_the_schema_and_mlflow_takes_it(tmp_path: Path) -> None:
    make_database(tmp_path / "new" / "mlflow.db")
    assert dump(tmp_path / "new" / "mlflow.db") == SCHEMA.read_text()
    assert [experiment.name for experiment in connect(str(tmp_path / "new")).search_experiments()] == ["Default"]
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["mlflow.db"]


def test_a_database_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"mine")
    make_database(tmp_path / "mlflow.db")
    assert (tmp_path / "mlflow.db").read_bytes() == b"mine"


def test_a_schema_of_another_version_leaves_it_to_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.sql"
    other.write_text("-- MLflow 1.0: not ours\n")
    monkeypatch.setattr("pipeline.database.SCHEMA", other)
    make_database(tmp_path / "mlflow.db")
    assert not (tmp_path / "mlflow.db").exists()
    assert [each.name for each in connect(str(tmp_path)).search_experiments()] == ["Default"]
