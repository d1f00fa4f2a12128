"""How many torch threads a network gets."""

import os
import sys

import pytest

from pipeline.threads import THREADED_WORK, at_a_time, choose_threads, cores


@pytest.mark.skipif(sys.platform != "linux", reason="a process is not bound to cores elsewhere")
def test_cores_are_those_that_a_process_may_use() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert cores() <= len(allowed)


def test_small_networks_get_one_thread_and_large_ones_every_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.threads.cores", lambda: 12)
    assert choose_threads("auto", THREADED_WORK - 1) == 1
    assert choose_threads("auto", THREADED_WORK) == 12


@pytest.mark.parametrize(("n_networks", "threads", "n"), [(5, 1, 4), (3, 1, 3), (5, 2, 2), (5, 4, 1), (5, 9, 1)])
def test_as_many_networks_at_a_time_as_there_are_cores_for(
    n_networks: int, threads: int, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.threads.cores", lambda: 4)
    assert at_a_time(n_networks, threads) == n


def test_threads_asked_for_are_used() -> None:
    assert choose_threads(3, 1) == 3
