"""Where the model is that a server should load: found by another process, so that the server stays small."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.bundle import DESCRIPTION, BundleError
from pipeline.serving.models import Resolve

FIND = "import sys; from pipeline.registry import main; main(*sys.argv[1:])"


def resolver(root: str, model: str | None) -> Resolve:
    """How to find the folder of a model: a folder's own, else what MLflow's registry says when it is asked."""
    if model is not None and Path(model).is_dir():
        folder = Path(model)
        return lambda: folder
    return lambda: _asked(root, model)


def marker(root: str, model: str | None) -> Callable[[], object]:
    """What changes when another model may have to be served: a file's time, the registry's; of a server the minute."""
    files = [Path(model) / DESCRIPTION] if model is not None and Path(model).is_dir() else _database(root)
    if not files:
        return lambda: int(time.monotonic() / 60)
    return lambda: tuple(file.stat().st_mtime_ns for file in files if file.exists())


def _database(root: str) -> list[Path]:
    return [] if os.environ.get("MLFLOW_TRACKING_URI") else [Path(root) / "mlflow.db", Path(root) / "mlflow.db-wal"]


def _asked(root: str, model: str | None) -> Path:
    command = [sys.executable, "-W", "ignore", "-c", FIND, root, *([model] if model else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise BundleError(lines[-1] if lines else f"the model cannot be found (code {done.returncode})")
    return Path(done.stdout.strip())
