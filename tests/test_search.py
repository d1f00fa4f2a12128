"""A search under way: what becomes of trials that fail, die, come too many, or take too long."""

import itertools
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, ClassVar

import optuna
import pytest
from optuna.trial import TrialState

from pipeline.config import Config
from pipeline.errors import ConfigError, TrainingError
from pipeline.space import Answers
from pipeline.studies.jobs import Died, Ended, Event, Job, Report, Trial
from pipeline.studies.plan import Plan, make_plan
from pipeline.studies.recorder import Recorder
from pipeline.studies.search import Progress, Search
from pipeline.studies.storage import MAX_RETRIES, finished, give_back, open_storage
from pipeline.tracking import Tracker
from pipeline.types import Result

Says = Callable[[Trial], Sequence[Event]]


class Scripted:
    """A pool of one worker for which each trial goes as `says` tells."""

    def __init__(self, says: Says) -> None:
        self._says, self.jobs = says, list[Job]()
        self.answers: list[bool] = []

    @property
    def idle(self) -> int:
        return 1 - len(self.jobs)

    def submit(self, job: Job) -> None:
        self.jobs.append(job)

    def events(self, seconds: float) -> Iterator[tuple[Job, Event]]:
        for job in list(self.jobs):
            assert isinstance(job, Trial)
            for event in self._says(job):
                if not isinstance(event, Report):
                    self.jobs.remove(job)
                yield job, event

    def answer(self, job: Job, *, stop: bool) -> None:
        self.answers.append(stop)


def result(loss: float) -> Result:
    return Result(
        status="FINISHED", best_epoch=1, n_epochs=1, n_params=7, val={"val/loss": loss}, history=[], seconds=0.5
    )


@cache
def plan(*overrides: str) -> Plan:
    return make_plan(["data=iris", "search=mlp", "study.n_trials=4", *overrides])


def searched(says: Says, *overrides: str, study: optuna.Study | None = None) -> tuple[optuna.Study, Search, Any]:
    asked, pool, seen = plan(*overrides), Scripted(says), list[Progress]()
    study = study or optuna.create_study()
    search = Search(asked, study, Recorder(Tracker(), asked), seen.append)
    search.run(pool)  # type: ignore[arg-type]
    return study, search, pool


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.get_trials()]


def complete(job: Trial) -> Sequence[Event]:
    return [Ended(result(1 / (1 + job.number)))]


# ---------------------------------------------------------------- how trials end
def test_trials_go_on_until_enough_are_finished_and_the_best_is_known() -> None:
    study, search, _ = searched(complete)
    assert states(study) == ["COMPLETE"] * 4
    assert search.progress.best is not None
    assert search.progress.best.number == 3
    assert study.get_trials()[0].user_attrs["ran"] == {"seconds": 0.5, "n_epochs": 1, "n_params": 7}


def test_earlier_trials_count() -> None:
    study = optuna.create_study()
    study.add_trials([optuna.trial.create_trial(value=1.0)] * 3)
    _, search, _ = searched(complete, study=study)
    assert len(study.get_trials()) == 4
    assert (search.progress.n_before, search.progress.n_finished) == (3, 4)


def test_reports_reach_the_study_and_each_has_an_answer() -> None:
    study, _, pool = searched(lambda job: [Report(2, 0.5), Report(4, 0.25), *complete(job)], "study.pruner=none")
    assert study.get_trials()[0].intermediate_values == {2: 0.5, 4: 0.25}
    assert pool.answers == [False] * 8


def test_a_trial_that_was_stopped_is_pruned_and_counts() -> None:
    study, _, _ = searched(lambda job: [Ended(result(1.0), pruned=job.number == 1)])
    assert states(study) == ["COMPLETE", "PRUNED", "COMPLETE", "COMPLETE"]


def test_a_failed_trial_counts_with_its_error_and_the_search_goes_on() -> None:
    study, _, _ = searched(lambda job: [Ended(None, error="it diverged")] if job.number == 2 else complete(job))
    assert states(study) == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE"]
    assert study.get_trials()[2].user_attrs["error"] == "it diverged"


def test_a_value_that_is_no_number_is_a_failure() -> None:
    study, _, _ = searched(lambda job: [Ended(result(float("nan")))] if job.number == 0 else complete(job))
    assert study.get_trials()[0].user_attrs["error"] == "val/loss: not a number"


def test_failures_in_a_row_end_the_search_and_one_success_between_them_forgives() -> None:
    def mostly_failing(job: Trial) -> Sequence[Event]:
        return complete(job) if job.number == 1 else [Ended(None, error="no memory")]

    with pytest.raises(TrainingError) as error:
        searched(mostly_failing, "study.max_failures=2", "study.n_trials=9", "study.name=s")
    assert str(error.value) == "study 's': 2 trials in a row failed, the last: no memory"


