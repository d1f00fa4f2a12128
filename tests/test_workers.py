"""The processes of a study: warm, replaced when they die, told to stop."""

import os
import signal
import subprocess
import sys

import pytest

from pipeline.config import NoTracking
from pipeline.studies.jobs import Died, Ended, Probe, Probed, Report, Trial
from pipeline.studies.workers import Pool, _how
from tests.conftest import quick


def trial(number: int, *overrides: str, every: int = 0) -> Trial:
    config = quick(*overrides)
    assert isinstance(config.tracking, NoTracking)
    return Trial(config=config, number=number, metric="val/loss", sign=1, every=every)


def test_a_pool_probes_trains_reports_stops_survives_a_crash_and_a_kill() -> None:
    with Pool() as pool:
        pool.submit(probe := Probe(quick()))
        [(job, event)] = list(pool.events(60))
        assert job is probe
        assert isinstance(event, Ended)
        assert isinstance(event.result, Probed)
        assert event.result.name == "iris"

        pool.submit(one := trial(0, "trainer.max_epochs=9", every=3))
        events = []
        while pool.jobs:
            for job, event in pool.events(60):
                events.append(event)
                if isinstance(event, Report):
                    pool.answer(job, stop=event.epoch == 6)
        assert [event.epoch for event in events if isinstance(event, Report)] == [3, 6]
        assert isinstance(events[-1], Ended)
        assert events[-1].pruned
        assert not pool.jobs
        assert one is not None

        pool.submit(trial(1, "optimizer.lr=1e30"))
        [(_, event)] = list(pool.events(60))
        assert isinstance(event, Ended)
        assert event.error.startswith("the training loss is nan")

        pool.submit(trial(2, "trainer.max_epochs=100000", "trainer.patience=null"))
        os.kill(pool._workers[0].process.pid, signal.SIGKILL)
        [(job, event)] = list(pool.events(60))
        assert event == Died("the worker was killed by SIGKILL, as the system does when memory runs out")
        assert pool.idle == 1
        pool.submit(trial(3))  # a new process takes the dead one's place
        [(_, event)] = list(pool.events(60))
        assert isinstance(event, Ended)
        assert event.result is not None


def test_a_pool_grows_and_ends_its_processes() -> None:
    with Pool() as pool:
        pool.grow(2)
        pool.grow(1)
        assert pool.idle == 2
        for number in range(2):
            pool.submit(trial(number, "trainer.max_epochs=100000", "trainer.patience=null"))
        assert pool.idle == 0
        processes = [worker.process for worker in pool._workers]
        assert [process.is_alive() for process in processes] == [True, True]
    assert not any(process.is_alive() for process in processes)


def test_ctrl_c_while_the_server_imports_is_the_leading_process_alone() -> None:
    """The keys reach every process of the terminal; what the server would print stands in no log."""
    code = (
        "import signal, os, threading, time\n"
        "from pipeline.studies.workers import Pool\n"
        "signal.signal(signal.SIGINT, lambda *_: None)\n"
        "threading.Timer(0.5, os.killpg, (0, signal.SIGINT)).start()\n"
        "with Pool() as pool:\n"
        "    time.sleep(1)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, start_new_session=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-signal.SIGTERM, "the worker was killed by SIGTERM"),
        (-signal.SIGKILL, "the worker was killed by SIGKILL, as the system does when memory runs out"),
        (3, "the worker ended with code 3"),
    ],
)
def test_how_a_worker_ended_is_told_in_words(code: int, words: str) -> None:
    assert _how(code) == words
