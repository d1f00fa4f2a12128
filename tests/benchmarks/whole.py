"""(2) A whole run, against the textbook's stack and the loop with nothing around it, which lie beside the project."""

import json
import sqlite3
import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path

from tests.benchmarks.harness import ROOT, Case, LeftOutError, Sample, process, ratio

SHARED = ROOT.parent / "shared"


def cases(folder: Path, *, quick: bool) -> list[Case]:
    """The same network, epochs and table for all three, a process each."""
    scripts, csv = SHARED / "bench", SHARED / "data" / "mobile_price.csv"
    if not scripts.is_dir():
        raise LeftOutError(f"{scripts} is not there")
    n_epochs = 1 if quick else 50
    work = ["--csv", str(csv), "--target", "price_range", "--epochs", str(n_epochs), "--threads", "1"]
    contestants = {
        "ours": partial(_ours, folder, csv, n_epochs),
        "raw loop": partial(script, folder, str(scripts / "raw_loop.py"), *work),
        "textbook": partial(script, folder, str(scripts / "textbook.py"), "train", *work),
    }
    lines = [
        ratio("ours", "raw loop", "fit_s", 1.25),
        ratio("ours", "textbook", "fit_s", 1 / 5),
        ratio("ours", "textbook", "run_s", 1 / 5),
        ratio("ours", "textbook", "s", 1 / 5),
    ]
    return [Case("mobile_price", contestants, lines)]


def script(folder: Path, *command: str) -> Sample:
    """Seconds of the process, and of what follows import and preparation; the scripts do not tell the fit apart."""
    taken, said = process(*command, folder=folder)
    run = json.loads(said.splitlines()[-1])["run_s"]
    return {"s": taken, "run_s": run, "fit_s": run}


def _ours(folder: Path, csv: Path, n_epochs: int) -> Sample:
    """Like the textbook's, a run whose tracking database is not there yet."""
    asked = ["model=mlp", "data=mobile_price", f"data.path={csv}", "model.hidden=[128,128]", "trainer.batch_size=64"]
    asked += [f"trainer.max_epochs={n_epochs}", "trainer.patience=null", "trainer.threads=1"]
    asked += ["scheduler=step", "scheduler.step_size=50", "scheduler.gamma=0.5"]
    with tempfile.TemporaryDirectory(dir=folder) as root:
        taken, _ = process("-m", "pipeline", "train", *asked, f"tracking.root={root}", folder=folder)
        parts = _parts(Path(root) / "mlflow.db")
    return {
        "s": taken,
        "run_s": taken - parts["time/import"] - parts["time/data"],
        "fit_s": parts["time/compute"] + parts["time/evaluation"],
        **parts,
    }


def _parts(database: Path) -> dict[str, float]:
    """The time/… metrics of the one run in a database."""
    with closing(sqlite3.connect(database)) as connection:
        return dict(connection.execute("SELECT key, value FROM metrics WHERE key LIKE 'time/%' AND step = 0"))
