"""The command line as a user meets it: what is printed, the exit code, one line for each mistake."""

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from pipeline.cli import main
from pipeline.compose import load_config, validate
from pipeline.tracking import connect
from tests.conftest import Done, write_csv

Cli = Callable[..., Done]
TABLE = ["train", "model=mlp", "data=csv", "data.path=t.csv", "data.target=y", "tracking=none", "trainer.max_epochs=1"]
IRIS = ["train", "model=mlp", "data=iris", "tracking=none", "trainer.max_epochs=1", "model.hidden=[4]"]

COMMANDS = [
    "train", "study", "compare", "leaderboard", "config", "options", "ui", "predict", "serve", "register", "models",
    "report", "doctor", "sync",
]  # fmt: skip


def frame(n_rows: int = 60) -> pd.DataFrame:
    x = np.linspace(0, 1, n_rows)
    return pd.DataFrame({"x": x, "z": x**2, "y": np.where(np.arange(n_rows) % 2, "yes", "no")})


# ---------------------------------------------------------------- what works
@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []])
def test_help_lists_the_commands(cli: Cli, arguments: list[str]) -> None:
    done = cli(*arguments)
    assert (done.code, done.err) == (0, "")
    commands = [line.split()[0] for line in done.out.partition("Commands:\n")[2].splitlines()]
    assert commands == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(cli: Cli, command: str) -> None:
    done = cli(command, "--help")
    assert done.code == 0
    assert f"pipeline {command} [OPTIONS]" in done.out.splitlines()[0]


def test_config_prints_what_train_would_do(cli: Cli) -> None:
    asked = ["data=csv", "data.path=t.csv", "data.target='Größe in m²'", "optimizer=sgd"]
    write_csv(Path("t.csv"), frame().rename(columns={"y": "Größe in m²"}))
    done = cli("config", *asked)
    assert (done.code, done.err) == (0, "")
    assert "target: Größe in m²\n" in done.out
    assert validate(yaml.safe_load(done.out)) == load_config(asked, root="train") == load_config([*asked, "model=auto"])


def test_options_prints_groups_or_fields(cli: Cli) -> None:
    assert "optimizer    adagrad  adam*" in cli("options").out
    assert "optimizer.lr=0.001   (number > 0 | auto)" in cli("options", "optimizer").out


def test_train_ends_with_a_table(cli: Cli) -> None:
    done = cli(*IRIS)
    assert done.code == 0
    assert "untracked: test" in done.out
    assert "best epoch 1 of 1" in done.out
    assert "sets made to hold 90% of the truth hold " in done.out
    assert "warning" not in done.err


def test_sync_has_nothing_to_do(cli: Cli) -> None:
    assert cli("sync") == Done(0, "nothing waits to be written\n", "")


def test_an_own_folder_of_groups(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "own" / "optimizer").mkdir(parents=True)
    (tmp_path / "own" / "optimizer" / "mine.yaml").write_text("defaults: [adam]\nlr: 0.5\n")
    assert "lr: 0.5\n" in cli("config", "optimizer=mine", "--config-dir", "own").out
    assert "mine" in cli("options", "--config-dir", "own").out


# ---------------------------------------------------------------- mistakes: one line each, exit code 2
def refusal(done: Done) -> str:
    """The one line of an error; notes on the data and the network may stand before it."""
    *notes, line = done.err.splitlines()
    assert (done.code, done.out) == (2, "")
    known = ("model=auto: ", "trainer.", "tabm: ", "task: ", "iris: ", "diabetes: ", "t: ", "mlp: ")
    assert all(note.startswith(known) for note in notes)
    return line.removeprefix("error: ")


