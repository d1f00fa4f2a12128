"""How many torch threads a network gets."""

import pytest

from pipeline.threads import THREADED_WORK, at_a_time, choose_threads


def test_small_networks_get_one_thread_and_large_ones_every_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.threads.os.cpu_count", lambda: 12)
    assert choose_threads("auto", THREADED_WORK - 1) == 1
    assert choose_threads("auto", THREADED_WORK) == 12


@pytest.mark.parametrize(("n_networks", "threads", "n"), [(5, 1, 4), (3, 1, 3), (5, 2, 2), (5, 4, 1), (5, 9, 1)])
def test_as_many_networks_at_a_time_as_there_are_cores_for(
    n_networks: int, threads: int, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.threads.os.cpu_count", lambda: 4)
    assert at_a_time(n_networks, threads) == n


def test_threads_asked_for_are_used() -> None:
    assert choose_threads(3, 1) == 3
