"""What a study tells its tracker."""

from collections.abc import Mapping

import optuna
import pytest
import yaml
from optuna.trial import FrozenTrial, TrialState

from pipeline.sending import WholeRun
from pipeline.studies.plan import make_plan
from pipeline.studies.recorder import Recorder
from pipeline.tracking import Tracker
from pipeline.types import Result
from tests.conftest import quick

PLAN = make_plan(["data=iris", "search=mlp", "study.name=s", "study.n_trials=3"])
ROWS = [
    {"epoch": 1, "train/loss": 1.0, "train/lr": 0.1, "val/loss": 0.9, "time/epoch": 2.0},
    {"epoch": 2, "train/loss": 0.8, "train/lr": 0.1, "val/loss": 0.7, "time/epoch": 3.0},
]
RESULT = Result(status="FINISHED", best_epoch=2, n_epochs=2, n_params=9, val={}, history=ROWS, seconds=5.0)


class Told(Tracker):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.whole: list[WholeRun] = []
        self.said: dict[str, object] = {}

    def run(self, run: WholeRun) -> None:
        self.whole.append(run)

    def params(self, values: Mapping[str, object]) -> None:
        self.said |= values

    def tags(self, values: Mapping[str, str]) -> None:
        self.said |= values

    def file(self, name: str, content: bytes) -> None:
        self.said[name] = content


def ended(state: TrialState, value: float | None = None, **attributes: object) -> FrozenTrial:
    study = optuna.create_study()
    study.add_trial(
        optuna.trial.create_trial(state=state, value=value, intermediate_values={1: 0.9}, user_attrs=attributes)
    )
    return study.get_trials()[0]


def recorded(trial: FrozenTrial, result: Result | None = None) -> WholeRun:
    told = Told()
    Recorder(told, PLAN).ended(trial, result, quick("optimizer.lr=0.125"))
    (run,) = told.whole
    return run


@pytest.mark.parametrize(
    ("state", "value", "status", "tag"),
    [
        (TrialState.COMPLETE, 0.7, "FINISHED", "COMPLETE"),
        (TrialState.PRUNED, None, "KILLED", "PRUNED"),
        (TrialState.FAIL, None, "FAILED", "FAILED"),
    ],
)
def test_a_trial_is_a_run_of_its_own_with_its_state(
    state: TrialState, value: float | None, status: str, tag: str
) -> None:
    run = recorded(ended(state, value))
    assert (run.name, run.status) == ("trial 0", status)
    assert run.tags == {"kind": "trial", "study": "s", "trial": "0", "state": tag}
    assert run.params["optimizer.lr"] == 0.125


def test_the_error_of_a_failed_trial_is_a_tag() -> None:
    assert (
        recorded(ended(TrialState.FAIL, error="the training loss is nan")).tags["error"] == "the training loss is nan"
    )


def test_curves_stand_at_the_time_each_epoch_ended() -> None:
    trial = ended(TrialState.COMPLETE, 0.7)
    run = recorded(trial, RESULT)
    curve = [(point.value, point.moment - run.start, point.step) for point in run.metrics if point.name == "val/loss"]
    assert curve == [(0.9, 2000, 1), (0.7, 5000, 2)]
    names = {point.name for point in run.metrics}
    assert names == {"value", "reported", "train/loss", "train/lr", "val/loss", "n_params", "best_epoch"}


def test_a_trial_without_a_config_is_recorded_with_its_parameters() -> None:
    told, study = Told(), optuna.create_study()
    study.ask({"optimizer.lr": optuna.distributions.FloatDistribution(0.5, 0.5)})
    study.tell(0, state=TrialState.FAIL)
    Recorder(told, PLAN).ended(study.get_trials()[0], None, None)
    assert told.whole[0].params == {"optimizer.lr": 0.5}


def test_of_several_objectives_the_first_is_the_runs_value() -> None:
    study = optuna.create_study(directions=["minimize", "minimize"])
    study.tell(study.ask(), [0.25, 9.0])
    assert [(point.name, point.value) for point in recorded(study.get_trials()[0]).metrics] == [("value", 0.25)]


def test_what_was_reported_stands_at_its_epoch() -> None:
    points = [point for point in recorded(ended(TrialState.PRUNED)).metrics if point.name == "reported"]
    assert [(point.value, point.step) for point in points] == [(0.9, 1)]


def test_the_studys_run_says_what_is_searched_and_how() -> None:
    told = Told()
    Recorder(told, PLAN).start("d1")
    assert told.said["study.sampler"] == "tpe"
    assert "study.n_trials" not in told.said  # it may change
    assert (told.said["kind"], told.said["digest"], told.said["status"]) == ("study", "d1", "running")
    assert any(name.startswith("search.space.optimizer.lr") for name in told.said)
    assert yaml.safe_load(told.said["study.yaml"])["study"]["n_trials"] == 3  # type: ignore[arg-type]
