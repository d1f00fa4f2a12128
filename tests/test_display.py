"""How a study shows itself while it runs."""

import io
import time
from datetime import datetime

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from pipeline.studies.display import ROWS, StudyTable
from pipeline.studies.search import Progress


def ended(number: int, state: TrialState, value: float | None = None, **attributes: object) -> FrozenTrial:
    reported = {3: 0.75} if state == TrialState.PRUNED else {}
    trial = optuna.trial.create_trial(
        state=state,
        value=value,
        params={"optimizer.lr/adam": 0.01, "model.batch_norm": True},
        distributions={
            "optimizer.lr/adam": FloatDistribution(0, 1),
            "model.batch_norm": CategoricalDistribution([True]),
        },
        intermediate_values=reported,
        user_attrs=attributes,
    )
    trial.number, trial.datetime_start = number, datetime.now()
    return trial


def progress(*trials: FrozenTrial, n_trials: int, taken: float = 10.0) -> Progress:
    best = min((trial for trial in trials if trial.values), key=lambda trial: trial.values[0], default=None)
    started = time.monotonic() - taken
    return Progress(n_trials, 0, started=started, ended=list(trials), n_finished=len(trials), best=best)


def said(given: Progress, *, terminal: bool, width: int = 110) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=width, color_system=None)
    with StudyTable(console) as table:
        table(given)
    return out.getvalue()


DONE = ended(0, TrialState.COMPLETE, 0.25)
PRUNED = ended(1, TrialState.PRUNED)
FAILED = ended(2, TrialState.FAIL, error="the training loss is nan")


def test_without_a_terminal_each_trial_is_a_line() -> None:
    assert said(progress(DONE, PRUNED, FAILED, n_trials=6), terminal=False).splitlines() == [
        "trial 0 complete 0.25 (best)  about 10 s left",
        "trial 1 pruned 0.75 at epoch 3  about 10 s left",
        "trial 2 failed the training loss is nan  about 10 s left",
    ]


def test_in_a_terminal_the_table_has_state_value_settings_best_and_time_left() -> None:
    given = progress(DONE, PRUNED, n_trials=4)
    given.running[7] = 5
    lines = said(given, terminal=True).splitlines()
    shown = [" ".join(line.replace("│", " ").split()) for line in lines]
    assert any("2 of 4 trials, about 10 s left" in line for line in shown)
    assert "0 complete 0.25 (best) optimizer.lr=0.01 model.batch_norm=True" in shown
    assert "7 epoch 5" in shown
    assert "0 best 0.25 optimizer.lr=0.01 model.batch_norm=True" in shown


def test_a_trial_stays_on_one_line_of_a_narrow_terminal() -> None:
    lines = said(progress(DONE, n_trials=4), terminal=True, width=50).splitlines()
    assert len({line for line in lines if "0.25 (best)" in line}) == 1
    assert not any(line.strip().startswith("model.batch_norm") for line in lines)


@pytest.mark.parametrize(
    ("n_done", "taken", "left"),
    [(0, 1, "time left not known yet"), (2, 60, "about 60 s left"), (1, 120, "about 6 min left")],
)
def test_the_time_left_is_that_of_the_trials_so_far(n_done: int, taken: float, left: str) -> None:
    given = progress(*[DONE] * n_done, n_trials=4, taken=taken)
    assert f"{n_done} of 4 trials, {left}" in " ".join(said(given, terminal=True).split())


def test_a_line_is_said_once() -> None:
    out = io.StringIO()
    with StudyTable(Console(file=out, width=110)) as table:
        for trials in ([DONE], [DONE], [DONE, PRUNED]):
            table(progress(*trials, n_trials=4))
    assert [line.split()[1] for line in out.getvalue().splitlines()] == ["0", "1"]


def test_of_many_trials_the_latest_are_shown() -> None:
    trials = [ended(number, TrialState.COMPLETE, 1.0 + number) for number in range(ROWS + 5)]
    lines = said(progress(*trials, n_trials=99), terminal=True).splitlines()
    numbers = [line.strip("│ ").split()[0] for line in lines if " complete " in line]
    assert [*dict.fromkeys(numbers)] == [str(number) for number in range(5, ROWS + 5)]


def test_trials_of_earlier_starts_do_not_count_for_the_time_left() -> None:
    given = Progress(12, 8, started=time.monotonic() - 10, ended=[DONE], n_finished=10)
    assert "10 of 12 trials, about 10 s left" in said(given, terminal=True)


def test_a_trial_of_several_objectives_shows_each_value() -> None:
    trial = optuna.trial.create_trial(values=[0.25, 9.0])
    assert said(progress(trial, n_trials=2), terminal=False).startswith(f"trial {trial.number} complete 0.25, 9 ")
