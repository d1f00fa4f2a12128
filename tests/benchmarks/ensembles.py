"""Five networks of cross-validated bagging side by side, against one network: whole runs in this process."""

from functools import partial
from pathlib import Path

from pipeline.compose import load_config
from pipeline.train import train
from tests.benchmarks.harness import Case, Sample, ratio, seconds

AT_MOST = 2.0


def cases(folder: Path, *, quick: bool) -> list[Case]:
    """The same epochs on the embedded digits, 1797 rows of 64 numbers; other than time nothing stops a run."""
    n_epochs = 1 if quick else 40
    return [
        Case(
            f"hidden {hidden}",
            {name: partial(_run, folder, hidden, n_epochs, folds) for name, folds in (("5 folds", 5), ("one", 1))},
            [ratio("5 folds", "one", at_most=AT_MOST)],
        )
        for hidden in ("[32]", "[128,64]", "[128,128]")
    ]


def _run(folder: Path, hidden: str, n_epochs: int, folds: int) -> Sample:
    asked = ["data=digits", f"model.hidden={hidden}", f"trainer.folds={folds}", f"trainer.max_epochs={n_epochs}"]
    alone = ["tracking=none", f"tracking.root={folder}", "baselines=[]", "trainer.patience=null", "trainer.threads=1"]
    return seconds(partial(train, load_config([*asked, *alone])))
