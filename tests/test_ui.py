"""The UI on a finished run, opened in a real browser; and how the command starts and stops."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.compose import load_config
from pipeline.train import train
from tests.conftest import Done

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_ui(root: Path, port: int, page: str) -> subprocess.Popen[str]:
    """The command as a user runs it, once it has said that the UI is there and which page to open."""
    command = [sys.executable, "-m", "pipeline", "ui", f"tracking.root={root}", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("MLflow UI at"):
            address = f"http://127.0.0.1:{port}/#/{page}?workflowType=machine_learning"
            assert line == f"MLflow UI at {address} (Ctrl-C stops it)\n"
            return process
    raise AssertionError("the UI did not start")


def stop(process: subprocess.Popen[str], number: signal.Signals) -> int:
    assert process.stdout is not None
    process.send_signal(number)
    code = process.wait(timeout=30)
    process.stdout.close()
    return code


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_ui_stops_cleanly_with_all_its_processes(root: Path, number: signal.Signals) -> None:
    port = free_port()
    process = start_ui(root, port, "experiments")
    assert stop(process, number) == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0  # nobody listens any more


def test_a_port_in_use_is_one_clear_line(cli: Callable[..., Done]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = cli("ui", "--port", str(port))
    message = f"error: --port: {port} cannot be used (Address already in use); choose another, as --port {port + 1}\n"
    assert (done.code, done.err) == (2, message)


def test_runs_on_a_server_are_looked_at_there(cli: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    done = cli("ui")
    message = "error: MLFLOW_TRACKING_URI: the runs are on http://127.0.0.1:9, open that address\n"
    assert (done.code, done.err) == (2, message)


# ---------------------------------------------------------------- in a browser
@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, str]]:
    """Address, experiment id and run id of a run shown by `pipeline ui`."""
    root = tmp_path_factory.mktemp("ui") / "mlruns"
    result = train(load_config(["data=wine", "trainer.max_epochs=20", f"tracking.root={root}"]))
    port = free_port()
    process = start_ui(root, port, "experiments/1/runs")
    yield f"http://127.0.0.1:{port}", "1", result.run_id
    stop(process, signal.SIGINT)


@pytest.fixture(scope="module")
def page(site: tuple[str, str, str]) -> "Iterator[Page]":
    """A page of headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser.new_page(viewport={"width": 1400, "height": 1000})
        browser.close()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium: apt-get install chromium")
class TestInABrowser:
    def open(self, page: "Page", site: tuple[str, str, str], place: str) -> None:
        """Open a place of the run's experiment anew, so that nothing of the last page is taken for it."""
        address, experiment, _ = site
        page.goto("about:blank")
        page.goto(f"{address}/#/experiments/{experiment}/runs{place}?workflowType=machine_learning")

    def see(self, page: "Page", *texts: str) -> None:
        for text in texts:
            page.get_by_text(text).first.wait_for(timeout=30_000)

    def test_the_experiment_is_described_and_lists_the_run(self, page: "Page", site: tuple[str, str, str]) -> None:
        self.open(page, site, "")
        self.see(page, "wine", "178 rows, 13 features", "mlp-adam-1e-3-")
        page.locator(f'a[href*="{site[2]}"]').first.wait_for(timeout=30_000)

    def test_the_run_shows_what_was_reached_its_data_and_its_config(
        self, page: "Page", site: tuple[str, str, str]
    ) -> None:
        self.open(page, site, f"/{site[2]}")
        self.see(page, "mlp-adam-1e-3-", "Finished", "multiclass", "mlp [128, 64], adam at 0.001", "wine (")
        self.see(page, "optimizer.lr", "0.001", "test/accuracy")

    def test_the_curves_are_drawn(self, page: "Page", site: tuple[str, str, str]) -> None:
        self.open(page, site, f"/{site[2]}/model-metrics")
        self.see(page, "train", "val")
        page.locator("svg.main-svg").first.wait_for(timeout=30_000)  # Plotly's

    @pytest.mark.parametrize("name", ["learning_curves", "confusion_matrix", "roc", "calibration", "importance"])
    def test_figures_open(self, page: "Page", site: tuple[str, str, str], name: str) -> None:
        self.open(page, site, f"/{site[2]}/artifacts/figures/{name}.png")
        page.wait_for_function("[...document.images].some(image => image.naturalWidth > 500)", timeout=30_000)

    def test_the_config_file_opens(self, page: "Page", site: tuple[str, str, str]) -> None:
        self.open(page, site, f"/{site[2]}/artifacts/config.yaml")
        self.see(page, "max_epochs", "batch_norm")
