"""A study from overrides to winner: searched in processes, kept, gone on with, tracked, tested once."""

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.compose import load_config, overrides_of_file
from pipeline.errors import ConfigError, TrainingError
from pipeline.studies.plan import make_plan
from pipeline.studies.storage import finished, open_storage
from pipeline.studies.study import Outcome, run_study
from pipeline.studies.workers import Pool
from pipeline.tracking import connect
from tests.conftest import Done

pytestmark = pytest.mark.usefixtures("without_figures")

SHORT = ["data=iris", "search=mlp", "trainer.max_epochs=6", "study.refit_seeds=0", "study.workers=1"]
LR = "search.space={{optimizer.lr:{{type:float,low:{low},high:{high},log:true}}}}"


def search(*overrides: str) -> Outcome:
    with Pool() as pool:
        return run_study(make_plan([*SHORT, *overrides]), pool)


def trials(*overrides: str) -> list[optuna.trial.FrozenTrial]:
    plan = make_plan([*SHORT, *overrides])
    return optuna.load_study(study_name=plan.name, storage=open_storage(plan.config, plan.name)).get_trials()


def tracked(client: MlflowClient, kind: str) -> list[Run]:
    experiment = client.get_experiment_by_name("iris")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], f"tags.kind = '{kind}'"))


@pytest.fixture
def client(root: Path) -> MlflowClient:
    return connect(str(root))


# ---------------------------------------------------------------- what a study leaves
def test_a_study_keeps_its_trials_their_runs_and_the_winner(client: MlflowClient, root: Path) -> None:
    outcome = search("study.n_trials=6", "study.refit_seeds=2", "study.ensemble=2", "study.workers=2")
    kept = trials("study.n_trials=6")
    assert [trial.number for trial in kept] == list(range(6))
    assert all(trial.state.name in ("COMPLETE", "PRUNED") for trial in kept)

    (parent,) = tracked(client, "study")
    assert (parent.info.status, parent.data.tags["status"]) == ("FINISHED", "finished")
    assert parent.data.metrics["trials/complete"] + parent.data.metrics["trials/pruned"] == 6
    runs = {int(run.data.tags["trial"]): run for run in tracked(client, "trial")}
    for trial in kept:
        run = runs[trial.number]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["state"] == trial.state.name
        assert run.info.status == {"COMPLETE": "FINISHED", "PRUNED": "KILLED"}[trial.state.name]
        assert float(run.data.params["optimizer.lr"]) == pytest.approx(trial.params["optimizer.lr"])
        n_epochs = trial.user_attrs["ran"]["n_epochs"]
        history = client.get_metric_history(run.info.run_id, "val/loss")
        assert [point.step for point in history] == list(range(1, n_epochs + 1))
        assert not {name for name in run.data.metrics if name.startswith("test/")}

    refits = tracked(client, "refit")
    roles = [run.data.tags["role"] for run in refits]
    assert {role: roles.count(role) for role in roles} == {"best": 2, "default": 2, "member": 2}
    assert all("test/log_loss" in run.data.metrics for run in refits)
    names = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"best.yaml", "study.yaml", "study.html", "trials.parquet", "figures"} <= names
    assert "refitted over 2 seeds: test/log_loss" in "\n".join(outcome.lines)
    champion = client.get_model_version_by_alias("iris-multiclass", "champion")
    assert champion.run_id in {run.info.run_id for run in refits if run.data.tags["role"] == "best"}
    assert "registered as iris-multiclass version 1, champion: the first of this data set and task" in outcome.lines
    assert outcome.best_value == min(trial.values[0] for trial in kept if trial.values)


def test_the_best_settings_can_be_trained_with_and_changed(root: Path, cli: Callable[..., Done]) -> None:
    search("study.n_trials=3")
    file = root / "studies" / "iris-mlp" / "best.yaml"
    best = min((trial for trial in trials() if trial.values), key=lambda trial: trial.values[0])
    done = cli("config", "--config", str(file), "seed=7")
    assert done.code == 0, done.err
    values = yaml.safe_load(done.out)
    assert values["seed"] == 7
    assert values["optimizer"]["lr"] == best.params["optimizer.lr"]
    chosen_anew = load_config([*overrides_of_file(file, ["optimizer=sgd"]), "optimizer=sgd"])
    assert chosen_anew.optimizer.name == "sgd"
    assert chosen_anew.model.shape == str(values["model"]["hidden"])


def test_the_default_settings_are_trial_0_and_known_good_ones_come_next() -> None:
    search("study.n_trials=2", "study.enqueue=[{optimizer.lr:0.02,model.hidden:[40]}]")
    first, second = trials()
    assert (first.params["optimizer.lr"], first.params["model.hidden.length"]) == (0.001, 2)
    assert (second.params["optimizer.lr"], second.params["model.hidden.0"]) == (0.02, 40)
    assert (first.user_attrs["kind"], second.user_attrs["kind"]) == ("default", "study.enqueue.0")


