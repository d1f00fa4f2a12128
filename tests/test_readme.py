"""What the README says is so: its commands run, its tables name what there is."""

import re
import shlex
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_iris

from pipeline.compose import list_groups, load_config
from pipeline.studies.plan import make_plan
from pipeline.train import train
from tests.conftest import Done, mixed_frame

PROJECT = Path(__file__).resolve().parent.parent
README = (PROJECT / "README.md").read_text()
COMMANDS = re.findall(r"^\.venv/bin/(pipeline (?:train|study) .*)$", README, re.MULTILINE)
ON_A_MODEL = re.findall(r"^\.venv/bin/(pipeline (?:models|predict|serve).*)$", README, re.MULTILINE)


def test_there_are_commands_to_try() -> None:
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize(
    "command",
    [pytest.param(text, marks=[] if re.search("iris|wine", text) else pytest.mark.slow) for text in COMMANDS],
)
def test_commands_run(command: str, cli: Callable[..., Done], root: Path, tmp_path: Path) -> None:
    frame = mixed_frame().rename(columns={"amount": "price"})
    frame.to_csv(tmp_path / "table.csv", index=False)
    words = shlex.split(command)[1:]
    short = ["trainer.max_epochs=1", *(["study.n_trials=2", "study.refit_seeds=1"] if words[0] == "study" else [])]
    done = cli(*words, *short)
    assert done.code == 0, done.err
    assert ("best settings: " if words[0] == "study" else "95 % interval") in done.out


def test_commands_on_a_model_run(
    cli: Callable[..., Done], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("train", "model=mlp", "trainer.max_epochs=1").code == 0
    load_breast_cancer(as_frame=True).data.head(20).to_csv(tmp_path / "rows.csv", index=False)
    monkeypatch.setattr("pipeline.serving.run.uvicorn.Server.serve", stopped_at_once)
    told = [cli(*shlex.split(command)[1:]) for command in ON_A_MODEL]
    assert [done.code for done in told] == [0, 0, 0], [done.err for done in told]
    assert "breast_cancer-binary" in told[0].out
    assert len(pd.read_csv(tmp_path / "predictions.csv")) == 20
    assert "breast_cancer (binary) at http://127.0.0.1:8000/" in told[2].out


async def stopped_at_once(server: object, sockets: list[socket.socket]) -> None:
    for bound in sockets:
        bound.close()


def test_the_python_example_runs(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("Interval(value=")


def test_the_bundle_example_runs(root: Path) -> None:
    code, _ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    run = train(load_config(["data=iris", "trainer.max_epochs=1"])).run_id
    columns = {name: np.ones(3) for name in load_iris().feature_names}
    given: dict[str, Any] = {"columns": columns}
    exec(compile(code.replace("RUN", run), "README.md", "exec"), given)
    assert list(given["answers"]) == [
        "predicted", *(f"probability of {name}" for name in load_iris().target_names), "set",
    ]  # fmt: skip


def test_the_table_of_groups_is_complete() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (`.*`) \|$", README, re.MULTILINE)
    told = {group: sorted(re.findall(r"`(\w+)`", choices)) for group, choices in rows}
    assert told == list_groups()


def test_every_command_is_told_of(cli: Callable[..., Done]) -> None:
    commands = set(re.findall(r"^  (\w+)  ", cli("--help").out.partition("Commands:")[2], re.MULTILINE))
    assert commands
    assert commands == set(re.findall(r"^\| `pipeline (\w+)", README, re.MULTILINE))


def test_a_users_own_group_works_as_told(cli: Callable[..., Done], tmp_path: Path) -> None:
    folder = tmp_path / "own" / "optimizer"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("defaults: [adam]\nlr: 0.01\n")
    done = cli("config", "--config-dir", str(tmp_path / "own"), "optimizer=mine")
    assert done.code == 0, done.err
    assert "name: adam" in done.out
    assert "lr: 0.01" in done.out


def test_the_search_space_of_ones_own_can_be_searched(tmp_path: Path) -> None:
    (space,) = re.findall(r"```yaml\n# DIR/search/mine.yaml.*?\n(.*?)```", README, re.DOTALL)
    folder = tmp_path / "own" / "search"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(space)
    plan = make_plan(["search=mine", "search.space.model.dropout.high=0.4"], tmp_path / "own")
    assert list(plan.space) == ["model.hidden", "model.dropout", "optimizer"]


def test_make_help_lists_every_target() -> None:
    made = subprocess.run(["make"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"^\.PHONY: (.*)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)[0].split())
    assert set(re.findall(r"make (\w+)", made)) >= targets


def test_pictures_are_there() -> None:
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", README)
    assert pictures
    assert all((PROJECT / picture).is_file() for picture in pictures)
