"""Where runs are tracked, and whether there can be any."""

import os
from pathlib import Path

from pipeline.errors import TrackingError


def tracking_uri(root: str) -> str:
    """Where runs are tracked: the server in MLFLOW_TRACKING_URI, else the database under `root`."""
    file = str(Path(root).resolve() / "mlflow.db").replace("%", "%25").replace("?", "%3F")  # URIs give them a meaning
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{file}"


def is_remote(root: str) -> bool:
    """Whether runs go to a server."""
    return tracking_uri(root).startswith(("http://", "https://", "databricks"))


def has_store(root: str) -> bool:
    """Whether anything can have been tracked: runs go to a server, or there is a database."""
    return is_remote(root) or (Path(root) / "mlflow.db").exists()


def require_store(root: str, run: str) -> None:
    """Raise TrackingError where no run is tracked at all, `run` being the one that is looked for."""
    if not has_store(root):
        raise TrackingError(f"run '{run}': there are no runs under {root}")