# ---------------------------------------------------------------- the same again, and on
@pytest.mark.slow
def test_one_seed_and_one_worker_give_the_same_trials_twice() -> None:
    search("study.n_trials=14", "study.name=a")
    search("study.n_trials=14", "study.name=b")
    first, second = ([(t.params, t.values, t.state) for t in trials(f"study.name={name}")] for name in "ab")
    assert first == second


@pytest.mark.slow
def test_a_study_goes_on_to_more_trials_as_one_that_was_never_stopped(client: MlflowClient) -> None:
    search("study.n_trials=13", "study.name=whole")
    search("study.n_trials=5", "study.name=parts")
    outcome = search("study.n_trials=13", "study.name=parts")
    whole, parts = (
        [(t.params, t.values, t.state) for t in trials(f"study.name={name}")] for name in ("whole", "parts")
    )
    assert whole == parts
    assert len(tracked(client, "study")) == 2
    again = search("study.n_trials=13", "study.name=parts")
    assert again.lines == [*outcome.lines, "nothing to do: raise study.n_trials to go on"]
    assert len(trials("study.name=parts")) == 13


def test_trials_that_a_kill_cut_off_are_failed_and_their_settings_queued_again(client: MlflowClient) -> None:
    search("study.n_trials=2")
    plan = make_plan(SHORT)
    study = optuna.load_study(study_name=plan.name, storage=open_storage(plan.config, plan.name))
    cut = study.ask()
    lost = {name: cut._suggest(name, kind) for name, kind in trials()[0].distributions.items()}
    del study

    search("study.n_trials=4")
    after = trials()
    assert after[cut.number].state.name == "FAIL"
    assert after[cut.number].user_attrs["error"] == "the study was killed"
    again = next(trial.params for trial in after if trial.number > cut.number)
    assert lost.items() <= again.items()
    assert len(finished(after)) == 4
    runs = {int(run.data.tags["trial"]): run for run in tracked(client, "trial")}
    assert sorted(runs) == [trial.number for trial in after]
    assert runs[cut.number].info.status == "FAILED"
    assert all(run.info.status != "RUNNING" for run in runs.values())


def test_other_settings_under_an_existing_name_are_refused_with_the_difference() -> None:
    search("study.n_trials=1")
    with pytest.raises(ConfigError) as caught:
        search("study.n_trials=2", "search.space.model.dropout.high=0.5", "trainer.max_epochs=7")
    (line,) = caught.value.lines
    assert line == (
        "study.name: 'iris-mlp' is of other settings: trainer.max_epochs was 6, is 7; "
        "search.space.model.dropout.high was 0.6, is 0.5; choose another study.name"
    )


def test_other_data_under_an_existing_name_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    table = ["data=csv", f"data.path={file}", "data.target=y", "study.n_trials=1", "study.name=own"]
    rows = "".join(f"{i % 7},{i % 5},{'ab'[i % 2]}\n" for i in range(200))
    file.write_text("x,z,y\n" + rows)
    search(*table)
    file.write_text("x,z,y\n" + rows + "1,2,a\n")
    with pytest.raises(ConfigError, match=r"^study\.name: 'own' is of other settings: digest of the data was "):
        search(*table)


# ---------------------------------------------------------------- trials that fail
def test_a_diverging_trial_is_recorded_and_stops_nothing(client: MlflowClient) -> None:
    space = LR.format(low="1e19", high="1e20")
    plain = ["optimizer=sgd", "model.batch_norm=false", "data=diabetes", "study.name=wild"]
    search(space, *plain, "study.enqueue=[{optimizer.lr:1e20}]", "study.n_trials=3", "study.max_failures=9")
    states = [trial.state.name for trial in trials(space, *plain)]
    assert states == ["FAIL"] * 3
    assert all("the training loss is" in trial.user_attrs["error"] for trial in trials(space, *plain))


def test_too_many_failures_in_a_row_end_the_study_with_the_cause() -> None:
    space = LR.format(low="1e19", high="1e20")
    with pytest.raises(TrainingError, match=r"^study 'wild': 2 trials in a row failed, the last: the training loss is"):
        search(
            space, "optimizer=sgd", "model.batch_norm=false", "data=diabetes", "study.name=wild", "study.n_trials=9",
            "study.max_failures=2",
        )  # fmt: skip


# ---------------------------------------------------------------- other ways to search
@pytest.mark.parametrize(
    "sampler", ["random", *(pytest.param(name, marks=pytest.mark.slow) for name in ("cma_es", "nsga2", "qmc", "gp"))]
)
def test_a_sampler_searches(sampler: str) -> None:
    search(f"study.sampler={sampler}", "study.n_trials=4", "trainer.max_epochs=2")
    assert [trial.state.is_finished() for trial in trials(f"study.sampler={sampler}")] == [True] * 4


