"""A run in plain values: what it says of itself."""

from tests.past import past, png


def test_a_run_without_a_kind_is_a_training() -> None:
    assert past().kind == "run"
    assert past(tags={"kind": "study"}).kind == "study"


def test_a_run_that_has_not_ended_has_taken_no_time_yet() -> None:
    assert past().seconds == 2.5
    assert past(end=None).seconds is None


def test_the_schema_is_that_of_the_bundle() -> None:
    files = {"model/artifacts/bundle/bundle.json": b'{"schema": {"task": "binary"}}'}
    assert past(files=files).schema == {"task": "binary"}
    assert past().schema == {}


def test_files_are_found_by_name() -> None:
    run = past(
        files={"config.yaml": b"seed: 1", "figures/roc.png": png(), "figures/x.txt": b"", "doctor/health.png": b""}
    )
    assert run.yaml("config.yaml") == {"seed": 1}
    assert run.yaml("best.yaml") is None
    assert run.pictures("figures") == {"roc": png()}
