"""MLflow's own UI on this store: started, announced when it answers, stopped cleanly."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from pipeline.errors import ConfigError, TrackingError
from pipeline.store import is_remote, tracking_uri
from pipeline.tracking import connect

START_SECONDS = 60  # longest start of a server that is not broken, on a busy machine


def serve_ui(root: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve the UI on the loopback address until Ctrl-C or SIGTERM.

    Raises:
        ConfigError: the port is taken.
        TrackingError: the runs are on a server, which has a UI of its own; or the UI does not start.
    """
    if is_remote(root):
        raise TrackingError(f"MLFLOW_TRACKING_URI: the runs are on {tracking_uri(root)}, open that address")
    _require_free(port)
    place = _newest_runs(root)  # also makes a new database, or says why it cannot be used
    signal.signal(signal.SIGTERM, _raise_interrupt)  # before anyone is told that the UI is there
    server = subprocess.Popen(_command(root, port), env=_environment(), start_new_session=True)
    try:
        _await(server, port)
        announce(f"MLflow UI at http://127.0.0.1:{port}/#/{place}?workflowType=machine_learning (Ctrl-C stops it)")
        server.wait()
    except KeyboardInterrupt:
        pass
    finally:
        _stop(server)
    if server.returncode not in (0, -signal.SIGTERM, -signal.SIGKILL):
        raise TrackingError(f"the MLflow server ended by itself with code {server.returncode}")


def _newest_runs(root: str) -> str:
    """The page of the experiment with the newest run: MLflow's own start page shows language-model traces first."""
    client = connect(root)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    newest = client.search_runs(experiments, order_by=["attributes.start_time DESC"], max_results=1)
    return f"experiments/{newest[0].info.experiment_id}/runs" if newest else "experiments"


def _command(root: str, port: int) -> list[str]:
    artifacts = (Path(root).resolve() / "artifacts").as_uri()
    return [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", tracking_uri(root), "--artifacts-destination", artifacts,
    ]  # fmt: skip


def _environment() -> dict[str, str]:
    quiet = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "UVICORN_LOG_LEVEL": "warning",
    }
    return os.environ | quiet | {"PYTHONWARNINGS": "ignore"}


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ConfigError(
                f"--port: {port} cannot be used ({error.strerror}); choose another, as --port {port + 1}"
            ) from error


def _await(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise TrackingError(f"the MLflow server did not start within {START_SECONDS} s; its own words are above")


def _raise_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server with its workers, which are a process group of their own."""
    for number, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        if server.poll() is not None:
            return
        os.killpg(server.pid, number)
        try:
            server.wait(patience)
        except subprocess.TimeoutExpired:
            continue
