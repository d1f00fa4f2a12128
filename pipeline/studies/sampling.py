"""Optuna's samplers and pruners by name, and a trial's settings drawn from a space."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from pipeline.distributions import Categorical, Float, Scalar, plain
from pipeline.space import Answers, Question, Space, walk
from pipeline.study_config import Study

SAMPLERS: dict[str, Callable[..., BaseSampler]] = {
    "tpe": lambda seed, **options: optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, **options),
    "random": optuna.samplers.RandomSampler,
    "gp": optuna.samplers.GPSampler,
    "cma_es": optuna.samplers.CmaEsSampler,
    "nsga2": optuna.samplers.NSGAIISampler,
    "grid": optuna.samplers.RandomSampler,  # its combinations are queued; see study.py
    "qmc": lambda seed, **options: optuna.samplers.QMCSampler(seed=seed, warn_independent_sampling=False, **options),
}
PRUNERS: dict[str, Callable[..., BasePruner]] = {
    "median": optuna.pruners.MedianPruner,
    "hyperband": optuna.pruners.HyperbandPruner,
    "successive_halving": optuna.pruners.SuccessiveHalvingPruner,
    "percentile": lambda percentile=25.0, **options: optuna.pruners.PercentilePruner(percentile, **options),
    "patient": lambda patience=1, **options: optuna.pruners.PatientPruner(None, patience, **options),
    "threshold": optuna.pruners.ThresholdPruner,
    "none": optuna.pruners.NopPruner,
}
ONE_SEED = ("qmc", "cma_es")  # draw a sequence: what its place is, they keep in the storage


def build_sampler(study: Study, seed: int, n_trials: int) -> BaseSampler:
    """The sampler for the next trial.

    Each trial has a sampler of its own, seeded by the trials before it: so a study that was cut off goes on as it would
    have, and does not draw again what it drew before.
    """
    own = seed if study.sampler in ONE_SEED else (seed + n_trials * 1_000_003) % 2**32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return SAMPLERS[study.sampler](seed=own, **study.sampler_options)


def build_pruner(study: Study) -> BasePruner:
    """The pruner that the study asks for."""
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