USAGE = "Try `pipeline --help`"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["bogus"], f"No such command 'bogus'. {USAGE}"),
        (["trian"], f"No such command 'trian'. Did you mean 'train'? {USAGE}"),
        (["train", "--epochs", "3"], f"No such option: --epochs. {USAGE}"),
        (["train", "--resume"], f"Option '--resume' requires an argument. {USAGE}"),
        (["options", "model", "data"], f"Got unexpected extra argument(s) (data). {USAGE}"),
        (["options", "modle"], "options: no such group, got 'modle'; groups: comparison, data, doctor, experiment, "
            "leaderboard, loss, model, optimizer, predict, preprocess, scheduler, search, serve, study, tracking, "
            "trainer"),
        (["config", "--config-dir", "nowhere"], "--config-dir: no such folder, got 'nowhere'"),
        (["train", "seed"], "'seed': not an override; write group=choice or section.field=value"),
        (["train", "optimizer=adm"], "optimizer: no such choice, got 'adm', did you mean 'adam'?"),
        (["train", "optimizer.lrr=1"], "optimizer.lrr: no such setting, did you mean 'lr'?"),
        (["train", "optimizer.lr=-1"], "optimizer.lr: must be greater than 0 or 'auto', got -1"),
        (["train", "data=csv", "data.path=t.csv"], "data.target: must be given, as data.target=VALUE"),
        (["train", "hydra.run.dir=x"], "hydra: no such setting; choices: baselines, data, doctor, loss, model, "
            "optimizer, predict, preprocess, scheduler, seed, serve, tracking, trainer"),
        (["train", "--resume", "abc", "seed=3"], "--resume: goes on with the run's own settings, got seed=3; "
            "leave it out, or start a new run"),
        (["train", "--resume", "abc", "--config-dir", "."], "--resume: goes on with the run's own settings, "
            "got --config-dir; leave it out, or start a new run"),
        ([*IRIS, "loss=mse"], "loss: mse does not fit multiclass; choices: auto, cross_entropy, smoothed"),
        ([*IRIS, "loss=bce"], "loss: bce needs two classes, the target has 3; use loss=cross_entropy"),
        ([*IRIS, "data=diabetes", "loss.class_weight=balanced"],
            "loss.class_weight: applies to classification, and the task is regression"),
        ([*IRIS, "trainer.monitor=val/rmse"], "trainer.monitor: val/rmse does not fit multiclass; choices: val/loss, "
            "val/accuracy, val/balanced_accuracy, val/macro_f1, val/roc_auc, val/log_loss, val/brier, val/ece"),
        ([*IRIS, "data.drop=[petal]"],
         "column 'petal': not in the table; columns: sepal length (cm), sepal width (cm), petal length "
         "(cm), petal width (cm), target"),
        ([*IRIS, "data.split=grouped", "data.group=patient"],
         "column 'patient': not in the table; columns: sepal length (cm), sepal width (cm), petal length "
         "(cm), petal width (cm), target"),
        ([*IRIS, "data=diabetes", "data.split=stratified"],
            "data.split: stratified needs classes, and the task is regression; use random"),
        (["train", "data=mobile_price"], "data.path: no such file, got 'train.csv'; download train.csv from "
            "https://www.kaggle.com/datasets/iabhishekofficial/mobile-price-classification and give its place: "
            "data.path=FOLDER/train.csv"),
        ([*TABLE, "data.path=nowhere.csv"], "data.path: no such file, got 'nowhere.csv'"),
        ([*TABLE, "data.path=."], "data.path: is a folder, not a file, got '.'"),
    ],
)  # fmt: skip
def test_bad_settings(cli: Cli, arguments: list[str], line: str) -> None:
    assert refusal(cli(*arguments)) == line


def changed(column: str, row: int, value: object) -> pd.DataFrame:
    table = frame()
    cells = table[column].tolist()
    return table.assign(**{column: [*cells[:row], value, *cells[row + 1 :]]})


