"""A new MLflow database, made from a schema that is shipped instead of by a hundred migrations."""

import os
import sqlite3
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path

SCHEMA = Path(__file__).with_name("mlflow_schema.sql")


def make_database(file: Path) -> None:
    """Make `file` as the MLflow that the schema is of would; leave it to another version to make its own."""
    schema = SCHEMA.read_text()
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists() or not schema.startswith(f"-- MLflow {version('mlflow')}:"):
        return
    new = file.with_name(f"{file.name}.{os.getpid()}")
    with closing(sqlite3.connect(new)) as connection:
        connection.executescript(schema)
    with suppress(FileExistsError):  # another process was first
        os.link(new, file)
    new.unlink()
