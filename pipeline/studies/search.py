"""A search under way: asks Optuna for trials, has workers train them, tells Optuna what came of it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from pipeline.config import Config, NoTracking
from pipeline.errors import ConfigError, TrainingError
from pipeline.metrics import higher_is_better
from pipeline.studies.jobs import Died, Event, Report, Trial
from pipeline.studies.plan import Plan
from pipeline.studies.recorder import Recorder
from pipeline.studies.sampling import build_pruner, build_sampler, draw
from pipeline.studies.storage import MAX_RETRIES, fail, fail_stale, finished, give_back, retried
from pipeline.studies.workers import Pool
from pipeline.types import Result

POLL_SECONDS = 0.5  # between two looks at the clock, and at the trials of other machines


@dataclass
class Progress:
    """How far a study is, for those who show it."""

    n_trials: int
    n_before: int  # trials finished by earlier starts
    started: float = field(default_factory=time.monotonic)
    ended: list[FrozenTrial] = field(default_factory=list)  # by this process, in order
    n_finished: int = 0  # by all
    best: FrozenTrial | None = None  # of one objective
    running: dict[int, int] = field(default_factory=dict)  # number: epoch reported last


Listener = Callable[[Progress], None]


@dataclass
class Search:
    """See the module. `run` goes on until enough trials are finished."""

    plan: Plan
    study: optuna.Study
    recorder: Recorder
    listener: Listener
    _open: dict[int, optuna.Trial] = field(default_factory=dict)
    _configs: dict[int, Config] = field(default_factory=dict)  # of the open ones that could be composed
    _failures: int = 0
    _seen: set[int] = field(default_factory=set)  # ids of running trials, in a shared storage

    def __post_init__(self) -> None:
        self.asked = self.plan.config.study
        self._look()
        self.progress = Progress(self.asked.n_trials, len(self._finished), n_finished=len(self._finished))
        self._find_best()

    def run(self, pool: Pool) -> None:
        """Search; raises TrainingError after too many failures in a row."""
        with self._signs_of_life():
            while not self._is_over():
                while pool.idle and self._may_start():
                    self._start(pool)
                for job, event in pool.events(POLL_SECONDS):
                    assert isinstance(job, Trial)
                    self._handle(pool, job, event)
                self._look()
                self.listener(self.progress)

    def interrupt(self, why: str) -> None:
        """Give the settings of what is under way back to the queue."""
        for trial in self._open.values():
            give_back(self.study, self._frozen(trial), why)
            self.recorder.ended(self._frozen(trial), None, self._configs.get(trial.number))
        self._open.clear()

    # ------------------------------------------------------------ starting
    def _look(self) -> None:
        """See which trials there are: with a shared storage, those of other machines too."""
        if self.asked.storage is not None:
            fail_stale(self.study)
        self._trials = self.study.get_trials(deepcopy=False)
        if self.asked.storage is not None:
            self._give_first_sign()
        self._finished = finished(self._trials)
        if hasattr(self, "progress"):
            self.progress.n_finished = len(self._finished)

    def _is_over(self) -> bool:
        return not self._open and (self._is_late() or len(self._finished) >= self.asked.n_trials)

    def _is_late(self) -> bool:
        seconds = self.asked.timeout
        return seconds is not None and time.monotonic() - self.progress.started > seconds

    def _may_start(self) -> bool:
        others = sum(trial.state == TrialState.RUNNING and trial.number not in self._open for trial in self._trials)
        return not self._is_late() and len(self._finished) + others + len(self._open) < self.asked.n_trials

    def _start(self, pool: Pool) -> None:
        n_trials = len(self.study.get_trials(deepcopy=False))
        self.study.sampler = build_sampler(self.asked, self.plan.config.seed, n_trials)
        self.study.pruner = build_pruner(self.asked)
        trial = self.study.ask()
        self._open[trial.number] = trial
        answers = draw(trial, self.plan.space, self.plan.length)
        if self.asked.storage is not None and self._is_surplus(trial.number):
            self._give_up(trial)
            return
        try:
            config = self.plan.trial_config(answers)
        except ConfigError as error:
            self._failed(trial, "; ".join(error.lines))
            self._look()
            return
        self.progress.running[trial.number], self._configs[trial.number] = 0, config
        pool.submit(self._job(trial.number, config))

    def _is_surplus(self, number: int) -> bool:
        """Whether enough trials with lower numbers count: two machines may ask for the last one at the same moment."""
        self._look()
        alive = [*self._finished, *(trial for trial in self._trials if trial.state == TrialState.RUNNING)]
        return sum(trial.number < number for trial in alive) >= self.asked.n_trials

    def _give_up(self, trial: optuna.Trial) -> None:
        trial.set_user_attr("surplus", True)
        fail(self.study, trial, "another machine had started the last trial")
        del self._open[trial.number]
        self._look()

    def _job(self, number: int, config: Config) -> Trial:
        untracked = NoTracking(name="none", root=config.tracking.root)
        return Trial(
            config=config.model_copy(update={"tracking": untracked}),
            number=number,
            metric=self.plan.objectives[0],
            sign=-1 if higher_is_better(config.trainer.monitor) else 1,
            every=0 if self.asked.chosen_pruner == "none" else ceil(config.trainer.max_epochs / self.asked.n_reports),
        )

    # ------------------------------------------------------------ what comes back
    def _handle(self, pool: Pool, job: Trial, event: Event) -> None:
        try:
            self._take(pool, job, event)
        except UpdateFinishedTrialError:  # another machine took it for dead, and queued its settings again
            if isinstance(event, Report):
                pool.answer(job, stop=True)
            else:
                self._close(self._open[job.number], None)

    def _take(self, pool: Pool, job: Trial, event: Event) -> None:
        trial = self._open[job.number]
        if isinstance(event, Report):
            trial.report(event.value, event.epoch)
            self.progress.running[job.number] = event.epoch
            pool.answer(job, stop=trial.should_prune())
        elif isinstance(event, Died):
            self._died(trial, event.why)
        elif isinstance(event.result, Result):
            self._told(trial, event.result, pruned=event.pruned)
        else:
            self._failed(trial, event.error)

    def _told(self, trial: optuna.Trial, result: Result, *, pruned: bool) -> None:
        values = [_value(result, objective) for objective in self.plan.objectives]
        if any(value != value for value in values):
            self._failed(trial, f"{', '.join(self.plan.objectives)}: not a number")
            return
        trial.set_user_attr("ran", {name: getattr(result, name) for name in ("seconds", "n_epochs", "n_params")})
        if pruned:
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, values)
        self._failures = 0
        self._close(trial, result)

    def _failed(self, trial: optuna.Trial, why: str) -> None:
        """Record a trial that failed by its own fault; it counts."""
        fail(self.study, trial, why)
        self._close(trial, None)
        self._failures += 1
        if self._failures >= self.asked.max_failures:
            raise TrainingError(f"study '{self.plan.name}': {self._failures} trials in a row failed, the last: {why}")

    def _died(self, trial: optuna.Trial, why: str) -> None:
        if len(retried(self._frozen(trial))) >= MAX_RETRIES:
            self._failed(trial, f"{why}, several times with these settings")
            return
        give_back(self.study, self._frozen(trial), why)
        self._close(trial, None)

    def _close(self, trial: optuna.Trial, result: Result | None) -> None:
        frozen = self._frozen(trial)
        del self._open[trial.number]
        self.progress.running.pop(trial.number, None)
        self.recorder.ended(frozen, result, self._configs.pop(trial.number, None))
        self.progress.ended.append(frozen)
        if frozen.state == TrialState.COMPLETE:
            self._find_best()

    def _frozen(self, trial: optuna.Trial) -> FrozenTrial:
        return self.study._storage.get_trial(trial._trial_id)

    def _find_best(self) -> None:
        if len(self.plan.objectives) == 1 and any(trial.state == TrialState.COMPLETE for trial in self._finished):
            self.progress.best = self.study.best_trial

    # ------------------------------------------------------------ signs of life
    @contextmanager
    def _signs_of_life(self) -> Iterator[None]:
        """Tell a shared storage, now and then, which trials are alive."""
        if self.asked.storage is None:
            yield
            return
        over = threading.Event()
        thread = threading.Thread(target=self._beat, args=(over, self.study._storage), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _give_first_sign(self) -> None:
        """On behalf of each running trial: Optuna takes none for dead that never gave one, as if killed at once."""
        running = {trial._trial_id for trial in self._trials if trial.state == TrialState.RUNNING}
        for trial_id in running - self._seen:
            self.study._storage.record_heartbeat(trial_id)  # type: ignore[attr-defined]  # a shared one's
        self._seen |= running

    def _beat(self, over: threading.Event, storage: BaseStorage) -> None:
        while not over.wait(self.asked.heartbeat_seconds):
            for trial in list(self._open.values()):
                storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]  # a shared one's


def _value(result: Result, objective: str) -> float:
    if objective in ("n_params", "seconds"):
        return float(getattr(result, objective))
    return result.val.get(objective, float("nan"))
