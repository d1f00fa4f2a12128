"""Where a study is kept: trials that count, trials given back, the journal, the lock, refusals."""

import os
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.trial import TrialState

from pipeline.compose import load_config
from pipeline.errors import ConfigError, TrackingError
from pipeline.studies import storage as storage_module
from pipeline.studies.storage import (
    CREATE_TRIES,
    MAX_RETRIES,
    Journal,
    fail,
    finished,
    give_back,
    journal,
    only_one,
    open_storage,
    open_study,
    retried,
)
from pipeline.study_config import StudyConfig


def counted(study: optuna.Study) -> list[int]:
    return [trial.number for trial in finished(study.get_trials())]


def frozen(study: optuna.Study, trial: optuna.Trial) -> optuna.trial.FrozenTrial:
    return study.get_trials()[trial.number]


# ---------------------------------------------------------------- trials
def test_complete_pruned_and_failed_trials_count_running_and_queued_ones_do_not() -> None:
    study = optuna.create_study()
    study.tell(study.ask(), 1.0)
    study.tell(study.ask(), state=TrialState.PRUNED)
    fail(study, study.ask(), "it diverged")
    study.ask()
    study.enqueue_trial({"x": 1})
    assert counted(study) == [0, 1, 2]
    assert study.get_trials()[2].user_attrs["error"] == "it diverged"


def test_settings_given_back_are_queued_once_however_often() -> None:
    study = optuna.create_study()
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    cut_off = frozen(study, trial)
    for _ in range(2):
        give_back(study, cut_off, "killed")
    states = [other.state for other in study.get_trials()]
    assert states == [TrialState.FAIL, TrialState.WAITING]
    assert counted(study) == []
    again = study.ask()
    assert again.suggest_float("x", 0, 1) == trial.params["x"]


def test_a_kill_between_queueing_and_failing_loses_and_doubles_nothing() -> None:
    study = optuna.create_study()
    cut_off = frozen(study, study.ask())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage_module, "fail", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            give_back(study, cut_off, "killed")
    give_back(study, cut_off, "killed again")
    assert [trial.state for trial in study.get_trials()] == [TrialState.FAIL, TrialState.WAITING]
    assert retried(study.get_trials()[1]) == [0]


def test_settings_that_kill_every_process_are_given_up() -> None:
    study = optuna.create_study()
    for _ in range(MAX_RETRIES + 1):
        give_back(study, frozen(study, study.ask()), "killed")
    assert not study.get_trials(states=(TrialState.WAITING,))
    assert counted(study) == [MAX_RETRIES]


def test_a_trial_that_ended_elsewhere_stays_as_it_is() -> None:
    study = optuna.create_study()
    trial = study.ask()
    study.tell(trial, 1.0)
    fail(study, trial, "seen too late")
    assert frozen(study, trial).state == TrialState.COMPLETE


def test_a_surplus_trial_does_not_count() -> None:
    study = optuna.create_study()
    trial = study.ask()
    trial.set_user_attr("surplus", True)
    fail(study, trial, "another machine had started the last trial")
    assert counted(study) == []


# ---------------------------------------------------------------- the journal
def test_half_a_line_that_a_kill_left_is_dropped_and_the_rest_read(tmp_path: Path) -> None:
    file = journal(tmp_path)
    study = optuna.create_study(storage=JournalStorage(Journal(str(file))), study_name="s")
    study.tell(study.ask(), 1.0)
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"op_code":5,"worker_id"')
    with only_one(tmp_path, "s"):
        assert file.read_bytes() == whole
    again = optuna.load_study(storage=JournalStorage(Journal(str(file))), study_name="s")
    assert [trial.value for trial in again.get_trials()] == [1.0]


def test_of_half_a_line_alone_nothing_is_left(tmp_path: Path) -> None:
    journal(tmp_path).write_bytes(b'{"op_code"')
    with only_one(tmp_path, "s"):
        assert journal(tmp_path).read_bytes() == b""


def test_what_is_written_is_what_optunas_own_journal_reads(tmp_path: Path) -> None:
    file = str(tmp_path / "journal.log")
    study = optuna.create_study(storage=JournalStorage(Journal(file)), study_name="s")
    study.tell(study.ask({"x": optuna.distributions.FloatDistribution(0, 1)}), 0.5)
    theirs = JournalStorage(optuna.storages.journal.JournalFileBackend(file))
    assert optuna.load_study(storage=theirs, study_name="s").best_params == study.best_params


def test_a_folder_is_free_after_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), only_one(tmp_path, "mine"):
        raise ZeroDivisionError
    with only_one(tmp_path, "mine"):
        assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_a_folder_is_held_by_one_and_free_when_that_one_is_gone(tmp_path: Path) -> None:
    with only_one(tmp_path, "mine"), pytest.raises(ConfigError) as error, only_one(tmp_path, "mine"):
        pass
    assert error.value.lines == (
        f"study.name: 'mine' is searched by process {os.getpid()} already; wait for it, "
        "choose another study.name, or give study.storage, which several can share",
    )
    with only_one(tmp_path, "mine"):
        pass


# ---------------------------------------------------------------- the study
def opened(storage: optuna.storages.BaseStorage, **identity: Any) -> optuna.Study:
    return open_study(storage, "s", ["minimize"], identity)


def test_a_study_goes_on_under_the_same_identity_and_no_other() -> None:
    storage = optuna.storages.InMemoryStorage()
    opened(storage, seed=0, search={"space": {"lr": {"low": 0.1}}})
    opened(storage, seed=0, search={"space": {"lr": {"low": 0.1}}})
    with pytest.raises(ConfigError) as error:
        opened(storage, seed=1, search={"space": {"lr": {"low": 0.2}}})
    assert error.value.lines == (
        "study.name: 's' is of other settings: seed was 0, is 1; search.space.lr.low was 0.1, is 0.2; "
        "choose another study.name",
    )


def test_the_first_five_differences_are_shown() -> None:
    storage = optuna.storages.InMemoryStorage()
    opened(storage, **{f"s{place}": 0 for place in range(7)})
    with pytest.raises(ConfigError) as error:
        opened(storage, **{f"s{place}": [1] for place in range(7)})
    shown = "; ".join(f"s{place} was 0, is [1]" for place in range(5))
    assert error.value.lines == (f"study.name: 's' is of other settings: {shown}; choose another study.name",)


def stored_at(url: str) -> StudyConfig:
    return load_config(["data=iris", "search=mlp", f"study.storage={url}"], None, StudyConfig)


def test_a_storage_that_cannot_be_used_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    url = f"sqlite:///{tmp_path}/absent/study.db"
    with pytest.raises(TrackingError, match=f"study.storage: {url} cannot be used: "):
        open_storage(stored_at(url), "s")
    assert len(waits) == CREATE_TRIES - 1


def test_a_driver_that_is_not_installed_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: 1 / 0)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(TrackingError, match=r"^study\.storage: postgresql\+psycopg://h/d cannot be used: "):
        open_storage(stored_at("postgresql+psycopg://h/d"), "s")
