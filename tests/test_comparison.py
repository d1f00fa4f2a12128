"""A comparison from overrides to verdict: run in processes, tracked under one run, gone on with, honest about noise."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from pipeline.comparisons.comparison import Outcome, Progress, run_comparison
from pipeline.comparisons.plan import make_plan
from pipeline.errors import ConfigError, TrainingError
from pipeline.studies.workers import Pool
from pipeline.tracking import connect
from tests.conftest import Done

SHORT = ["data=iris", "trainer.max_epochs=3", "model.hidden=[8]", "comparison.workers=1", "seeds=2", "doctor=off"]


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool() as pool:
        yield pool


def compared(pool: Pool, *overrides: str, listener: Callable[[Progress], None] = lambda _: None) -> Outcome:
    return run_comparison(make_plan([*SHORT, *overrides]), pool, listener)


def n_trained(pool: Pool, *overrides: str) -> int:
    seen: list[Progress] = []
    compared(pool, *overrides, listener=seen.append)
    return len(seen[-1].ended) if seen else 0


def test_runs_are_nested_under_one_with_figure_table_and_sentences(pool: Pool, root: Path) -> None:
    outcome = compared(pool, "vary.optimizer=[sgd,adam]")
    client = connect(str(root))
    parent = client.get_run(outcome.run_id)
    assert (parent.data.tags["kind"], parent.data.tags["comparison"]) == ("comparison", "iris-optimizer")
    assert (parent.info.status, parent.data.tags["status"]) == ("FINISHED", "finished")
    children = client.search_runs([parent.info.experiment_id], "tags.kind = 'comparison-run'")
    assert sorted(run.data.tags["label"] for run in children) == ["adam", "adam", "sgd", "sgd"]
    assert {run.data.params["seed"] for run in children} == {"0", "1"}
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {outcome.run_id}
    assert not client.search_registered_models()
    lines = json.loads(Path(client.download_artifacts(outcome.run_id, "comparison.json")).read_text())["lines"]
    assert lines == outcome.lines
    assert lines[0].startswith("val/loss at the best epoch: ")
    assert "paired t-test at 5 %" in lines[1]
    table = pd.read_parquet(client.download_artifacts(outcome.run_id, "table.parquet"))
    assert sorted(table["case"]) == ["adam", "sgd"]
    files = {file.path for file in client.list_artifacts(outcome.run_id)}
    assert files == {"comparison.yaml", "comparison.json", "figures", "table.parquet"}


def test_the_same_command_goes_on_and_trains_what_is_new_only(pool: Pool) -> None:
    assert n_trained(pool, "vary.optimizer=[sgd,adam]", "tracking=none") == 4
    assert n_trained(pool, "vary.optimizer=[sgd,adam]", "tracking=none") == 0
    assert n_trained(pool, "vary.optimizer=[sgd,adam,rmsprop]", "seeds=3", "tracking=none") == 5


def test_untracked_runs_side_by_side_leave_each_others_checkpoints_alone(pool: Pool) -> None:
    often = ["trainer.checkpoint_seconds=0", "trainer.max_epochs=60", "trainer.patience=null", "comparison.workers=2"]
    assert n_trained(pool, "vary.optimizer=[sgd,adam]", "tracking=none", *often) == 4


def test_other_settings_under_the_same_name_are_refused_with_the_difference(pool: Pool) -> None:
    compared(pool, "vary.optimizer=[sgd,adam]", "tracking=none")
    with pytest.raises(ConfigError) as error:
        compared(pool, "vary.optimizer=[sgd,adam]", "tracking=none", "trainer.max_epochs=4")
    assert str(error.value) == (
        "comparison.name: 'iris-optimizer' is of other settings: trainer.max_epochs was 3, is 4; "
        "choose another comparison.name"
    )


def test_what_diverges_is_told_and_in_no_test(pool: Pool) -> None:
    plain = ["optimizer=sgd", "model.activation=identity", "tracking=none"]
    outcome = compared(pool, "vary.optimizer.lr=[0.01,1e20]", *plain)
    assert outcome.lines[-1] == "diverged, so in no test: lr=1e+20 (2 of 2 seeds)"
    with pytest.raises(TrainingError, match=r"^every setting diverged with some seed, the first: the training loss is"):
        compared(pool, "vary.optimizer.lr=[1e20,1e21]", "comparison.name=none", *plain)


def test_one_seed_is_said_to_tell_nothing(pool: Pool) -> None:
    outcome = compared(pool, "vary.optimizer=[sgd,adam]", "seeds=1", "tracking=none")
    assert outcome.lines[1] == "one seed cannot tell a difference from noise; write seeds=5"


@pytest.mark.slow
def test_the_command_line_shows_table_and_sentences(root: Path, cli: Callable[..., Done]) -> None:
    done = cli("compare", *SHORT, "vary.optimizer=[sgd,adam]")
    assert done.code == 0, done.err
    assert "val/loss at the best epoch" in done.out
    assert connect(str(root)).get_experiment_by_name("iris") is not None


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_stopped_comparison_goes_on_with_the_same_command(root: Path, number: signal.Signals, code: int) -> None:
    epochs = ["trainer.max_epochs=40", "trainer.patience=null", "model.hidden=[64]", "data=digits"]
    command = [sys.executable, "-m", "pipeline", "compare", *SHORT, *epochs, "vary.optimizer=[sgd,adam,rmsprop]"]
    stopped = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while len(children(root)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    stopped.send_signal(number)
    assert stopped.wait(60) == code
    kept = children(root)
    assert 2 <= len(kept) < 6
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert f"{len(kept)} of 6 runs done before" in done.stderr
    assert len(children(root)) == 6
    client = connect(str(root))
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert not [run for run in runs if run.info.status == "RUNNING"]
    finished = [run for run in runs if run.data.tags.get("kind") == "comparison-run" and run.info.status == "FINISHED"]
    assert len({(run.data.tags["label"], run.data.params["seed"]) for run in finished}) == 6


def children(root: Path) -> set[Path]:
    """Files of the finished children."""
    return set(root.glob("comparisons/*/*/*.json"))
