"""`pipeline study --dashboard`."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from optuna.storages import BaseStorage

from pipeline.studies.dashboard import serve_dashboard
from pipeline.studies.plan import make_plan
from pipeline.studies.storage import open_storage, open_study
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


def test_it_serves_the_studys_storage_on_the_loopback_address_and_says_where(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[tuple[list[str], object]] = []

    def run_server(storage: BaseStorage, **given: object) -> None:
        served.append((optuna.get_all_study_names(storage), given))

    monkeypatch.setitem(sys.modules, "optuna_dashboard", SimpleNamespace(run_server=run_server))
    plan = make_plan(["data=iris", "search=mlp", "study.name=mine"])
    (root / "studies" / "mine").mkdir(parents=True)
    open_study(open_storage(plan.config, plan.name), plan.name, plan.directions, {})
    said: list[str] = []
    serve_dashboard(plan, 8123, said.append)
    assert served == [(["mine"], {"host": "127.0.0.1", "port": 8123})]
    assert said == ["optuna-dashboard at http://127.0.0.1:8123/ (Ctrl-C stops it)"]
