"""(7) A study against the textbook's on the same space; two workers against one; a trial's cost in a long study."""

import json
import tempfile
from functools import partial
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from pipeline.studies.storage import journal, study_dir
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
FASTER, TWO_WORKERS, OVERHEAD, LONGER = 1 / 6, 1 / 1.7, 0.05, 2.0
SAME_TRIALS = ("study.sampler=random", "study.pruner=none")  # however many workers


def cases(folder: Path, *, quick: bool) -> list[Case]:
    """From the first trial's start to the last one's end; and what asking for one more costs."""
    csv = SHARED / "data" / "mobile_price.csv"
    if not csv.is_file():
        raise LeftOutError(f"{csv} is not there")
    (folder / "groups" / "search").mkdir(parents=True, exist_ok=True)
    (folder / "groups" / "search" / "textbook.yaml").write_text(SPACE)
    n_trials, n_epochs = (2, 1) if quick else (20, 20)
    work = ["--csv", str(csv), "--target", "price_range", "--trials", str(n_trials), "--epochs", str(n_epochs)]
    same = {
        "ours": partial(_ours, folder, csv, n_trials, n_epochs, 2, "study.n_reports=20"),
        "textbook": partial(script, folder, str(SHARED / "bench" / "textbook.py"), "study", *work, "--threads", "1"),
    }
    long = partial(_ours, folder, csv, n_trials, 1 if quick else 80)  # about a second a trial
    workers = {f"{n} worker{'s' * (n > 1)}": partial(long, n, *SAME_TRIALS) for n in (2, 1)}
    overhead = Line("share not spent in training", _overhead, None if quick else OVERHEAD)
    faster = ratio("2 workers", "1 worker", "run_s", TWO_WORKERS)
    sizes = (5, 10) if quick else (50, 5000)
    longer = Line("ms a trial: long / short", _longer, None if quick else LONGER)
    return [
        Case("mobile_price", same, [ratio("ours", "textbook", "run_s", FASTER)]),
        Case("second-long trials", workers, [faster, overhead]),
        Case("asking", {f"after {n}": partial(_ask, n) for n in sizes}, [longer]),
    ]


def _ours(folder: Path, csv: Path, n_trials: int, n_epochs: int, n_workers: int, *settings: str) -> Sample:
    """Seconds of the process; from the first trial's start to the last one's end; and those spent in training."""
    asked = ["data=mobile_price", f"data.path={csv}", "search=textbook", f"study.n_trials={n_trials}", *settings]
    asked += [f"trainer.max_epochs={n_epochs}", "trainer.patience=null", "trainer.threads=1", "study.refit_seeds=0"]
    asked += ["study.name=bench", f"study.workers={n_workers}", "--config-dir", str(folder / "groups")]
    with tempfile.TemporaryDirectory(dir=folder) as root:
        taken, _ = process("-m", "pipeline", "study", *asked, f"tracking.root={root}", folder=folder)
        storage = JournalStorage(JournalFileBackend(str(journal(study_dir(root, "bench")))))
        trials = optuna.load_study(study_name="bench", storage=storage).get_trials()
    start = min(trial.datetime_start for trial in trials if trial.datetime_start)
    end = max(trial.datetime_complete for trial in trials if trial.datetime_complete)
    trained = sum(trial.user_attrs["ran"]["seconds"] for trial in trials)
    return {"s": taken, "run_s": (end - start).total_seconds(), "trained_s": trained}


def _overhead(taken: Round) -> float:
    alone = taken["1 worker"]
    return 1 - alone["trained_s"] / alone["run_s"]


def _ask(n_trials: int) -> Sample:
    """Milliseconds of asking for a trial and telling its value, in a journal of so many trials."""
    done = process("-m", "tests.benchmarks.asking", str(n_trials), folder=Path())[1]
    sample: dict[str, float] = json.loads(done)
    return sample


def _longer(taken: Round) -> float:
    short, long = taken.values()
    return long["ms"] / short["ms"]
