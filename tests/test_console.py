"""What the commands say to a terminal."""

import logging

import pytest

from pipeline.console import log_notes


def test_a_column_that_looks_like_an_id_is_a_warning_and_other_notes_are_not(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "pipeline"):
        log_notes(["task: binary", "column 'id' looks like an id (40 distinct values in 40 rows)"])
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("INFO", "task: binary"),
        ("WARNING", "column 'id' looks like an id (40 distinct values in 40 rows)"),
    ]
