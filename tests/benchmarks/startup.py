"""(6) What a user waits for: help, a mistake's answer, a whole small run; against the bare imports."""

from functools import partial
from pathlib import Path

from tests.benchmarks.harness import Case, Line, Sample, process, ratio

IMPORTS = "import torch, pytorch_lightning, mlflow, sklearn"


def cases(folder: Path, *, quick: bool) -> list[Case]:
    """One case, a process a contestant; the database is there after the first run."""
    training = ["train", "model=mlp", "data=breast_cancer", f"tracking.root={folder / 'mlruns'}"]
    pipeline = partial(_process, folder, "-m", "pipeline")
    contestants = {
        "help": partial(pipeline, "--help"),
        "config error": partial(pipeline, "train", "optimizer.lr=-1", code=2),
        "train": partial(pipeline, *training, *(["trainer.max_epochs=1"] if quick else [])),
        "imports": partial(_process, folder, "-c", IMPORTS),
    }
    lines = [
        ratio("train", "imports", at_most=1.6),
        Line("s: help", lambda taken: taken["help"]["s"], 0.5),
        Line("s: config error", lambda taken: taken["config error"]["s"], 1.0),
    ]
    return [Case("processes", contestants, lines)]


def _process(folder: Path, *arguments: str, code: int = 0) -> Sample:
    return {"s": process(*arguments, folder=folder, code=code)[0]}