def test_the_settings_of_a_worker_that_died_are_tried_again() -> None:
    study, _, _ = searched(lambda job: [Died("the worker was killed")] if job.number == 0 else complete(job))
    trials = study.get_trials()
    assert states(study) == ["FAIL", *["COMPLETE"] * 4]
    assert trials[1].params == trials[0].params
    assert len(finished(trials)) == 4


def test_settings_that_kill_each_worker_fail_in_the_end() -> None:
    study, _, _ = searched(lambda job: [Died("killed")] if job.number <= MAX_RETRIES else complete(job))
    last = study.get_trials()[MAX_RETRIES]
    assert last.user_attrs["error"] == "killed, several times with these settings"
    assert len(finished(study.get_trials())) == 4


def test_an_interrupted_search_gives_its_settings_back() -> None:
    asked, study = plan(), optuna.create_study()
    search = Search(asked, study, Recorder(Tracker(), asked), lambda _: None)
    search._start(Scripted(complete))  # type: ignore[arg-type]
    search.interrupt("the study was stopped")
    first, queued = study.get_trials()
    assert (first.state, first.user_attrs["error"]) == (TrialState.FAIL, "the study was stopped")
    assert (queued.state, queued.params) == (TrialState.WAITING, first.params)


# ---------------------------------------------------------------- limits
def test_after_the_timeout_no_trial_starts() -> None:
    study, _, _ = searched(complete, "study.timeout=0.000001")
    assert study.get_trials() == []


def test_of_a_shared_study_a_trial_too_many_is_given_up() -> None:
    study = optuna.create_study(storage="sqlite:///shared.db")
    study.add_trials([optuna.trial.create_trial(value=1.0)] * 4)
    asked = plan("study.storage=sqlite:///shared.db")
    search = Search(asked, study, Recorder(Tracker(), asked), lambda _: None)
    pool = Scripted(complete)
    search._start(pool)  # type: ignore[arg-type]  # as if another machine had started the last one a moment ago
    assert pool.jobs == []
    last = study.get_trials()[-1]
    assert (last.state, last.user_attrs["surplus"]) == (TrialState.FAIL, True)
    assert len(finished(study.get_trials())) == 4


def test_a_timeout_lets_what_is_under_way_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(time.monotonic(), 40)
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    study, _, _ = searched(complete, "study.timeout=100", "study.n_trials=99")
    assert set(states(study)) == {"COMPLETE"}
    assert 1 <= len(study.get_trials()) < 5


# ---------------------------------------------------------------- jobs, values, listeners
class Told(Recorder):
    """Notes which trials it was told of, and in which state."""

    trials: ClassVar[list[tuple[int, str]]] = []

    def ended(self, trial: optuna.trial.FrozenTrial, result: Result | None, config: Config | None) -> None:
        self.trials.append((trial.number, trial.state.name))
        assert config is not None


def test_each_trial_is_recorded_once_in_its_final_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Told, "trials", [])
    ends: list[Sequence[Event]] = [
        [Ended(result(1.0))], [Died("killed")], [Ended(result(1.0), pruned=True)], [Ended(None, error="x")],
    ]  # fmt: skip
    asked = plan()
    search = Search(asked, optuna.create_study(), Told(Tracker(), asked), lambda _: None)
    search.run(Scripted(lambda job: ends[job.number] if job.number < 4 else complete(job)))  # type: ignore[arg-type]
    assert Told.trials == [(0, "COMPLETE"), (1, "FAIL"), (2, "PRUNED"), (3, "FAIL"), (4, "COMPLETE")]


def jobs_of(*overrides: str) -> list[Trial]:
    jobs: list[Trial] = []

    def note(job: Trial) -> Sequence[Event]:
        jobs.append(job)
        return complete(job)

    searched(note, "study.n_trials=1", *overrides)
    return jobs


@pytest.mark.parametrize(
    ("overrides", "every"),
    [
        (["trainer.max_epochs=50", "study.n_reports=10"], 5),
        (["trainer.max_epochs=51", "study.n_reports=10"], 6),
        (["trainer.max_epochs=3", "study.n_reports=10"], 1),
        (["study.pruner=none"], 0),
    ],
)
def test_a_trial_reports_as_often_as_was_asked(overrides: list[str], every: int) -> None:
    (job,) = jobs_of(*overrides)
    assert job.every == every


def test_a_trial_is_untracked_and_knows_its_metric_and_which_way_the_monitored_one_is_better() -> None:
    (job,) = jobs_of("trainer.monitor=val/accuracy", "study.metric=val/loss", "tracking.root=elsewhere")
    assert (job.metric, job.sign) == ("val/loss", -1)
    assert (job.config.tracking.name, job.config.tracking.root) == ("none", "elsewhere")


def test_with_several_objectives_each_trial_has_as_many_values_and_there_is_no_one_best() -> None:
    study = optuna.create_study(directions=["minimize", "minimize"])
    _, search, _ = searched(complete, "study.metrics=[val/loss,n_params]", study=study)
    assert [trial.values for trial in study.get_trials()] == [[1 / (1 + n), 7.0] for n in range(4)]
    assert search.progress.best is None


