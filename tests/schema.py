"""The schema of the database that the installed MLflow makes; `python -m tests.schema` writes the one we ship anew.

Run it when requirements.lock names another MLflow; `tests/test_database.py` fails until then.
"""

import sqlite3
import tempfile
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from pipeline.database import SCHEMA


def dump(database: Path) -> str:
    """A database as SQL, without what depends on the moment it was made."""
    with closing(sqlite3.connect(database)) as connection:
        lines = [line for line in connection.iterdump() if not line.startswith('INSERT INTO "experiments"')]
    first_index = next(position for position, line in enumerate(lines) if line.startswith("CREATE INDEX"))
    lines[first_index:-1] = sorted(lines[first_index:-1])  # SQLAlchemy makes indices in an order that varies
    return f"-- MLflow {version('mlflow')}: made by `python -m tests.schema`\n" + "\n".join(lines) + "\n"


def made_by_mlflow() -> str:
    """The schema of a database that MLflow makes and migrates itself."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "mlflow.db"
        SqlAlchemyStore(f"sqlite:///{database}", folder)  # type: ignore[no-untyped-call]
        return dump(database)


if __name__ == "__main__":
    SCHEMA.write_text(made_by_mlflow())
