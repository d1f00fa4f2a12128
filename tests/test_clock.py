"""Seconds by part, on a clock that tests move."""

import pytest

from pipeline.clock import PARTS, Clock


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("pipeline.clock.time.perf_counter", lambda: now[0])
    return now


def test_time_inside_a_part_is_charged_to_it_and_outside_to_none(moment: list[float]) -> None:
    clock = Clock()
    moment[0] += 5
    with clock.part("data"):
        moment[0] += 2
    moment[0] += 5
    assert clock.seconds == dict.fromkeys(PARTS, 0.0) | {"data": 2.0}


def test_time_inside_an_inner_part_is_not_charged_to_the_outer_one(moment: list[float]) -> None:
    clock = Clock()
    with clock.part("compute"):
        moment[0] += 1
        with clock.part("evaluation"):
            moment[0] += 10
            with clock.part("checkpoint"):
                moment[0] += 100
        moment[0] += 1000
    assert (clock.seconds["compute"], clock.seconds["evaluation"], clock.seconds["checkpoint"]) == (1001, 10, 100)


def test_a_part_is_left_when_its_block_fails(moment: list[float]) -> None:
    clock = Clock()
    with pytest.raises(ValueError, match="no"), clock.part("data"):
        raise ValueError("no")
    moment[0] += 7
    with clock.part("report"):
        moment[0] += 1
    assert (clock.seconds["data"], clock.seconds["report"]) == (0, 1)


def test_overhead_is_told_above_a_third_with_its_largest_part(moment: list[float]) -> None:
    clock = Clock(import_seconds=3.0)
    with clock.part("compute"):
        moment[0] += 8
    with clock.part("data"):
        moment[0] += 1
    assert clock.overhead() is None  # exactly a third
    with clock.part("report"):
        moment[0] += 0.5
    assert clock.overhead() == "4.5 of 12.5 s were not training; the largest part is import, 3.0 s"
