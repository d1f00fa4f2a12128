"""(7) A study, against the textbook's on the same space; one worker against two; a trial's cost in a long study."""

import json
import sqlite3
import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path

from tests.benchmarks.harness import Case, LeftOutError, Line, Round, Sample, process, ratio
from tests.benchmarks.whole import SHARED, script

SPACE = """
name: textbook
space:
  model.hidden:
    {type: list, shared: true, length: {type: int, low: 1, high: 3}, each: {type: int, low: 32, high: 128, log: true}}
  optimizer.lr: {type: float, low: 1e-4, high: 0.1, log: true}
  model.dropout: {type: float, low: 0.0, high: 0.6}
  optimizer: {type: categorical, choices: [adam, sgd, rmsprop, adagrad]}
"""
FASTER, TWO_WORKERS, LONGER = 1 / 6, 1 / 1.7, 2.0


def cases(folder: Path, *, quick: bool) -> list[Case]:
    """Trials a minute of the whole study, from its first trial to its last; and what asking for one more costs."""
    csv = SHARED / "data" / "mobile_price.csv"
    if not csv.is_file():
        raise LeftOutError(f"{csv} is not there")
    n_trials, n_epochs = (2, 1) if quick else (20, 20)
    (folder / "groups" / "search").mkdir(parents=True, exist_ok=True)
    (folder / "groups" / "search" / "textbook.yaml").write_text(SPACE)
    work = ["--csv", str(csv), "--target", "price_range", "--trials", str(n_trials), "--epochs", str(n_epochs)]
    ours = partial(_ours, folder, csv, n_trials, n_epochs)
    contestants = {
        "ours, 2 workers": partial(ours, 2),
        "ours, 1 worker": partial(ours, 1),
        "textbook": partial(script, folder, str(SHARED / "bench" / "textbook.py"), "study", *work, "--threads", "1"),
    }
    lines = [
        ratio("ours, 2 workers", "textbook", "run_s", FASTER),
        ratio("ours, 2 workers", "ours, 1 worker", "run_s", TWO_WORKERS),
    ]
    sizes = (5, 10) if quick else (50, 5000)
    longer = Line("ms a trial: long / short", _longer, None if quick else LONGER)
    return [Case("mobile_price", contestants, lines), Case("asking", _asking(sizes), [longer])]


def _ours(folder: Path, csv: Path, n_trials: int, n_epochs: int, n_workers: int) -> Sample:
    """Seconds from the first trial's start to the last one's end, as MLflow has them."""
    asked = ["data=mobile_price", f"data.path={csv}", "search=textbook", f"study.n_trials={n_trials}"]
    asked += [f"trainer.max_epochs={n_epochs}", "trainer.patience=null", "trainer.threads=1", "study.refit_seeds=0"]
    asked += ["study.n_reports=20", f"study.workers={n_workers}", "--config-dir", str(folder / "groups")]
    with tempfile.TemporaryDirectory(dir=folder) as root:
        taken, _ = process("-m", "pipeline", "study", *asked, f"tracking.root={root}", folder=folder)
        with closing(sqlite3.connect(Path(root) / "mlflow.db")) as connection:
            query = "SELECT (MAX(end_time) - MIN(start_time)) / 1000.0 FROM runs WHERE name LIKE 'trial %'"
            (run,) = connection.execute(query).fetchone()
    return {"s": taken, "run_s": run}


def _asking(sizes: tuple[int, int]) -> dict[str, partial[Sample]]:
    return {f"after {n}": partial(_ask, n) for n in sizes}


def _ask(n_trials: int) -> Sample:
    """Milliseconds of asking for a trial and telling its value, in a journal of so many trials."""
    done = process("-m", "tests.benchmarks.asking", str(n_trials), folder=Path())[1]
    sample: dict[str, float] = json.loads(done)
    return sample


def _longer(taken: Round) -> float:
    short, long = taken.values()
    return long["ms"] / short["ms"]
