"""Optuna's samplers and pruners by name, and a trial's settings drawn from a space."""

import warnings
from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from heapq import nsmallest
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from pipeline.distributions import Categorical, Float, Scalar, plain
from pipeline.space import Answers, Question, Space, walk
from pipeline.study_config import Study

N_BEST, N_LATEST = 25, 75  # trials that TPE looks at; of any number, it takes 25 at most for good ones
ENDED = frozenset(state for state in TrialState if state.is_finished())
N_COMPARED = 250  # trials, at least, that a percentile is taken of


class Excerpt:
    """A long study as a sampler or pruner sees it: with some of its trials, so that one more costs no more."""

    def __init__(self, study: optuna.Study, trials: Sequence[FrozenTrial]) -> None:
        self._study, self._trials = study, trials

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def get_trials(self, *, states: Container[TrialState] = ENDED, **_: object) -> list[FrozenTrial]:
        """Trials in these states."""
        return [trial for trial in self._trials if trial.state in states]

    _get_trials = get_trials


class BoundedTPE(optuna.samplers.TPESampler):
    """TPE for one trial, by the best trials and the latest."""

    _excerpt: Any = None

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return super().infer_relative_search_space(self._excerpt_of(study), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return super().sample_relative(self._excerpt_of(study), trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return super().sample_independent(self._excerpt_of(study), trial, param_name, param_distribution)

    def _excerpt_of(self, study: optuna.Study) -> Any:
        if self._excerpt is None:
            trials = study.get_trials(deepcopy=False)
            early, latest = trials[:-N_LATEST], trials[-N_LATEST:]
            self._excerpt = Excerpt(study, [*_best(early, study.directions), *latest])
        return self._excerpt


def _best(trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> list[FrozenTrial]:
    """The best trials by each objective, in order."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    best: set[int] = set()
    for objective, direction in enumerate(directions):
        sign = 1 if direction == StudyDirection.MINIMIZE else -1
        values = [sign * trial.values[objective] for trial in complete]
        best.update(nsmallest(N_BEST // len(directions), range(len(values)), values.__getitem__))
    return [complete[place] for place in sorted(best)]


class BoundedPercentile(optuna.pruners.PercentilePruner):
    """Prunes, until the next trial starts, by a percentile of the complete trials; of many, by each so many-th."""

    _excerpt: Any = None

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        if self._excerpt is None:
            complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            step = max(1, len(complete) // max(N_COMPARED, self._n_startup_trials, self._n_min_trials))
            self._excerpt = Excerpt(study, complete[::step])
        return super().prune(self._excerpt, trial)


SAMPLERS: dict[str, Callable[..., BaseSampler]] = {
    "tpe": lambda seed, **options: BoundedTPE(seed=seed, multivariate=True, group=True, **options),
    "random": optuna.samplers.RandomSampler,
    "gp": optuna.samplers.GPSampler,
    "cma_es": optuna.samplers.CmaEsSampler,
    "nsga2": optuna.samplers.NSGAIISampler,
    "grid": optuna.samplers.RandomSampler,  # its combinations are queued; see study.py
    "qmc": lambda seed, **options: optuna.samplers.QMCSampler(seed=seed, warn_independent_sampling=False, **options),
}
PRUNERS: dict[str, Callable[..., BasePruner]] = {
    "median": partial(BoundedPercentile, 50.0),
    "hyperband": optuna.pruners.HyperbandPruner,
    "successive_halving": optuna.pruners.SuccessiveHalvingPruner,
    "percentile": lambda percentile=25.0, **options: BoundedPercentile(percentile, **options),
    "patient": lambda patience=1, **options: optuna.pruners.PatientPruner(None, patience, **options),
    "threshold": optuna.pruners.ThresholdPruner,
    "none": optuna.pruners.NopPruner,
}
SEQUENCES = ("qmc", "cma_es")  # draw a sequence by one seed, and keep their place in it in the storage


def build_sampler(study: Study, seed: int, n_trials: int) -> BaseSampler:
    """The sampler for the next trial.

    Each trial has a sampler of its own, seeded by the trials before it: so a study that was cut off goes on as it would
    have, and does not draw again what it drew before.
    """
    own = (seed + n_trials * 1_000_003) % 2**32
    options: dict[str, Any] = {"seed": own}
    if study.sampler in SEQUENCES:  # what they do not handle, they have another draw
        options = {"seed": seed, "independent_sampler": optuna.samplers.RandomSampler(own)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return SAMPLERS[study.sampler](**options, **study.sampler_options)


def build_pruner(study: Study) -> BasePruner:
    """The pruner until the next trial starts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return PRUNERS[study.chosen_pruner](**study.pruner_options)


def draw(trial: optuna.Trial, space: Space, lengths: Callable[[str], int]) -> Answers:
    """A new trial's settings: config path to value."""

    def suggest(question: Question) -> Scalar:
        name, kind = question.name, question.kind
        if isinstance(kind, Categorical):
            return trial.suggest_categorical(name, [as_parameter(choice) for choice in kind.choices])
        if isinstance(kind, Float):
            return trial.suggest_float(name, kind.low, kind.high, step=kind.step, log=kind.log)
        return trial.suggest_int(name, kind.low, kind.high, step=kind.step or 1, log=kind.log)

    return walk(space, lambda question: _as_choice(question, suggest(question)), lengths)


def answers_of(params: Mapping[str, Any], space: Space, lengths: Callable[[str], int]) -> Answers:
    """The settings that a trial's parameters stand for."""
    return walk(space, lambda question: _as_choice(question, params[question.name]), lengths)


def _as_choice(question: Question, parameter: Scalar) -> Any:  # a list, where the choices are lists
    if not isinstance(question.kind, Categorical):
        return parameter
    return next(choice for choice in question.kind.choices if as_parameter(choice) == parameter)


def as_parameter(choice: Any) -> Scalar:
    """A choice as Optuna keeps it: a list as text."""
    return choice if isinstance(choice, bool | int | float | str | None) else plain(choice)
