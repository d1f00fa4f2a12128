"""A worker's side: what a trial reports and when, tables kept between jobs, errors as words."""

import logging
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import Config
from pipeline.errors import DataError, TrainingError
from pipeline.studies import worker
from pipeline.studies.jobs import Ended, Job, Probe, Probed, Report, Run, Trial
from pipeline.studies.worker import Reporter, serve
from pipeline.types import Result
from tests.conftest import quick

RESULT = Result(
    status="FINISHED",
    best_epoch=1,
    n_epochs=1,
    n_params=7,
    val={},
    history=[{"time/epoch": 0.25}],
    seconds=1.0,
    threads=3,
)
LOSS, BY_ACCURACY = quick("baselines=[linear]"), quick("trainer.monitor=val/accuracy")
NAN = float("nan")


class Line:
    """The worker's end of a pipe: what is to come, and what was sent."""

    def __init__(self, *to_come: Any) -> None:
        self.to_come, self.sent = deque(to_come), list[Any]()

    def recv(self) -> Any:
        return self.to_come.popleft()

    def send(self, thing: Any) -> None:
        self.sent.append(thing)


def trial(config: Config, *, metric: str = "val/loss", sign: int = 1, every: int = 0) -> Trial:
    return Trial(config=config, number=0, metric=metric, sign=sign, every=every)


def reported(job: Trial, epochs: Sequence[dict[str, float]], line: Line, max_epochs: int = 99) -> tuple[Reporter, int]:
    """The reporter, and how many of the epochs were trained, until one was told to be the last."""
    reporter = Reporter(line, job)  # type: ignore[arg-type]
    trainer: Any = SimpleNamespace(callback_metrics={}, current_epoch=0, max_epochs=max_epochs, should_stop=False)
    for epoch, metrics in enumerate(epochs):
        trainer.callback_metrics, trainer.current_epoch = metrics, epoch
        reporter.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]
        if trainer.should_stop:
            return reporter, epoch + 1
    return reporter, len(epochs)


def losses(*values: float) -> list[dict[str, float]]:
    return [{"val/loss": value} for value in values]


# ---------------------------------------------------------------- what a trial reports
def test_a_trial_reports_its_best_value_so_far_every_so_many_epochs() -> None:
    line = Line(False, False)
    reporter, n_epochs = reported(trial(LOSS, every=2), losses(0.9, 0.5, 0.4, 0.6, 0.3), line)
    assert line.sent == [Report(2, 0.5), Report(4, 0.4)]
    assert (reporter.pruned, n_epochs) == (False, 5)


def test_what_is_reported_is_the_metric_at_the_epoch_that_the_monitored_one_calls_best() -> None:
    accuracies = [0.5, 0.9, 0.7]
    epochs = [{"val/accuracy": a, "val/loss": loss} for a, loss in zip(accuracies, [3.0, 2.0, 1.0], strict=True)]
    line = Line(False, False, False)
    reported(trial(BY_ACCURACY, sign=-1, every=1), epochs, line)
    assert line.sent == [Report(1, 3.0), Report(2, 2.0), Report(3, 2.0)]


@given(values=st.lists(st.floats(0, 9), min_size=1, max_size=20), every=st.integers(1, 5))
def test_no_report_is_worse_than_the_one_before(values: list[float], every: int) -> None:
    line = Line(*[False] * len(values))
    reported(trial(LOSS, every=every), losses(*values), line)
    assert line.sent == [Report(n, min(values[:n])) for n in range(every, len(values) + 1, every)]


def test_the_last_epoch_is_not_reported_as_its_end_is_told() -> None:
    line = Line(False)
    reported(trial(LOSS, every=2), losses(0.9, 0.8, 0.7, 0.6), line, max_epochs=4)
    assert [report.epoch for report in line.sent] == [2]


def test_without_a_pruner_nothing_is_reported_and_no_word_waited_for() -> None:
    line = Line()
    reported(trial(LOSS, every=0), losses(0.9, 0.8, 0.7), line)
    assert line.sent == []


def test_what_is_no_number_is_not_reported() -> None:
    line = Line(False)
    reported(trial(LOSS, every=1), losses(NAN, NAN, 0.5), line)
    assert line.sent == [Report(3, 0.5)]


def test_a_trial_that_is_told_to_stop_is_pruned_there() -> None:
    reporter, n_epochs = reported(trial(LOSS, every=1), losses(0.9, 0.8, 0.7), Line(False, True))
    assert (reporter.pruned, n_epochs) == (True, 2)


# ---------------------------------------------------------------- jobs
@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, Any]]]:
    """This process stays what it is though `serve` would make it a worker's; the signals that it would set."""
    own, level, signals = logging.getLogger("pipeline"), logging.getLogger("pipeline").level, list[tuple[int, Any]]()
    monkeypatch.setattr("os.setsid", lambda: None)
    monkeypatch.setattr(signal, "signal", lambda number, action: signals.append((number, action)))
    monkeypatch.setattr(threading, "Thread", lambda **_: SimpleNamespace(start=lambda: None))
    with warnings.catch_warnings():
        yield signals
    own.setLevel(level)