@pytest.mark.parametrize(
    ("table", "overrides", "line"),
    [
        (frame(), ["data.target=yy"], "column 'yy': not in the table; did you mean 'y'?"),
        (frame(), ["data.target=Price"], "column 'Price': not in the table; columns: x, z, y"),
        (changed("y", 7, None), [],
         "column 'y': the target is missing in 1 of 60 rows, first in row 8; remove or fill these rows"),
        (frame().assign(y="no"), [], "column 'y': the target has one class only, 'no'"),
        (frame().assign(y=1.5), [], "column 'y': the target is the same in every row, 1.5"),
        (changed("x", 16, "n.a."), [],
         "column 'x': 1 of 60 values are not numbers, first is 'n.a.' in row 17; if it means missing, set "
         "'data.missing_values=[\"n.a.\"]', if the column holds categories, data.categorical=[x]"),
        (changed("x", 3, np.inf), [],
         "column 'x': 1 of 60 values are infinite, first in row 4; make them missing or finite"),
        (changed("y", 3, "maybe"), [],
         "column 'y': a stratified split needs two rows a class and part, class 'maybe' has too few; pool "
         "rare classes, use data.split=random, or data.task=regression if they are amounts"),
        (frame(0), [], "t.csv: has no rows"),
        (frame(4), [], "the table has 4 rows; too few for a stratified split of 2 classes"),
        (frame()[["y"]], [], "no feature columns: the target, data.drop and data.group leave none"),
        (frame().assign(x=1, z=2), [], "no feature column varies in the training rows"),
        (frame(), ["data.separator=';'"],
         "t.csv: has one column, 'x,z,y'; if ',' separates fields, set 'data.separator=\",\"'"),
        (frame(), ["data.group=patient"], "column 'patient': not in the table; columns: x, z, y"),
        (frame().assign(g=[1, 2] * 30), ["data.group=g"],
         "column 'g': 2 groups are too few for one each to train, validate and test; leave data.group out"),
        (frame().assign(t="soon"), ["data.time=t"],
         "column 't': 60 of 60 values are not dates such as 2020-01-31, first is 'soon' in row 1"),
        (frame(), ["data.test_path=t2.csv"], "data.test_path: no such file, got 't2.csv'"),
        (frame(), ["data.task=regression"], "column 'y': 60 of 60 values are not numbers, first is 'no' in row 1"),
        (frame(), ["data.target=[x,y]"], "column 'y': 60 of 60 values are not numbers, first is 'no' in row 1"),
        (frame(), ["data.target=[x,z]", "data.task=classification"],
         "data.target: several targets mean regression, got data.task=classification with ['x', 'z']"),
        (frame(), ["loss=mae"], "loss: mae does not fit binary; choices: auto, bce, cross_entropy, smoothed"),
        (frame().rename(columns={"x": "a\nb"}), ["data.drop=[ab]"],
         "column 'ab': not in the table; did you mean 'a b'?"),
    ],
)  # fmt: skip
def test_a_bad_table(cli: Cli, table: pd.DataFrame, overrides: list[str], line: str) -> None:
    write_csv(Path("t.csv"), table)
    assert refusal(cli(*TABLE, *overrides)) == line


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("t.csv", b"", "t.csv: Empty CSV file"),
        ("t.csv", b"\n", "t.csv: Empty CSV file or block: cannot infer number of columns"),
        ("t.csv", b"x,x,y\n1,2,a\n3,4,b\n", "t.csv: column name 'x' stands 2 times; names must differ"),
        ("t.csv", b"x;z;y\n1;2;a\n3;4;b\n",
         "t.csv: has one column, 'x;z;y'; if ';' separates fields, set 'data.separator=\";\"'"),
        ("t.csv", b"x,y\n1,a\n3\n", "t.csv: row 2: expected 2 columns, got 1: 3"),
        ("t.csv", b"x,y\n\xff,a\n3,b\n", "t.csv: column 'x' is not UTF-8 text in row 1; save the file as UTF-8"),
        ("t.csv", b"PK\x03\x04\x00\xff", "t.csv: Empty CSV file or block: cannot infer number of columns"),
        ("t.csv.gz", b"x,y\n1,a\n", "t.csv.gz: zlib inflate failed: incorrect header check"),
        ("t.parquet", b"x,y\n1,a\n",
         "t.parquet: Parquet magic bytes not found in "
         "footer. Either the file is corrupted or this is not a parquet file"),
        ("t.xlsx", b"PK", "data.path: must end in .csv, .csv.gz or .parquet, got 't.xlsx'"),
    ],
)  # fmt: skip
def test_a_bad_file(cli: Cli, name: str, content: bytes, line: str) -> None:
    Path(name).write_bytes(content)
    assert refusal(cli(*TABLE, f"data.path={name}")) == line


