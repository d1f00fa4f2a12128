"""How many torch threads a network gets."""

import pytest

from pipeline.threads import THREADED_WORK, choose_threads


def test_small_networks_get_one_thread_and_large_ones_every_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.threads.os.cpu_count", lambda: 12)
    assert choose_threads("auto", THREADED_WORK - 1) == 1
    assert choose_threads("auto", THREADED_WORK) == 12


def test_threads_asked_for_are_used() -> None:
    assert choose_threads(3, 1) == 3