def served(*jobs: Job) -> list[Any]:
    line = Line(*jobs, None)
    serve(line)  # type: ignore[arg-type]
    assert not line.to_come
    return line.sent


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the data that were prepared, in order; trials end at once."""
    names: list[str] = []

    def prepare(config: Config) -> Any:
        names.append(config.data.name)
        table = SimpleNamespace(name=config.data.name, digest="d", task="binary", notes=("a note",))
        return SimpleNamespace(table=table)

    monkeypatch.setattr(worker, "prepare", prepare)
    monkeypatch.setattr(worker, "try_out", lambda config, callbacks, prepared: RESULT)
    return names


def raising(error: Exception) -> Callable[..., Any]:
    def raises(*_: object, **__: object) -> Any:
        raise error

    return raises


def test_a_table_is_prepared_once_for_all_trials_on_it_and_one_is_kept_at_a_time(
    quiet: object, prepared: list[str]
) -> None:
    iris, wine = trial(LOSS), trial(quick("data=wine"))
    other_settings = trial(quick("optimizer.lr=0.5", "seed=7"))
    assert served(iris, other_settings, wine, wine, iris) == [Ended(RESULT)] * 5
    assert prepared == ["iris", "wine", "iris"]


def test_a_table_prepared_in_another_way_is_another(quiet: object, prepared: list[str]) -> None:
    served(trial(LOSS), trial(quick("preprocess=robust")), trial(quick("preprocess=robust", "trainer.folds=3")))
    assert prepared == ["iris", "iris", "iris"]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (TrainingError("the training loss is nan"), "the training loss is nan"),
        (RuntimeError("out of memory\n  tried to get 9 GB\n"), "RuntimeError: out of memory"),
        (KeyError(), "KeyError: KeyError"),
    ],
)
def test_a_trial_that_crashes_is_told_in_a_line_and_the_worker_goes_on(
    quiet: object, prepared: list[str], monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    monkeypatch.setattr(worker, "train", raising(error))
    assert served(Run(LOSS, None), trial(LOSS)) == [
        Ended(None, error=told, diverged=isinstance(error, TrainingError)),
        Ended(RESULT),
    ]


def test_a_table_that_cannot_be_used_is_tried_anew_by_the_next_trial(
    quiet: object, prepared: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(worker, "prepare", raising(DataError("column 'y': is missing")))
        assert served(trial(LOSS)) == [Ended(None, error="column 'y': is missing")]
    assert served(trial(LOSS)) == [Ended(RESULT)]


def test_a_probe_trains_one_epoch_and_tells_of_the_table(
    quiet: object, prepared: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs: list[int] = []

    def try_out(config: Config, *_: object) -> Result:
        epochs.append(config.trainer.max_epochs)
        return RESULT

    monkeypatch.setattr(worker, "try_out", try_out)
    (event,) = served(Probe(quick("trainer.max_epochs=50")))
    assert event == Ended(Probed("iris", "d", "binary", ("a note",), threads=3, epoch_seconds=0.25))
    assert epochs == [1]


def test_a_run_is_tracked_under_its_parent_with_its_tags(quiet: object, monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, object] = {}

    def train(config: Config, **given: object) -> Result:
        told.update(given)
        return RESULT

    monkeypatch.setattr(worker, "train", train)
    assert served(Run(LOSS, "p1", {"role": "best"})) == [Ended(RESULT)]
    assert told == {"parent": "p1", "tags": {"role": "best"}}


def test_the_baselines_of_a_run_are_fitted_where_it_is_asked_to(quiet: object, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[tuple[str, ...]] = []

    def train(config: Config, **given: object) -> Result:
        fitted.append(config.baselines)
        return RESULT

    monkeypatch.setattr(worker, "train", train)
    served(Run(LOSS, "parent"), Run(LOSS, "parent", baselines=True))
    assert fitted == [(), ("linear",)]


def test_ctrl_c_is_left_to_the_process_that_leads_the_study(quiet: list[tuple[int, Any]]) -> None:
    served()
    assert quiet == [(signal.SIGINT, signal.SIG_IGN)]


@pytest.mark.parametrize("objective", ["n_params", "seconds"])
def test_a_first_objective_that_is_none_of_an_epochs_metrics_fails_no_trial(objective: str) -> None:
    job = Trial(config=quick(), number=0, metric=objective, sign=1, every=0)
    trainer: Any = SimpleNamespace(callback_metrics={"val/loss": 0.5}, current_epoch=0, max_epochs=9, should_stop=False)
    Reporter(None, job).on_train_epoch_end(trainer, None)  # type: ignore[arg-type]
