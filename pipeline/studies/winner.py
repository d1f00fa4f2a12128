"""The winner of a study: trained anew over seeds, tested once, compared with the default on the same test rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from pipeline.config import Config
from pipeline.errors import TrainingError
from pipeline.metrics import higher_is_better, metrics_of, paired_bootstrap, shown
from pipeline.studies.jobs import Died, Ended, Run
from pipeline.studies.plan import Plan
from pipeline.studies.workers import Pool
from pipeline.types import Interval, Result, Task


@dataclass(frozen=True)
class Comparison:
    """A test metric of the best and the default settings, each over seeds, and of their difference."""

    metric: str
    best: tuple[float, ...]
    default: tuple[float, ...]
    gain: Interval  # how much better the best is, positive where it is; paired over the test rows
    ensemble: float | None = None  # the metric of the averaged predictions of the best trials
    n_members: int = 0
    verdict: str = ""  # on the best settings with the first seed and their baselines
    run_id: str = ""  # of the best settings with the first seed, where their model may be used

    def lines(self) -> list[str]:
        """What is to be said of it."""
        name, n_seeds = f"test/{self.metric}", len(self.best)
        says = "better" if self.gain.low > 0 else "worse" if self.gain.high < 0 else "within the noise of the test rows"
        gain, low, high = map(shown, self.gain)
        lines = [
            f"refitted over {n_seeds} seed{'s' * (n_seeds > 1)}: {name} {_spread(self.best)}, "
            f"default {_spread(self.default)}; gain {gain} ({low} to {high}): {says}"
        ]
        if self.ensemble is not None:
            lines.append(
                f"ensemble of the {self.n_members} best trials: {name} {shown(self.ensemble)}, "
                f"against {shown(float(np.mean(self.best)))} of the best alone"
            )
        if self.verdict:
            lines.append(self.verdict)
        return lines


def _spread(values: Sequence[float]) -> str:
    deviation = f" ± {shown(float(np.std(values, ddof=1)))}" if len(values) > 1 else ""
    return f"{shown(float(np.mean(values)))}{deviation}"


def refit(
    pool: Pool, configs: Mapping[str, Config], seeds: Sequence[int], parent: str, study: str
) -> dict[str, list[Result]]:
    """Train, test and track each of the configs with each of the seeds; raises TrainingError where one fails."""
    jobs = {
        (role, seed): Run(
            config.model_copy(update={"seed": seed}),
            parent or None,
            {"kind": "refit", "study": study, "role": role},
            baselines=(role, seed) == ("best", seeds[0]),
        )
        for role, config in configs.items()
        for seed in seeds
    }
    results = dict(zip(jobs, run_all(pool, list(jobs.values())), strict=True))
    return {role: [results[role, seed] for seed in seeds] for role in configs}


def run_all(pool: Pool, jobs: Sequence[Run]) -> list[Result]:
    """Results in the order of the jobs; raises TrainingError where one fails."""
    waiting, results = list(jobs), dict[int, Result]()
    while len(results) < len(jobs):
        while waiting and pool.idle:
            pool.submit(waiting.pop(0))
        for job, event in pool.events(1.0):
            match event:
                case Ended(result=Result() as result):
                    results[id(job)] = result
                case Ended(error=why) | Died(why=why):
                    raise TrainingError(f"refit: {why}")
    return [results[id(job)] for job in jobs]


def members_of(study: optuna.Study, plan: Plan, n_members: int) -> list[FrozenTrial]:
    """The best trials by the first objective."""
    sign = 1 if plan.directions[0] == "minimize" else -1
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return sorted(complete, key=lambda trial: (sign * trial.values[0], trial.number))[:n_members]


def compare(
    task: Task, metric: str, refits: Mapping[str, Sequence[Result]], members: Sequence[Result], seed: int
) -> Comparison:
    """What the refits say on the test rows, which all of them share."""
    best, default = ([_tested(result) for result in refits[role]] for role in ("best", "default"))
    y = best[0][0]
    predictions = {"best": [p for _, p in best], "default": [p for _, p in default]}
    averaged = np.mean([_tested(result)[1] for result in members], axis=0) if members else None
    function = metrics_of(task)[metric].function
    gain = paired_bootstrap(task, metric, y, predictions["default"], predictions["best"], seed=seed)
    once = np.ones((1, len(y)))
    return Comparison(
        metric=metric,
        best=tuple(result.test[metric].value for result in refits["best"]),
        default=tuple(result.test[metric].value for result in refits["default"]),
        gain=gain if higher_is_better(metric) else -gain,
        ensemble=float(function(y, averaged, once)[0]) if averaged is not None else None,
        n_members=len(members),
        verdict=refits["best"][0].verdict,
        run_id="" if refits["best"][0].fault else refits["best"][0].run_id,
    )


def _tested(result: Result) -> tuple[np.ndarray, np.ndarray]:
    assert result.y is not None
    assert result.prediction is not None
    return result.y, result.prediction
