"""(8) The server under load from a second process: a row against a ping, many clients, MLflow's own; its start."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.compose import load_config
from pipeline.flavor import BUNDLE, FOLDER
from pipeline.train import train
from tests.benchmarks.harness import ROOT, Case, Line, Round, Sample, process

CLIENTS = 50
ROW, PING = "/invocations", "/ping"


def cases(folder: Path, *, quick: bool) -> list[Case]:
    """One row and a ping on one connection, rows on many; the same of MLflow's own server; a start."""
    root = folder / "mlruns"
    epochs = 1 if quick else 5
    result = train(load_config(["data=breast_cancer", f"trainer.max_epochs={epochs}", f"tracking.root={root}"]))
    model = root / "artifacts" / result.run_id / "artifacts" / FOLDER
    n_requests = 20 if quick else 1000
    contestants = {
        "ours": partial(_measured, folder, _ours(model / BUNDLE), model, n_requests),
        "registry": partial(_from_registry, folder),
        "stock": partial(_measured, folder, _stock(model), model, n_requests if quick else 50),
    }
    lines = [
        Line("p50: row / ping", lambda taken: taken["ours"]["row_ms"] / taken["ours"]["ping_ms"], 2.0),
        Line("p99 / p50, 50 clients", _tail, None if quick else 4.0),
        Line("p50 of a row: ours / stock", partial(_against, "row_ms"), None if quick else 1 / 8),
        Line("rows a second: stock / ours", _throughput, None if quick else 1 / 8),
        Line("s to the first answer", lambda taken: taken["ours"]["start_s"], 2.0),
        Line("s to the first answer, from the registry", lambda taken: taken["registry"]["start_s"], 6.0),
        Line("resident MB", lambda taken: taken["ours"]["resident_mb"], 200.0),
    ]
    return [Case("breast_cancer", contestants, lines)]


def _tail(taken: Round) -> float:
    return taken["ours"]["many_p99_ms"] / taken["ours"]["many_p50_ms"]


def _against(quantity: str, taken: Round) -> float:
    return taken["ours"][quantity] / taken["stock"][quantity]


def _throughput(taken: Round) -> float:
    return taken["stock"]["rows_per_s"] / taken["ours"]["rows_per_s"]


def _ours(bundle: Path) -> list[str]:
    return [sys.executable, "-m", "pipeline", "serve", str(bundle), "--port"]


def _stock(model: Path) -> list[str]:
    command = ["-m", "mlflow", "models", "serve", "--env-manager", "local", "-m", str(model), "-p"]
    return [sys.executable, "-W", "ignore", *command]


@contextmanager
def _started(command: list[str], folder: Path) -> Iterator[tuple[int, subprocess.Popen[bytes], float]]:
    """Port, process, and seconds from the command to the first answer."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    start = time.perf_counter()
    server = subprocess.Popen(
        [*command, str(port)], cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{PING}", timeout=5).close()
                break
            except OSError:
                time.sleep(0.01)
        yield port, server, time.perf_counter() - start
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def _from_registry(folder: Path) -> Sample:
    with _started([sys.executable, "-m", "pipeline", "serve", "--port"], folder) as (_, _, start):
        return {"start_s": start}


def _measured(folder: Path, command: list[str], model: Path, n_requests: int) -> Sample:
    example = (model / "serving_input_example.json").read_text()
    with _started(command, folder) as (port, server, start):
        said = process("-m", "tests.benchmarks.load", str(port), str(n_requests), str(CLIENTS), example, folder=folder)[
            1
        ]
        status = Path(f"/proc/{server.pid}/status").read_text()
    (resident,) = re.findall(r"VmRSS:\s+(\d+) kB", status)
    taken: dict[str, list[float]] = json.loads(said)
    row, ping, many = (1000 * np.array(taken[name]) for name in ("row", "ping", "many"))
    return {
        "start_s": start,
        "resident_mb": int(resident) / 1000,
        "ping_ms": float(np.median(ping)),
        "row_ms": float(np.median(row)),
        "many_p50_ms": float(np.median(many)),
        "many_p99_ms": float(np.quantile(many, 0.99)),
        "rows_per_s": len(many) / taken["wall"][0],
    }
