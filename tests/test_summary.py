"""What a study's summary says."""

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from pipeline.studies.plan import make_plan
from pipeline.studies.storage import give_back
from pipeline.studies.summary import as_metrics, describe, edges, summarize, table_of

LR = FloatDistribution(1e-4, 1e-1, log=True)


def trial(
    value: float | None, n_epochs: int, state: TrialState = TrialState.COMPLETE, lr: float = 0.01, **attributes: object
) -> FrozenTrial:
    ran = {"seconds": 1.0, "n_epochs": n_epochs, "n_params": 9}
    return optuna.trial.create_trial(
        state=state, value=value, params={"optimizer.lr": lr}, distributions={"optimizer.lr": LR},
        user_attrs={"ran": ran, **attributes},
    )  # fmt: skip


@pytest.fixture
def study() -> optuna.Study:
    study = optuna.create_study()
    pruned = [trial(None, 5, TrialState.PRUNED), trial(None, 15, TrialState.PRUNED)]
    failed = trial(None, 1, TrialState.FAIL, error="the training loss is nan")
    study.add_trials([trial(0.5, 20), trial(0.25, 40, lr=1e-4), *pruned, failed])
    return study


PLAN = make_plan(["data=iris", "search=mlp"])


def test_it_counts_states_saved_epochs_best_and_edges(study: optuna.Study) -> None:
    assert describe(PLAN, summarize(PLAN, study)) == [
        "5 trials finished: 2 complete, 2 pruned, 1 failed",
        "pruning saved about 40 epochs, 33% of the compute",
        "best: trial 1, val/loss 0.25 (default 0.5)",
        "at an edge: optimizer.lr = 0.0001 lies at the lower end of 0.0001 to 0.1; a wider range may hold better",
    ]


def test_its_numbers_are_metrics_of_the_studys_run(study: optuna.Study) -> None:
    assert as_metrics(summarize(PLAN, study)) == {
        "trials/complete": 2, "trials/pruned": 2, "trials/failed": 1, "epochs_run": 80, "epochs_saved": 40,
        "best/value": 0.25, "best/trial": 1,
    }  # fmt: skip


def test_the_table_has_a_row_a_trial_with_what_is_known_of_it(study: optuna.Study) -> None:
    rows = table_of(study)
    assert [row["state"] for row in rows] == ["COMPLETE", "COMPLETE", "PRUNED", "PRUNED", "FAIL"]
    assert rows[1] == {
        "number": 1, "state": "COMPLETE", "value 0": 0.25, "seconds": 1.0, "n_epochs": 40, "n_params": 9,
        "error": None, "param optimizer.lr": 1e-4,
    }  # fmt: skip
    assert rows[4]["error"] == "the training loss is nan"


def test_a_study_without_a_complete_trial_has_no_best() -> None:
    study = optuna.create_study()
    study.add_trial(trial(None, 1, TrialState.FAIL, error="x"))
    assert describe(PLAN, summarize(PLAN, study)) == ["1 trials finished: 0 complete, 0 pruned, 1 failed"]


def test_of_several_objectives_the_front_is_told() -> None:
    plan = make_plan(["data=iris", "search=mlp", "study.metrics=[val/log_loss,n_params]"])
    study = optuna.create_study(directions=["minimize", "minimize"])
    for values in ([0.3, 10.0], [0.2, 20.0], [0.4, 30.0]):
        study.add_trial(optuna.trial.create_trial(values=values))
    assert describe(plan, summarize(plan, study))[1:] == [
        "best: trial 1, val/log_loss 0.2, n_params 20 (default 0.3)",
        "Pareto front: trials 0, 1",
    ]


@pytest.mark.parametrize(
    ("kind", "value", "end"),
    [
        (FloatDistribution(0, 1), 0.99, "upper"),
        (FloatDistribution(0, 1), 0.5, None),
        (FloatDistribution(1e-4, 1, log=True), 1.05e-4, "lower"),
        (IntDistribution(1, 3), 1, "lower"),
        (IntDistribution(2, 2), 2, None),  # there is no other value
        (CategoricalDistribution(["a", "b"]), "a", None),
    ],
)
def test_a_value_near_an_end_of_its_range_lies_at_an_edge(
    kind: BaseDistribution, value: float | str, end: str | None
) -> None:
    found = edges(optuna.trial.create_trial(value=0.0, params={"p": value}, distributions={"p": kind}))
    assert [f"at the {end} end" in line for line in found] == [True] * (end is not None)


def test_where_more_is_better_the_highest_is_best_and_of_equals_the_first() -> None:
    plan = make_plan(["data=iris", "search=mlp", "study.metric=val/accuracy"])
    study = optuna.create_study(direction="maximize")
    study.add_trials([trial(value, 1) for value in (0.5, 0.9, 0.9)])
    best = summarize(plan, study).best
    assert best is not None
    assert best.number == 1


def test_a_trial_that_was_cut_off_and_tried_again_is_counted_once() -> None:
    study = optuna.create_study()
    study.ask()
    give_back(study, study.get_trials()[0], "killed")
    study.tell(study.ask(), 1.0)
    assert summarize(PLAN, study).states == {"complete": 1, "pruned": 0, "failed": 0}


def test_a_pruned_trial_longer_than_usual_saved_nothing() -> None:
    study = optuna.create_study()
    study.add_trials([trial(0.5, 10), trial(None, 30, TrialState.PRUNED)])
    assert summarize(PLAN, study).epochs_saved == 0
    assert not [line for line in describe(PLAN, summarize(PLAN, study)) if "pruning" in line]