@pytest.mark.parametrize(
    "pruner",
    [
        *(
            pytest.param(text, marks=pytest.mark.slow)
            for text in (
                "hyperband", "successive_halving", "percentile study.pruner_options={percentile:50,n_startup_trials:1}",
                "patient study.pruner_options={patience:1}",
            )
        ),
        "threshold study.pruner_options={upper:0.001}", "none",
    ],
)  # fmt: skip
def test_a_pruner_prunes_or_not(pruner: str) -> None:
    search(*f"study.pruner={pruner}".split(), "study.n_trials=3")
    states = {trial.state.name for trial in trials()}
    assert states <= {"COMPLETE", "PRUNED"}
    if pruner.startswith("threshold"):
        assert states == {"PRUNED"}
    if pruner == "none":
        assert states == {"COMPLETE"}


def test_a_grid_tries_every_combination_once() -> None:
    space = "search.space={optimizer.lr:{type:categorical,choices:[0.01,0.1]},seed:{type:int,low:0,high:1}}"
    base = ["~search.space", "study.sampler=grid", "study.n_trials=5", "trainer.max_epochs=1", "study.name=grid"]
    search(*base, "+" + space, "optimizer.lr=0.01")
    tried = [(trial.params["optimizer.lr"], trial.params["seed"]) for trial in trials(*base, "+" + space)]
    assert sorted(tried[1:]) == [(0.01, 0), (0.01, 1), (0.1, 0), (0.1, 1)]


def test_several_objectives_give_a_front() -> None:
    outcome = search("study.metrics=[val/log_loss,n_params]", "study.n_trials=5", "study.name=front")
    kept = trials("study.metrics=[val/log_loss,n_params]", "study.name=front")
    assert all(len(trial.values) == 2 for trial in kept)
    (line,) = [line for line in outcome.lines if line.startswith("Pareto front: trials ")]
    front = {int(number) for number in line.removeprefix("Pareto front: trials ").split(", ")}
    for trial in kept:
        beaten = any(
            all(a <= b for a, b in zip(o.values, trial.values, strict=True)) and o.values != trial.values for o in kept
        )
        assert (trial.number in front) != beaten


def test_a_metric_that_does_not_fit_the_task_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^study\.metric: val/rmse does not fit multiclass; choices: val/loss, "):
        search("study.metric=val/rmse")


# ---------------------------------------------------------------- before the first trial
@pytest.mark.parametrize(
    ("overrides", "lines"),
    [
        (
            ["search.space.model.dropout.high=1.5"],
            ["search.space: model.dropout: must be less than 1, got 1.5"],
        ),
        (["search.space.model.dropuot={type:float,low:0,high:1}"], None),
        (["study.n_trials=0"], ["study.n_trials: must be greater than or equal to 1, got 0"]),
        (["study.pruner=threshold"], None),
        (
            ["study.sampler_options={gamma:3}"],
            ["study.sampler_options: tpe has no gamma; choices: n_startup_trials, n_ei_candidates"],
        ),
        (["study.metrics=[val/loss,n_params]", "study.pruner=median"], None),
        (["study.trials=3"], None),
    ],
)
def test_mistakes_are_told_before_anything_starts(overrides: list[str], lines: list[str] | None) -> None:
    with pytest.raises(ConfigError) as caught:
        make_plan([*SHORT, *overrides])
    told = list(caught.value.lines)
    assert told == (lines or told)
    assert all(line.startswith(("search.space", "study.")) for line in told)


def test_a_study_under_way_is_not_started_twice(tmp_path: Path) -> None:
    from pipeline.studies.storage import only_one

    with (
        only_one(tmp_path / "s", "s"),
        pytest.raises(ConfigError, match=r"^study\.name: 's' is searched by process \d+"),
        only_one(tmp_path / "s", "s"),
    ):
        pass


def test_the_command_line_says_what_came_of_it(cli: Callable[..., Done], root: Path) -> None:
    done = cli("study", *SHORT, "study.n_trials=2")
    assert done.code == 0, done.err
    assert "2 trials finished: " in done.out
    assert "best settings: pipeline train --config mlruns/studies/iris-mlp/best.yaml" in done.out
    assert "study 'iris-mlp': 2 trials, 1 at a time" in done.err


def test_a_study_goes_on_whatever_answers_its_models_are_to_give() -> None:
    one, other = (make_plan([*SHORT, f"predict.coverage={coverage}"]) for coverage in (0.9, 0.5))
    assert one.identity("digest") == other.identity("digest")
