"""What is said while training: a bar in a terminal, lines elsewhere."""

import io
import re
from itertools import count

import numpy as np
import pytest
from rich.console import Console

from pipeline import progress
from pipeline.progress import ProgressReport
from pipeline.train import train
from tests.conftest import quick


def said(*overrides: str, terminal: bool) -> str:
    """What a run of four epochs shows."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=160, highlight=False)
    config = quick("trainer.max_epochs=4", *overrides)
    train(config, [ProgressReport(console, monitor=config.trainer.monitor)])
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_without_a_terminal_a_line_tells_epoch_loss_metric_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0)
    lines = said("trainer.monitor=val/accuracy", terminal=False).splitlines()
    assert len(lines) == 4
    numbers = r"train/loss [\d.]+  val/loss [\d.]+  val/accuracy [\d.]+  about \d+ s left"
    for epoch, line in enumerate(lines, 1):
        assert re.fullmatch(f"epoch {epoch}/4  {numbers}", line)


def test_the_time_left_is_told_to_the_soonest_end_and_to_the_last_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0)
    monkeypatch.setattr("pipeline.progress.time.monotonic", count(step=10).__next__)
    never_better = ["optimizer=sgd", "optimizer.lr=1e-30", "trainer.patience=3", "trainer.max_epochs=50"]
    found = [
        re.search(r"about (\d+) to (\d+) s left", line) for line in said(*never_better, terminal=False).splitlines()
    ]
    soonest, last = (np.array([int(match[number]) for match in found if match]) for number in (1, 2))
    assert (soonest < last).all()
    assert soonest.tolist().index(0) == len(soonest) - 1 == 3  # three epochs after the first


def test_no_more_time_is_told_than_max_time_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0)
    monkeypatch.setattr("pipeline.progress.time.monotonic", count(step=1000).__next__)
    left = [int(text) for text in re.findall(r"about (\d+) s left", said("trainer.max_time=60", terminal=False))]
    assert len(left) == 4
    assert left[0] <= 60
    assert left[-1] == 0  # the last epoch


def test_without_a_terminal_lines_come_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 3600)
    assert said(terminal=False) == ""


def test_in_a_terminal_a_bar_tells_the_same_and_is_gone_at_the_end() -> None:
    shown = said("trainer.monitor=val/accuracy", terminal=True)
    plain = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", shown)
    assert "4/4" in plain
    assert re.search(r"train/loss [\d.]+  val/loss [\d.]+  val/accuracy [\d.]+", plain)
    assert shown.rstrip().endswith("\x1b[2K")  # the line is cleared
    assert "\x1b[?25h" in shown  # the cursor is shown again


def test_the_bar_is_taken_away_when_training_fails() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    report = ProgressReport(console, monitor="val/loss")
    with pytest.raises(Exception, match="the training loss is"):
        train(quick("optimizer=sgd", "optimizer.lr=1e30", "model.batch_norm=false"), [report])
    assert isinstance(console.file, io.StringIO)
    assert "\x1b[?25h" in console.file.getvalue()