# ---------------------------------------------------------------- mistakes that need a machine in a certain state
def test_no_gpu(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert refusal(cli(*IRIS, "trainer.accelerator=gpu")) == "trainer: No supported gpu backend found!"


@pytest.mark.parametrize("run_id", ["abc", "0" * 32])
def test_a_run_that_is_not_there(cli: Cli, root: Path, run_id: str) -> None:
    connect(str(root))
    line = f"run '{run_id}': not in sqlite:///{root}/mlflow.db; give a run's id, its first digits, or its name"
    assert refusal(cli("train", "--resume", run_id)) == line
    assert refusal(cli("train", "--resume", run_id, f"tracking.root={root}")) == line


def test_an_empty_run_id_starts_no_run(cli: Cli, root: Path) -> None:
    """As of `--resume "$RUN"` where RUN is not set."""
    connect(str(root))
    assert refusal(cli("train", "--resume", "")).startswith(f"run '': not in sqlite:///{root}/mlflow.db")


def test_a_run_where_there_are_none_makes_no_store(cli: Cli) -> None:
    assert refusal(cli("train", "--resume", "abc")) == "run 'abc': there are no runs under mlruns"
    assert not Path("mlruns").exists()


def test_a_port_in_use(cli: Cli) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = f"--port: {port} cannot be used (Address already in use); choose another, as --port {port + 1}"
        assert refusal(cli("ui", "--port", str(port))) == line


def test_a_tracking_server_that_does_not_answer(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    away = "MLFLOW_TRACKING_URI: the tracking store http://127.0.0.1:9 cannot be used: API request to "
    assert refusal(cli("train", "data=iris")).startswith(away)
    assert refusal(cli("train", "--resume", "abc")).startswith(away)
    assert refusal(cli("predict", "abc", "in.csv", "-o", "out.csv")).startswith(away)
    assert refusal(cli("register", "abc")).startswith(away)


def test_several_mistakes_are_a_line_each(cli: Cli) -> None:
    done = cli("train", "optimizer.lr=0", "trainer.max_epochs=x", "tracking=no")
    assert done == Done(
        2,
        "",
        "error: tracking: no such choice, got 'no', did you mean 'none'?\n"
        "error: optimizer.lr: must be greater than 0 or 'auto', got 0\n"
        "error: trainer.max_epochs: must be a whole number, got 'x'\n",
    )


# ---------------------------------------------------------------- interrupts and bugs
class Interrupting:
    """A finder in which Ctrl-C comes while `name` is imported."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        if name == self.name:
            raise KeyboardInterrupt


@pytest.mark.parametrize("module", ["pipeline.train", "pipeline.progress", "pipeline.compose"])
def test_ctrl_c_during_an_import(cli: Cli, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [Interrupting(module), *sys.meta_path])
    assert cli(*IRIS) == Done(130, "", "")


@pytest.mark.parametrize("place", ["pipeline.data.prepared.load_table", "pipeline.train.build_network"])
def test_ctrl_c_before_training(cli: Cli, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupted)
    done = cli(*IRIS)
    assert (done.code, done.out) == (130, "")
    assert "Traceback" not in done.err


@pytest.mark.parametrize("place", ["pipeline.compose.load_config", "pipeline.data.prepared.load_table"])
def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    def broken(*arguments: object, **named: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(place, broken)
    monkeypatch.setattr(sys, "argv", ["pipeline", *IRIS])
    with pytest.raises(RuntimeError, match="a bug"):
        main()


def test_the_module_is_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipeline", "config", "seed=-1"]
    source = str(Path(main.__code__.co_filename).parents[1])
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": source}
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: seed: must be greater than or equal to 0, got -1\n"
