"""What tests share: a folder of their own, a tracking store that is made once, the command line in this process."""

import logging
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import hypothesis
import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch

from pipeline.cli import main
from pipeline.compose import load_config
from pipeline.config import Config
from pipeline.loop import History

hypothesis.settings.register_profile("unhurried", deadline=None)  # a busy machine is no fault of the code
hypothesis.settings.load_profile("unhurried")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what is in the background deaf to Ctrl-C


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session", autouse=True)
def temporary_files_where_pytest_removes_them(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What outlives a test, as the models that several share, does not pile up on the machine."""
    tempfile.tempdir = str(tmp_path_factory.getbasetemp())


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing a test writes, and nothing the user has set, reaches another."""
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    own = logging.getLogger("pipeline")  # the command line gives it a handler of its own
    own.handlers, own.propagate = [], True


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The tracking root a test's commands write to when they name none."""
    folder = tmp_path / "mlruns"
    folder.mkdir()
    return folder


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of a short run or study and is tested apart."""
    monkeypatch.setattr("pipeline.report.run_figures", lambda *_, **__: {})
    monkeypatch.setattr("pipeline.report.importance", lambda *_, **__: None)
    monkeypatch.setattr("pipeline.canvas.to_png", lambda _: b"")
    monkeypatch.setattr("pipeline.studies.study.study_figures", lambda *_: (b"", {"history": b""}))


@pytest.fixture
def slow_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if each epoch took three seconds."""

    class Slow(History):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            super().on_train_epoch_end(trainer, pl_module)
            self.rows[-1]["time/epoch"] = 3.0

    monkeypatch.setattr("pipeline.fitting.History", Slow)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """`cli("train", "data=iris")` runs the command in this process."""

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["pipeline", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        said = capsys.readouterr()
        return Done(int(stopped.value.code or 0), said.out, said.err)

    return run


SMALL = {  # networks that take a test milliseconds
    "mlp": ["model.hidden=[8]"],
    "realmlp": ["model.hidden=[8,8]"],
    "tabm": ["model.n_members=3", "model.n_blocks=2", "model.d_block=8"],
    "auto": [],
    "resnet": ["model.n_blocks=2", "model.d_block=8"],
    "ft_transformer": ["model.n_blocks=2", "model.d_block=16", "model.n_heads=4"],
}


def small(model: str) -> list[str]:
    """Overrides for a small network of a kind."""
    return [f"model={model}", *SMALL[model]]


def quick(*overrides: str) -> Config:
    """A config for a short, untracked run on iris, with a small network and no baselines; `overrides` win."""
    short = ["data=iris", "tracking=none", "trainer.max_epochs=2", "baselines=[]"]
    chosen = next((text.removeprefix("model=") for text in overrides if text.startswith("model=")), "mlp")
    others = [text for text in overrides if not text.startswith("model=")]
    return load_config([*short, *small(chosen), *others])


def mixed_frame(n_rows: int = 200, seed: int = 0) -> pd.DataFrame:
    """A table with every kind of column: numbers with gaps, text, booleans, dates, and targets for each task."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n_rows)
    colour = rng.choice(["red", "green", "blue"], n_rows)
    frame = pd.DataFrame(
        {
            "x": x,
            "gappy": np.where(rng.random(n_rows) < 0.1, np.nan, rng.normal(size=n_rows)),
            "count": rng.integers(0, 50, n_rows),
            "colour": colour,
            "city": rng.choice([f"city {i}" for i in range(30)], n_rows),
            "member": rng.random(n_rows) < 0.5,
            "joined": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 1000, n_rows), unit="D"),
        }
    )
    signal = x + (colour == "red")
    frame["amount"] = 100 + 10 * signal + rng.normal(size=n_rows)
    frame["second"] = -signal + rng.normal(size=n_rows)
    frame["bought"] = np.where(signal > 0.3, "yes", "no")
    frame["grade"] = np.digitize(signal, [-0.5, 0.5, 1.5])
    return frame


def write_csv(path: Path, frame: pd.DataFrame, *, drop: Sequence[str] = ()) -> str:
    """Write a frame as CSV and return its path as an override takes it."""
    frame.drop(columns=list(drop)).to_csv(path, index=False)
    return str(path)
