"""The winner: refits gathered in order, compared on the same rows, the best trials averaged."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest

from pipeline.errors import TrainingError
from pipeline.metrics import bootstrap
from pipeline.studies.jobs import Died, Ended, Event, Job, Run
from pipeline.studies.plan import make_plan
from pipeline.studies.winner import Comparison, compare, members_of, refit, run_all
from pipeline.types import Interval, Result
from tests.conftest import quick

Y = np.array([0, 1] * 100)


class TwoAtATime:
    """A pool whose jobs end in the opposite order, with what `says` makes of them."""

    def __init__(self, says: Any) -> None:
        self._says, self._under_way = says, list[Job]()
        self.most = 0

    @property
    def idle(self) -> int:
        return 2 - len(self._under_way)

    def submit(self, job: Job) -> None:
        self._under_way.append(job)
        self.most = max(self.most, len(self._under_way))

    def events(self, seconds: float) -> Iterator[tuple[Job, Event]]:
        job = self._under_way.pop()
        yield job, self._says(job)


def result(sure: float, name: str = "") -> Result:
    """Of a binary classifier that gives the true class the probability `sure`."""
    one = np.where(Y == 1, sure, 1 - sure)
    prediction = np.stack([1 - one, one], axis=1)
    return Result(
        status="FINISHED", best_epoch=1, n_epochs=1, n_params=1, val={}, history=[], seconds=1.0, run_name=name,
        test=bootstrap("binary", Y, prediction, seed=0), y=Y, prediction=prediction,
    )  # fmt: skip


def compared(best: list[float], default: list[float], members: list[float], metric: str = "log_loss") -> Comparison:
    refits = {"best": [*map(result, best)], "default": [*map(result, default)]}
    return compare("binary", metric, refits, [*map(result, members)], 0)


# ---------------------------------------------------------------- training anew
def test_results_come_in_the_order_of_the_jobs_whichever_ends_first() -> None:
    jobs = [Run(quick(f"seed={seed}"), None) for seed in range(5)]
    pool = TwoAtATime(lambda job: Ended(result(0.5, f"seed {job.config.seed}")))
    found = run_all(pool, jobs)  # type: ignore[arg-type]
    assert [done.run_name for done in found] == [f"seed {seed}" for seed in range(5)]
    assert pool.most == 2


@pytest.mark.parametrize(
    ("event", "message"),
    [(Ended(None, error="the loss is nan"), "refit: the loss is nan"), (Died("killed"), "refit: killed")],
)
def test_a_refit_that_fails_ends_the_study_with_the_cause(event: Event, message: str) -> None:
    with pytest.raises(TrainingError) as error:
        run_all(TwoAtATime(lambda job: event), [Run(quick(), None)])  # type: ignore[arg-type]
    assert str(error.value) == message


def test_both_settings_are_trained_with_each_seed_and_tagged() -> None:
    pool = TwoAtATime(lambda job: Ended(result(0.5, f"{job.tags['role']} {job.config.seed}")))
    found = refit(pool, {"best": quick(), "default": quick()}, [3, 4], "parent", "s")  # type: ignore[arg-type]
    names = {role: [done.run_name for done in results] for role, results in found.items()}
    assert names == {"best": ["best 3", "best 4"], "default": ["default 3", "default 4"]}


def test_baselines_stand_beside_the_best_settings_with_the_first_seed_alone() -> None:
    asked: list[str] = []

    def says(job: Run) -> Ended:
        asked.extend([f"{job.tags['role']} {job.config.seed}"] * job.baselines)
        return Ended(result(0.5))

    refit(TwoAtATime(says), {"default": quick(), "best": quick()}, [3, 4], "parent", "s")  # type: ignore[arg-type]
    assert asked == ["best 3"]


def test_the_verdict_on_the_best_settings_is_told() -> None:
    best = replace(result(0.9), verdict="the network beats linear")
    lines = compare("binary", "log_loss", {"best": [best], "default": [result(0.5)]}, [], 0).lines()
    assert lines[-1] == "the network beats linear"


# ---------------------------------------------------------------- compared
@pytest.mark.parametrize(
    ("best", "default", "says"),
    [(0.9, 0.7, "better"), (0.7, 0.9, "worse"), (0.7, 0.7, "within the noise of the test rows")],
)
def test_a_gain_is_called_what_its_interval_says(best: float, default: float, says: str) -> None:
    (line,) = compared([best], [default], []).lines()
    assert line.endswith(f": {says}")


def test_the_gain_is_positive_where_the_best_is_better_also_of_a_metric_where_more_is() -> None:
    for metric in ("log_loss", "accuracy"):
        assert compared([0.9], [0.4], [], metric).gain.value > 0


@pytest.mark.parametrize("metric", ["log_loss", "accuracy"])
def test_the_interval_of_a_gain_goes_from_low_to_high_whichever_way_is_better(metric: str) -> None:
    unsure = np.random.default_rng(0).uniform(size=len(Y))
    default = replace(result(0.5), prediction=np.stack([unsure, 1 - unsure], axis=1))
    gain = compare("binary", metric, {"best": [result(0.9)], "default": [default]}, [], 0).gain
    assert 0 < gain.low < gain.value < gain.high


def test_the_spread_over_seeds_is_told_and_what_the_ensemble_gains() -> None:
    lines = Comparison("rmse", (1.0, 3.0), (4.0, 4.0), Interval(2.0, 1.0, 3.0), ensemble=1.5, n_members=4).lines()
    assert lines == [
        "refitted over 2 seeds: test/rmse 2 ± 1.414, default 4 ± 0; gain 2 (1 to 3): better",
        "ensemble of the 4 best trials: test/rmse 1.5, against 2 of the best alone",
    ]


def test_an_ensemble_averages_predictions() -> None:
    found = compared([0.6], [0.6], [0.9, 0.5])
    assert found.ensemble == pytest.approx(-np.log(0.7))
    assert found.n_members == 2


def test_members_are_the_best_complete_trials() -> None:
    study = optuna.create_study(direction="maximize")
    for value in (0.2, 0.9, 0.5):
        study.tell(study.ask(), value)
    study.tell(study.ask(), state=optuna.trial.TrialState.PRUNED)
    plan = make_plan(["data=iris", "search=mlp", "study.metric=val/accuracy"])
    assert [trial.number for trial in members_of(study, plan, 2)] == [1, 2]


@pytest.mark.parametrize(("fault", "run_id"), [("", "r1"), ("row 3 differs", "")])
def test_the_run_to_register_is_the_best_settings_first_unless_its_bundle_must_not_be_used(
    fault: str, run_id: str
) -> None:
    first = replace(result(0.9), run_id="r1", fault=fault)
    refits = {"best": [first, replace(first, run_id="r2", fault="")], "default": [result(0.5)]}
    assert compare("binary", "log_loss", refits, [], 0).run_id == run_id


def test_of_equal_trials_the_first_are_members() -> None:
    study = optuna.create_study()
    for value in (0.5, 0.2, 0.5, 0.5):
        study.tell(study.ask(), value)
    plan = make_plan(["data=iris", "search=mlp"])
    assert [trial.number for trial in members_of(study, plan, 3)] == [1, 0, 2]
    assert members_of(study, plan, 0) == []
