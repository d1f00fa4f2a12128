"""A comparison from overrides to verdict: run in processes, tracked under one run, gone on with, honest about noise."""

import json
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


def test_the_command_line_shows_table_and_sentences(root: Path, cli: Callable[..., Done]) -> None:
    done = cli("compare", *SHORT, "vary.optimizer=[sgd,adam]")
    assert done.code == 0, done.err
    assert "val/loss at the best epoch" in done.out
    assert connect(str(root)).get_experiment_by_name("iris") is not None
