"""How many processes train at a time."""

from typing import Literal

import pytest

from pipeline.studies.jobs import Probed
from pipeline.studies.probing import workers_for


def probed(threads: int) -> Probed:
    return Probed("table", "digest", "binary", (), threads, epoch_seconds=0.1)


@pytest.mark.parametrize(
    ("asked", "threads", "n_workers"),
    [(3, 1, 3), ("auto", 1, 12), ("auto", 12, 1), ("auto", 5, 2), ("auto", 24, 1)],
)
def test_processes_share_the_cores_by_the_threads_of_each(
    asked: int | Literal["auto"], threads: int, n_workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.studies.probing.cores", lambda: 12)
    assert workers_for(asked, probed(threads), n_runs=100) == n_workers


def test_there_are_no_more_processes_than_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.studies.probing.cores", lambda: 12)
    assert workers_for("auto", probed(1), n_runs=4) == 4
