"""`pipeline study --dashboard`."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Done


def test_a_study_that_is_not_there_is_one_line(cli: Callable[..., Done], root: Path) -> None:
    done = cli("study", "data=iris", "study.name=absent", "--dashboard")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "error: --dashboard: there is no study 'absent' yet; run it first, or name it with study.name\n"
    )


def test_without_the_extra_it_says_what_to_install(
    cli: Callable[..., Done], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    done = cli("study", "data=iris", "--dashboard")
    assert (done.code, done.err) == (2, "error: --dashboard: needs optuna-dashboard; pip install optuna-dashboard\n")