def test_an_objective_that_a_trial_did_not_measure_is_a_failure() -> None:
    study = optuna.create_study(directions=["minimize", "maximize"])
    searched(complete, "study.metrics=[val/loss,val/accuracy]", study=study)
    assert {trial.user_attrs["error"] for trial in study.get_trials()} == {"val/loss, val/accuracy: not a number"}


def test_listeners_hear_how_far_it_is() -> None:
    asked, heard = plan(), list[tuple[int, int]]()
    search = Search(
        asked, optuna.create_study(), Recorder(Tracker(), asked),
        lambda progress: heard.append((progress.n_finished, len(progress.ended))),
    )  # fmt: skip
    search.run(Scripted(complete))  # type: ignore[arg-type]
    assert heard == [(1, 1), (2, 2), (3, 3), (4, 4)]


# ---------------------------------------------------------------- signs of life
class Beats:
    """A shared storage that notes for which trials it was given a sign; after `last` of them the search is over."""

    def __init__(self, over: threading.Event, last: int) -> None:
        self._over, self._last, self.signs = over, last, list[int]()

    def record_heartbeat(self, trial_id: int) -> None:
        self.signs.append(trial_id)
        if len(self.signs) == self._last:
            self._over.set()


class AtOnce(threading.Event):
    """An event whose `wait` does not."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


def test_while_trials_are_under_way_each_gives_signs_of_life() -> None:
    asked, study = plan("study.storage=sqlite:///shared.db"), optuna.create_study()
    search = Search(plan(), study, Recorder(Tracker(), asked), lambda _: None)
    search._open = {trial.number: trial for trial in (study.ask(), study.ask())}
    beats = Beats(over := AtOnce(), last=4)
    search._beat(over, beats)  # type: ignore[arg-type]
    assert beats.signs == [0, 1, 0, 1]


def test_a_trial_of_another_machine_that_never_gave_a_sign_is_given_one_once() -> None:
    asked = plan("study.storage=sqlite:///shared.db")
    storage = open_storage(asked.config, "s")
    study = optuna.create_study(storage=storage, study_name="s")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # heartbeats without Study.optimize
        study.ask()
    signs: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(storage), "record_heartbeat", lambda _, trial_id: signs.append(trial_id))
        search = Search(asked, study, Recorder(Tracker(), asked), lambda _: None)
        search._look()
    assert signs == [1]


def test_trials_under_way_elsewhere_count_as_started() -> None:
    study = optuna.create_study()
    for _ in range(2):
        study.ask()
    asked = plan()
    search = Search(asked, study, Recorder(Tracker(), asked), lambda _: None)
    pool = Scripted(complete)
    while search._may_start():
        search._start(pool)  # type: ignore[arg-type]
    assert len(pool.jobs) == 2


def composing(monkeypatch: pytest.MonkeyPatch, study: optuna.Study, *impossible: int) -> None:
    """Trials of these numbers have settings that do not fit together."""
    known = Plan.trial_config

    def trial_config(plan: Plan, answers: Answers) -> Any:
        if len(study.get_trials()) - 1 in impossible:
            raise ConfigError("model.hidden: does not fit")
        return known(plan, answers)

    monkeypatch.setattr(Plan, "trial_config", trial_config)


@pytest.mark.parametrize("impossible", [(3,), (0, 1, 2, 3)])
def test_settings_that_cannot_be_composed_are_counted_at_once(
    monkeypatch: pytest.MonkeyPatch, impossible: Sequence[int]
) -> None:
    plan = make_plan(["data=iris", "search=mlp", "study.n_trials=4", "study.max_failures=9"])
    study = optuna.create_study()
    composing(monkeypatch, study, *impossible)
    Search(plan, study, Recorder(Tracker(), plan), lambda _: None).run(Scripted(complete))  # type: ignore[arg-type]
    assert len(study.get_trials()) == 4


@pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning")
@pytest.mark.parametrize("events", [[Report(2, 0.5)], []])
def test_a_trial_that_another_machine_took_for_dead_ends_nothing(events: list[Event]) -> None:
    plan = make_plan(["data=iris", "search=mlp", "study.n_trials=2", "study.storage=sqlite:///shared.db"])
    storage = open_storage(plan.config, "s")
    study = optuna.create_study(storage=storage, study_name="s")

    def says(job: Trial) -> Sequence[Event]:
        if job.number > 0:
            return complete(job)
        give_back(study, study.get_trials()[0], "no sign of life")  # as `fail_stale` of another machine does
        return [*events, *complete(job)]

    Search(plan, study, Recorder(Tracker(), plan), lambda _: None).run(Scripted(says))  # type: ignore[arg-type]
    assert len(finished(study.get_trials())) == 2
