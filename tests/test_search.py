"""A search under way: what becomes of trials that fail, die, come too many, or take too long."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from pipeline.errors import TrainingError
from pipeline.studies.jobs import Died, Ended, Event, Job, Report, Trial
from pipeline.studies.plan import Plan, make_plan
from pipeline.studies.recorder import Recorder
from pipeline.studies.search import Progress, Search
from pipeline.studies.storage import MAX_RETRIES, finished
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
