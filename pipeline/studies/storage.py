"""Where a study is kept: Optuna's storage, what the study is of, and trials that were left behind."""

import json
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from pipeline.errors import ConfigError, TrackingError, first_line
from pipeline.lock import held
from pipeline.mistakes import differences
from pipeline.studies.plan import Direction
from pipeline.studies.sampling import ENDED
from pipeline.study_config import StudyConfig

MAX_RETRIES = 3  # of settings whose trial died: those that kill every process are given up
SIGNS_MISSED = 4  # heartbeats without which a trial is taken for dead
CREATE_TRIES = 5  # of a database's tables, which two machines may make at the same moment

optuna.logging.set_verbosity(optuna.logging.ERROR)


def study_dir(root: str, name: str) -> Path:
    """Where a study's files are."""
    return Path(root) / "studies" / name


def journal(folder: Path) -> Path:
    """Where a study that names no storage is kept."""
    return folder / "journal.log"


# ---------------------------------------------------------------- the journal
class Journal(JournalFileBackend):
    """Optuna's journal file for one writing process: no lock that a killed one leaves behind, and no wait for the disk.

    The operating system keeps what a killed process wrote; only a power cut may cost the last seconds.
    """

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = "".join(f"{json.dumps(log, separators=(',', ':'))}\n" for log in logs)
        with Path(self._file_path).open("ab", buffering=0) as stream:
            stream.write(lines.encode())


def _drop_half_a_line(file: Path) -> None:
    """Cut off what a write that was not finished has left."""
    if file.exists() and (content := file.read_bytes()) and not content.endswith(b"\n"):
        file.write_bytes(content[: content.rfind(b"\n") + 1])


@contextmanager
def only_one(folder: Path, name: str) -> Iterator[None]:
    """Hold a study's folder; a second process is told so."""

    def taken(process: str) -> str:
        return (
            f"study.name: '{name}' is searched by process {process} already; wait for it, "
            "choose another study.name, or give study.storage, which several can share"
        )

    with held(folder, taken):
        _drop_half_a_line(journal(folder))
        yield


# ---------------------------------------------------------------- the study
def open_storage(config: StudyConfig, name: str) -> BaseStorage:
    """The storage that the config names; raises TrackingError where it cannot be used."""
    url = config.study.storage
    if url is None:
        return JournalStorage(Journal(str(journal(study_dir(config.tracking.root, name)))))
    seconds = config.study.heartbeat_seconds
    for attempt in range(CREATE_TRIES):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return RDBStorage(
                    url,
                    heartbeat_interval=seconds,
                    grace_period=SIGNS_MISSED * seconds,
                    heartbeat_stale_trial_callback=_retry(),
                    engine_kwargs={"pool_pre_ping": True},
                )
        except Exception as error:  # whatever the database's driver raises
            if attempt == CREATE_TRIES - 1 or isinstance(error, ImportError):
                raise TrackingError(f"study.storage: {url} cannot be used: {first_line(error)}") from error
            time.sleep(0.5)
    raise AssertionError


def open_study(
    storage: BaseStorage, name: str, directions: Sequence[Direction], identity: Mapping[str, Any]
) -> optuna.Study:
    """The study of this name, new or gone on with.

    Raises:
        ConfigError: it is there, of another space, data set or base config; the message shows the first differences.
    """
    study = optuna.create_study(storage=storage, study_name=name, directions=list(directions), load_if_exists=True)
    known = study.user_attrs.get("identity")
    if known is None:
        study.set_user_attr("identity", dict(identity))
    elif found := list(differences(known, identity)):
        raise ConfigError(
            f"study.name: '{name}' is of other settings: {'; '.join(found[:5])}; choose another study.name"
        )
    return study


# ---------------------------------------------------------------- trials
def give_back(study: optuna.Study, trial: FrozenTrial, why: str) -> None:
    """Fail a trial that was cut off, and queue its settings again, before: a kill in between loses nothing."""
    known = {number for other in study.get_trials(deepcopy=False) for number in retried(other)}
    if trial.number not in known:
        _retry()(study, trial)
    fail(study, trial, why)


def fail_stale(study: optuna.Study) -> None:
    """Fail trials of a shared storage that gave no sign of life, and queue their settings again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        fail_stale_trials(study)


def _retry() -> RetryHeartbeatStaleTrialCallback:
    """Queues a trial's settings again, up to MAX_RETRIES times."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return RetryHeartbeatStaleTrialCallback(MAX_RETRIES)


def fail(study: optuna.Study, trial: optuna.Trial | FrozenTrial, why: str) -> None:
    """Record a trial as failed, with the reason."""
    with suppress(optuna.exceptions.UpdateFinishedTrialError):  # another process saw it, too
        study._storage.set_trial_user_attr(trial._trial_id, "error", why)
        study.tell(trial.number, state=TrialState.FAIL)


def finished(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Trials that count: complete, pruned, or failed by their own fault; not those cut off, which are queued again."""
    again = {number for trial in trials for number in retried(trial)}
    return [
        trial
        for trial in trials
        if trial.state in ENDED and trial.number not in again and "surplus" not in trial.user_attrs
    ]


def retried(trial: FrozenTrial) -> list[int]:
    """Numbers of the trials, cut off, whose settings this one tries again."""
    return list(trial.system_attrs.get("retry_history", ()))
