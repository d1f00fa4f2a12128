"""(1) Milliseconds a step of our fit, against a loop written by hand: same sizes, one thread."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch

from pipeline.compose import load_config
from pipeline.train import train
from tests.benchmarks.by_hand import fit_by_hand
from tests.benchmarks.harness import Case, Sample, ratio
from tests.benchmarks.tables import overrides, table_file

AT_MOST = 1.10
STEPS = 20  # an epoch
TRAIN_SHARE = 0.64  # of the rows, by default


class Stopwatch(pl.Callback):
    """Seconds from the first epoch's start to the last one's end."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start = time.perf_counter()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.seconds = time.perf_counter() - self._start


def cases(folder: Path, *, quick: bool) -> list[Case]:
    """A case a batch size and network."""
    torch.set_num_threads(1)
    batches = (16,) if quick else (64, 256, 1024)
    networks = ([8],) if quick else ([64, 64], [128, 128], [256, 256, 256])
    return [_case(folder, batch, hidden, 0.01 if quick else 1.0) for batch in batches for hidden in networks]


def _case(folder: Path, batch: int, hidden: Sequence[int], seconds: float) -> Case:
    file = table_file(folder, int(batch * STEPS / TRAIN_SHARE))
    _by_hand(file, batch, hidden, 1)  # the first is slower
    n_epochs = 1 + round(1000 * seconds / (_by_hand(file, batch, hidden, 2)["ms"] * STEPS))
    contestants = {
        "ours": partial(_ours, file, batch, hidden, n_epochs, folder / "mlruns"),
        "by hand": partial(_by_hand, file, batch, hidden, n_epochs),
    }
    return Case(f"batch {batch}, {len(hidden)}x{hidden[0]}", contestants, [ratio("ours", "by hand", "ms", AT_MOST)])


def _ours(file: Path, batch: int, hidden: Sequence[int], n_epochs: int, root: Path) -> Sample:
    """The fit of a whole run, without what comes before and after it."""
    asked = [f"model.hidden={list(hidden)}", f"trainer.batch_size={batch}", f"trainer.max_epochs={n_epochs}"]
    config = load_config([*overrides(file, root), *asked, "trainer.patience=null", "trainer.threads=1"])
    watch = Stopwatch()
    train(config, [watch])
    return {"ms": 1000 * watch.seconds / (n_epochs * STEPS)}


def _by_hand(file: Path, batch: int, hidden: Sequence[int], n_epochs: int) -> Sample:
    taken = fit_by_hand(file, batch=batch, hidden=hidden, n_epochs=n_epochs, n_train=batch * STEPS)
    return {"ms": 1000 * taken / (n_epochs * STEPS)}
