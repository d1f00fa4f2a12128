"""A study that is killed, worker by worker or whole, at random moments; and one that two groups of workers share."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import optuna
import psycopg
import pytest
from sqlalchemy import NullPool

from pipeline.studies.plan import make_plan
from pipeline.studies.storage import MAX_RETRIES, finished, open_storage, retried
from pipeline.study_config import StudyConfig
from pipeline.tracking import connect

N_KILLS, N_TRIALS = 20, 60
COMMON = ["data=iris", "search=mlp", "trainer.max_epochs=100", "trainer.patience=null", "study.pruner=none"]
KILLED = [*COMMON, f"study.n_trials={N_TRIALS}", "study.workers=2", "study.refit_seeds=0", "study.name=killed"]
ERRORS = Path("errors.txt")  # of the processes started, in the test's own folder


def start(*overrides: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pipeline", "study", *overrides]
    with ERRORS.open("ab") as errors:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True)


def descendants(pid: int) -> list[int]:
    """Processes started by `pid`, and by those."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it ended meanwhile
            continue
    found = [pid]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found[1:]


def workers(pid: int) -> list[int]:
    """Processes of a session of their own."""
    return [process for process in descendants(pid) if os.getsid(process) == process]


@cache
def config(name: str) -> StudyConfig:
    return make_plan([*COMMON, f"study.name={name}"]).config


def n_finished(name: str) -> int:
    try:
        study = optuna.load_study(study_name=name, storage=open_storage(config(name), name))
    except (KeyError, FileNotFoundError):  # it is not there yet
        return 0
    return len(finished(study.get_trials(deepcopy=False)))


@pytest.mark.slow
def test_kills_at_random_moments_lose_nothing_and_count_nothing_twice(root: Path) -> None:
    generator, kills, process = random.Random(0), 0, start(*KILLED)
    while process.poll() is None:
        time.sleep(generator.uniform(0.05, 0.6))
        found = workers(process.pid)
        if len(found) < 2 or kills == N_KILLS or n_finished("killed") < N_TRIALS * kills // (N_KILLS + 8):
            continue  # it starts up, or has been killed as often as it should by now
        kills += 1
        if generator.random() < 0.7:
            os.kill(generator.choice(found), signal.SIGKILL)
            continue
        everything = [process.pid, *descendants(process.pid)]
        for victim in everything:
            os.kill(victim, signal.SIGKILL)
        process.wait()
        process = start(*KILLED)
    assert process.returncode == 0, ERRORS.read_text()
    assert kills == N_KILLS

    plan = make_plan(KILLED)
    trials = optuna.load_study(study_name="killed", storage=open_storage(plan.config, "killed")).get_trials()
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert all(trial.state.is_finished() for trial in trials)
    counted = finished(trials)
    assert len(counted) == N_TRIALS
    assert all(trial.state.name == "COMPLETE" or len(retried(trial)) == MAX_RETRIES for trial in counted)
    client = connect(str(root))
    experiment = client.get_experiment_by_name("iris")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    assert all(run.info.status != "RUNNING" for run in runs)
    numbers = [
        int(run.data.tags["trial"]) for run in runs if run.data.tags["kind"] == "trial" and "state" in run.data.tags
    ]
    assert sorted(numbers) == [trial.number for trial in trials]


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(root: Path) -> None:
    process = start(*COMMON, "study.n_trials=500", "study.name=stopped", "study.refit_seeds=0")
    while n_finished("stopped") < 2 and process.poll() is None:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert "Traceback" not in ERRORS.read_text()
    before = n_finished("stopped")
    done = start(*COMMON, f"study.n_trials={before + 1}", "study.name=stopped", "study.refit_seeds=0")
    assert done.wait(timeout=120) == 0
    assert n_finished("stopped") == before + 1


# ---------------------------------------------------------------- a storage that two groups share
def postgres_bin() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@pytest.fixture
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A private cluster on loopback, run by the user postgres; its URL."""
    programs = postgres_bin()
    if programs is None:
        pytest.skip("Debian's postgresql is not installed")
    folder = Path(f"/tmp/pipeline_postgresql_{os.getpid()}")
    folder.mkdir()
    shutil.chown(folder, "postgres", "postgres")
    port = 20000 + os.getpid() % 20000

    def run(*command: str) -> None:
        subprocess.run(["runuser", "-u", "postgres", "--", *command], check=True, capture_output=True, cwd=folder)

    try:
        run(f"{programs}/initdb", "-D", f"{folder}/data", "-A", "trust")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        run(f"{programs}/pg_ctl", "-D", f"{folder}/data", "-w", "-l", f"{folder}/log", "-o", options, "start")
        yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
        run(f"{programs}/pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def n_complete(url: str) -> int:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        try:
            (count,) = connection.execute("SELECT count(*) FROM trials WHERE state = 'COMPLETE'").fetchone() or (0,)
        except psycopg.errors.UndefinedTable:  # not yet
            return 0
        return int(count)


@pytest.mark.slow
def test_two_groups_share_a_study_and_outlive_one_that_is_killed(postgresql: str, root: Path, tmp_path: Path) -> None:
    shared = [*COMMON, "study.n_trials=16", "study.name=shared", "study.refit_seeds=0", f"study.storage={postgresql}"]
    shared += ["study.heartbeat_seconds=1", "study.workers=1"]
    groups = [start(*shared, f"tracking.root={tmp_path / name}") for name in ("one", "two", "dies")]
    while n_complete(postgresql) < 3:
        time.sleep(0.1)
        assert groups[0].poll() is None, ERRORS.read_text()
    for victim in [groups[2].pid, *descendants(groups[2].pid)]:
        os.kill(victim, signal.SIGKILL)
    groups[2].wait()
    for group in groups[:2]:
        assert group.wait(timeout=180) == 0, ERRORS.read_text()
    storage = optuna.storages.RDBStorage(postgresql, engine_kwargs={"poolclass": NullPool})
    trials = optuna.load_study(study_name="shared", storage=storage).get_trials()
    storage.remove_session()
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert all(trial.state.is_finished() for trial in trials)
    assert sum(trial.state.name in ("COMPLETE", "PRUNED") for trial in trials) == 16
    runs = {name: connect(str(tmp_path / name)) for name in ("one", "two")}
    for name, client in runs.items():
        experiment = client.get_experiment_by_name("iris")
        assert experiment is not None
        assert client.search_runs([experiment.experiment_id], "tags.kind = 'trial'"), f"group {name} ran nothing"
