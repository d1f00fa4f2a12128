"""A leaderboard from overrides to ranking: networks and baselines on the same splits, tracked, gone on with."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.comparisons.comparison import Progress
from pipeline.errors import ConfigError, DataError
from pipeline.leaderboards.leaderboard import Outcome, run_leaderboard
from pipeline.leaderboards.plan import make_plan
from pipeline.mistakes import shown
from pipeline.studies.workers import Pool
from pipeline.tracking import connect

SHORT = [
    "data=iris", "trainer.max_epochs=2", "model.hidden=[8]", "leaderboard.models=[mlp]", "seeds=2", "doctor=off",
    "baselines=[dummy,linear]",
]  # fmt: skip
IN_ONE = "trainer.devices: of many runs each is trained in one process; use 1, and strategy=auto"


@pytest.fixture(autouse=True)
def no_boosting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.leaderboards.plan.BOOSTING", ())


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool() as pool:
        yield pool


def ranked(pool: Pool, *overrides: str, listener: Callable[[Progress], None] = lambda _: None) -> Outcome:
    return run_leaderboard(make_plan([*SHORT, *overrides]), pool, listener)


def test_networks_are_nested_runs_with_size_and_latency_and_the_ranking_is_kept(pool: Pool, root: Path) -> None:
    outcome = ranked(pool)
    client = connect(str(root))
    parent = client.get_run(outcome.run_id)
    assert (parent.data.tags["kind"], parent.info.status) == ("leaderboard", "FINISHED")
    children = client.search_runs([parent.info.experiment_id], "tags.kind = 'leaderboard-run'")
    assert {run.data.params["data.split_seed"] for run in children} == {"0", "1"}
    assert all(row.n_bytes > 0 and row.row_seconds > 0 for row in outcome.ranking.tables["iris"])
    told = json.loads(Path(client.download_artifacts(outcome.run_id, "leaderboard.json")).read_text())
    assert told["lines"] == outcome.lines
    assert parent.data.metrics == {f"rank/{name}": mean for name, mean in outcome.ranking.ranks.items()}
    files = {file.path for file in client.list_artifacts(outcome.run_id)}
    assert files == {"leaderboard.yaml", "leaderboard.json", "figures", "leaderboard.parquet"}


def test_the_same_command_goes_on_and_fits_what_is_new_only(pool: Pool) -> None:
    seen: list[Progress] = []
    for overrides in (["seeds=1"], ["seeds=1"], ["seeds=2"]):
        ranked(pool, "tracking=none", *overrides, listener=seen.append)
    ended = {id(state): len(state.ended) for state in seen}
    assert list(ended.values()) == [3, 0, 3]


def test_a_table_that_cannot_be_read_is_named(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("x,y\n1,2\n")
    tables = f"""leaderboard.tables=["data=iris","data=csv data.path='{tmp_path / "one.csv"}' data.target=y"]"""
    with pytest.raises(DataError, match=r"^one: column 'y'"):
        ranked(pool, tables, "tracking=none")


def test_a_network_is_called_by_the_choice_that_was_named(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("defaults: [mlp]\nhidden: [4]\n")
    plan = make_plan(["data=iris", "leaderboard.models=[mlp,mine]", "baselines=[]"], tmp_path)
    assert [(entry.entrant, entry.config.model.name) for entry in plan.entries] == [("mlp", "mlp"), ("mine", "mlp")]


def test_baselines_have_the_preprocessing_of_no_network() -> None:
    given = ["data=iris", "baselines=[linear]", "leaderboard.models=[realmlp,mlp]", "model.dropout=0.2"]
    for overrides, scaling in ((given, "standard"), ([*given, "preprocess=quantile"], "quantile")):
        entry = make_plan(overrides).entries[-1]
        assert (entry.baseline, entry.config.preprocess.scaling) == ("linear", scaling)


def test_a_table_on_which_training_diverges_is_no_end_of_the_others(pool: Pool) -> None:
    tables = '["data=iris","data=wine optimizer=sgd optimizer.lr=1e30"]'
    ranking = ranked(pool, f"leaderboard.tables={tables}", "tracking=none", "baselines=[dummy]", "seeds=1").ranking
    failed = {(table, row.entrant): row.n_failed for table, rows in ranking.tables.items() for row in rows}
    assert failed == {("iris", "mlp"): 0, ("iris", "dummy"): 0, ("wine", "mlp"): 1, ("wine", "dummy"): 0}


def test_a_metric_that_does_not_fit_a_table_is_refused(pool: Pool) -> None:
    with pytest.raises(ConfigError, match=r"^leaderboard\.metric: rmse does not fit iris \(multiclass\); choices: acc"):
        ranked(pool, "leaderboard.metric=rmse", "tracking=none")


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("leaderboard.models=[mpl]", "leaderboard, mpl: model: no such choice, got 'mpl', did you mean 'mlp'?"),
        ("seeds=0", "seeds: must be greater than or equal to 1, got 0"),
        ("trainer.devices=2", IN_ONE),
        ("trainer.strategy=ddp", IN_ONE),
        ('leaderboard.tables=["trainer.devices=2"]', f"leaderboard, trainer.devices=2 mlp: {IN_ONE}"),
        (
            'leaderboard.tables=["data=iris","data=iris"]',
            "leaderboard.tables: must have names that differ, got iris twice; leave one out",
        ),
        ("model=mlp", "model: who is ranked is said by leaderboard.models; write leaderboard.models=[mlp]"),
        (
            "seed=4294967294",
            "seeds: the last of 2 from 4294967295 on must be less than 4294967296; use a smaller seed",
        ),
        *(
            (
                f"leaderboard.name='{name}'",
                f"leaderboard.name: must be a folder's name, without / and \\, got {shown(name)}",
            )
            for name in ("../x", "a/b", "..", "", "a\\b")
        ),
    ],
)
def test_mistakes_are_told_in_one_line(override: str, line: str) -> None:
    with pytest.raises(ConfigError) as error:
        make_plan([*SHORT, "data.split_seed=1", override])
    assert error.value.lines == (line,)
