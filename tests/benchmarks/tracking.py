"""(3) A run with tracking, against one without."""

from functools import partial
from pathlib import Path

from pipeline.compose import load_config
from pipeline.train import train
from tests.benchmarks.harness import Case, Line, Round, Sample, process, ratio, seconds

ALLOWED_SHARE, ALLOWED_SECONDS = 0.05, 0.3  # more than the run without, whichever is larger


def cases(folder: Path, *, quick: bool) -> list[Case]:
    """In one process that has everything loaded, and in processes of their own."""
    root = f"tracking.root={folder / 'mlruns'}"
    work = ["model=mlp", "data=digits", f"trainer.max_epochs={2 if quick else 30}", "trainer.patience=null", root]
    lines = [ratio("mlflow", "none"), Line("s: mlflow − none", _added)]
    target = Line("s: mlflow − none, of those allowed", _added_over_allowed, 1)
    return [
        Case("warm process", _contestants(partial(_here, work)), [*lines, target]),
        Case("whole process", _contestants(partial(_process, folder, work)), lines),
    ]


def _contestants(run: partial[Sample]) -> dict[str, partial[Sample]]:
    return {name: partial(run, f"tracking={name}") for name in ("mlflow", "none")}


def _here(work: list[str], tracking: str) -> Sample:
    config = load_config([*work, tracking])
    return seconds(lambda: train(config))


def _process(folder: Path, work: list[str], tracking: str) -> Sample:
    return {"s": process("-m", "pipeline", "train", *work, tracking, folder=folder)[0]}


def _added(taken: Round) -> float:
    return taken["mlflow"]["s"] - taken["none"]["s"]


def _added_over_allowed(taken: Round) -> float:
    return _added(taken) / max(ALLOWED_SHARE * taken["none"]["s"], ALLOWED_SECONDS)
