"""How many processes train at a time."""

from typing import Literal

import pytest

from pipeline.studies.jobs import Probed
from pipeline.studies.probing import workers_for
from pipeline.threads import THREADED_WORK
from tests.conftest import quick


def probed(n_params: int) -> Probed:
    return Probed("table", "digest", "binary", (), n_params, epoch_seconds=0.1)


@pytest.mark.parametrize(
    ("asked", "threads", "n_params", "n_workers"),
    [
        (3, "auto", 1, 3),
        ("auto", "auto", 1, 12),  # a thread each
        ("auto", "auto", THREADED_WORK, 1),  # which takes every core
        ("auto", 5, 1, 2),
        ("auto", 24, 1, 1),
    ],
)
def test_processes_share_the_cores_by_the_threads_of_each(
    asked: int | Literal["auto"], threads: object, n_params: int, n_workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 12)
    assert workers_for(asked, quick(f"trainer.threads={threads}"), probed(n_params), n_runs=100) == n_workers


def test_there_are_no_more_processes_than_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 12)
    assert workers_for("auto", quick("trainer.threads=auto"), probed(1), n_runs=4) == 4
