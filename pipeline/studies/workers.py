"""The processes of a study, warm: imports are paid for once, by the server that all are forked from."""

import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

from pipeline.studies.jobs import Died, Event, Job, Report

PRELOADED = "pipeline.studies.worker"


def work(connection: Connection) -> None:
    """Where a worker's process begins. The leading process itself needs none of what a worker imports."""
    from pipeline.studies.worker import serve

    serve(connection)


@dataclass
class Worker:
    """A process, the job it is on, and the line to it."""

    process: Any
    connection: Connection
    job: Job | None = None


@dataclass
class Pool:
    """Workers, made when there is a job for them, and anew when one dies."""

    n_workers: int = 1
    _context: Any = field(default_factory=lambda: multiprocessing.get_context("forkserver"))
    _workers: list[Worker] = field(default_factory=list)

    def __enter__(self) -> "Pool":
        """Have the server import; the first job waits for it, nothing before does."""
        self._context.set_forkserver_preload([PRELOADED])
        resource_tracker.ensure_running()  # which unblocks signals, so not while they are blocked
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the server's, while it imports
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()

    @property
    def idle(self) -> int:
        """How many more jobs can start now."""
        return self.n_workers - len(self.jobs)

    @property
    def jobs(self) -> list[Job]:
        """What is under way."""
        return [worker.job for worker in self._workers if worker.job is not None]

    def grow(self, n_workers: int) -> None:
        """Have so many workers, at least."""
        self.n_workers = max(n_workers, self.n_workers)

    def submit(self, job: Job) -> None:
        """Start a job on an idle worker, which must not have died, or on a new one."""
        self._workers = [worker for worker in self._workers if worker.job is not None or worker.process.is_alive()]
        worker = next((worker for worker in self._workers if worker.job is None), None)
        if worker is None:
            self._workers.append(worker := self._start())
        worker.job = job
        with suppress(OSError):  # it died this moment, which `events` will tell
            worker.connection.send(job)

    def events(self, seconds: float) -> Iterator[tuple[Job, Event]]:
        """What happened to the jobs, waited for so many seconds at most; a Report is to be answered with `answer`."""
        busy = {worker.connection: worker for worker in self._workers if worker.job is not None}
        for connection in wait(list(busy), seconds):
            assert isinstance(connection, Connection)
            worker = busy[connection]
            assert worker.job is not None
            job, event = worker.job, self._receive(worker)
            if not isinstance(event, Report):
                worker.job = None
            yield job, event

    def answer(self, job: Job, *, stop: bool) -> None:
        """Tell a trial that reported whether to stop."""
        worker = next(worker for worker in self._workers if worker.job is job)
        with suppress(OSError):  # as in `submit`
            worker.connection.send(stop)

    def _receive(self, worker: Worker) -> Event:
        try:
            event: Event = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join()
            return Died(_how(worker.process.exitcode))
        return event

    def _start(self) -> Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=work, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        return Worker(process, ours)


def _how(code: int | None) -> str:
    """How a process ended, in words."""
    if code is not None and code < 0:
        hint = ", as the system does when memory runs out" if -code == signal.SIGKILL else ""
        return f"the worker was killed by {signal.Signals(-code).name}{hint}"
    return f"the worker ended with code {code}"
