"""Samplers and pruners by name; what TPE and the percentile pruners look at in a long study."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, get_args

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from pipeline.compose import load_config
from pipeline.space import parse_space
from pipeline.studies.plan import make_plan
from pipeline.studies.sampling import (
    N_BEST,
    N_COMPARED,
    N_LATEST,
    PRUNERS,
    SAMPLERS,
    BoundedPercentile,
    BoundedTPE,
    answers_of,
    as_parameter,
    build_pruner,
    build_sampler,
    draw,
)
from pipeline.study_config import PRUNER_OPTIONS, SAMPLER_OPTIONS, Direction, Study, StudyConfig

UNIT = {"x": FloatDistribution(0, 1)}
SPACE = parse_space({"optimizer.lr": {"type": "float", "low": 1e-3, "high": 1.0, "log": True}})


def study_of(values: Sequence[float], *, direction: Direction = "minimize", **settings: Any) -> optuna.Study:
    study = optuna.create_study(direction=direction, **settings)
    study.add_trials([ended(value, place) for place, value in enumerate(values)])
    return study


def ended(value: float, place: int) -> FrozenTrial:
    reported = {1: float(place % 7), 2: value}
    return optuna.trial.create_trial(
        value=value, params={"x": (place % 97) / 97}, distributions=dict(UNIT), intermediate_values=reported
    )


def config(*overrides: str) -> Study:
    return load_config(["data=iris", "search=mlp", *overrides], None, StudyConfig).study


def spread(n: int) -> list[float]:
    """Different values in no order."""
    return [(7919 * place) % n / n for place in range(n)]


# ---------------------------------------------------------------- the families
@pytest.mark.parametrize(
    ("family", "options", "field"), [(SAMPLERS, SAMPLER_OPTIONS, "sampler"), (PRUNERS, PRUNER_OPTIONS, "pruner")]
)
def test_a_family_the_config_and_the_options_name_the_same(
    family: dict[str, object], options: dict[str, object], field: str
) -> None:
    annotation = Study.model_fields[field].annotation
    choices = [choice for part in (annotation, *get_args(annotation)) for choice in get_args(part)]
    assert {*family} == {*options} == {choice for choice in choices if isinstance(choice, str)}


GIVEN = {
    "n_startup_trials": 2, "n_ei_candidates": 5, "deterministic_objective": True, "population_size": 3,
    "mutation_prob": 0.5, "crossover_prob": 0.5, "scramble": True, "n_warmup_steps": 1, "interval_steps": 2,
    "n_min_trials": 1, "min_resource": 1, "max_resource": 9, "reduction_factor": 3, "min_early_stopping_rate": 0,
    "percentile": 50.0, "patience": 2, "min_delta": 0.1, "lower": 0.0, "upper": 1.0,
}  # fmt: skip


def asked(options: Sequence[str]) -> str:
    return "{" + ",".join(f"{name}:{str(GIVEN[name]).lower()}" for name in options) + "}"


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_takes_its_options_and_suggests_from_the_first_trial_on(name: str) -> None:
    study = optuna.create_study()
    chosen = config(f"study.sampler={name}", f"study.sampler_options={asked(SAMPLER_OPTIONS[name])}")
    if name == "grid":
        chosen = config()  # a grid's points are queued; between them nothing is drawn
    for number in range(4):
        study.sampler = build_sampler(chosen, 0, number)
        trial = study.ask()
        answers = draw(trial, SPACE, lambda _: 1)
        assert 1e-3 <= answers["optimizer.lr"] <= 1
        study.tell(trial, answers["optimizer.lr"])


@pytest.mark.parametrize("name", PRUNERS)
def test_a_pruner_takes_its_options_and_decides(name: str) -> None:
    options = asked(PRUNER_OPTIONS[name])
    study = study_of(spread(20), pruner=build_pruner(config(f"study.pruner={name}", f"study.pruner_options={options}")))
    trial = study.ask()
    trial.report(0.5, 1)
    assert trial.should_prune() in (True, False)


def test_the_same_place_in_a_study_draws_the_same_and_another_place_draws_anew() -> None:
    def drawn(number: int) -> float:
        study = optuna.create_study(sampler=build_sampler(config("study.sampler=random"), 3, number))
        return study.ask().suggest_float("x", 0, 1)

    assert drawn(5) == drawn(5) != drawn(6)


def test_a_sequence_goes_on_from_trial_to_trial() -> None:
    study, chosen = optuna.create_study(), config("study.sampler=qmc")
    for number in range(9):
        study.sampler = build_sampler(chosen, 0, number)
        trial = study.ask()
        draw(trial, SPACE, lambda _: 1)
        study.tell(trial, 1.0)
    assert len({trial.params["optimizer.lr"] for trial in study.get_trials()}) == 9


# ---------------------------------------------------------------- TPE
@settings(max_examples=40)
@given(n_trials=st.integers(0, N_BEST + N_LATEST - 1), seed=st.integers(0, 99))
def test_a_study_that_is_not_long_gets_what_optunas_tpe_suggests(n_trials: int, seed: int) -> None:
    def suggested(sampler: optuna.samplers.BaseSampler) -> float:
        return study_of(spread(n_trials or 1), sampler=sampler).ask(dict(UNIT)).params["x"]  # type: ignore[no-any-return]

    theirs = optuna.samplers.TPESampler(seed=seed, multivariate=True)
    assert suggested(BoundedTPE(seed=seed, multivariate=True)) == suggested(theirs)


CONDITIONAL = parse_space(
    {
        "optimizer": {
            "type": "categorical",
            "choices": ["sgd", "adam"],
            "branches": {"sgd": {"optimizer.lr": {"type": "float", "low": 1e-3, "high": 1.0, "log": True}}},
        },
        "seed": {"type": "int", "low": 0, "high": 9},
    }
)


@pytest.mark.parametrize("directions", [["minimize"], ["minimize", "maximize"]])
def test_branches_pruned_failed_and_running_trials_change_nothing_of_that(directions: list[Direction]) -> None:
    def suggested(build: Callable[[int], optuna.samplers.BaseSampler]) -> list[object]:
        study = optuna.create_study(directions=directions)
        for number in range(N_LATEST):
            study.sampler = build(number)
            trial = study.ask()
            draw(trial, CONDITIONAL, lambda _: 1)
            if number % 5 == 1 and len(directions) == 1:
                trial.report(number % 3, 1)
                study.tell(trial, state=TrialState.PRUNED)
            elif number % 5 == 2:
                study.tell(trial, state=TrialState.FAIL)
            elif number % 5 > 2:
                study.tell(trial, [float(7919 * number % 101)] * len(directions))
        return [trial.params for trial in study.get_trials()]

    chosen = config("study.sampler_options={n_startup_trials:5,n_ei_candidates:7}")

    def theirs(number: int) -> optuna.samplers.BaseSampler:
        ours = build_sampler(chosen, 3, number)
        assert isinstance(ours, BoundedTPE)
        options: dict[str, Any] = {"multivariate": True, "group": True, "n_startup_trials": 5, "n_ei_candidates": 7}
        return optuna.samplers.TPESampler(seed=(3 + number * 1_000_003) % 2**32, **options)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        assert suggested(lambda number: build_sampler(chosen, 3, number)) == suggested(theirs)


def looked_at(study: optuna.Study) -> list[FrozenTrial]:
    trials: list[FrozenTrial] = BoundedTPE()._excerpt_of(study).get_trials(states=(TrialState.COMPLETE,))
    return trials


@pytest.mark.parametrize(("direction", "best"), [("minimize", min), ("maximize", max)])
def test_of_a_long_study_tpe_sees_the_best_and_the_latest(direction: Direction, best: Callable[..., float]) -> None:
    values = spread(1000)
    seen = looked_at(study_of(values, direction=direction))
    assert len(seen) == N_BEST + N_LATEST
    assert [trial.number for trial in seen] == sorted(trial.number for trial in seen)
    assert [trial.number for trial in seen[N_BEST:]] == [*range(1000 - N_LATEST, 1000)]
    early = sorted(values[:-N_LATEST], reverse=direction == "maximize")
    assert sorted((trial.values[0] for trial in seen[:N_BEST]), reverse=direction == "maximize") == early[:N_BEST]
    assert best(values) in [trial.values[0] for trial in seen]


def test_of_two_objectives_the_best_of_each_are_seen() -> None:
    study = optuna.create_study(directions=["minimize", "maximize"])
    study.add_trials([optuna.trial.create_trial(values=[value, value]) for value in spread(500)])
    early = sorted(spread(500)[:-N_LATEST])
    seen = [trial.values[0] for trial in looked_at(study)[:-N_LATEST]]
    assert sorted(seen) == early[: N_BEST // 2] + early[-(N_BEST // 2) :]


# ---------------------------------------------------------------- the percentile pruners
@settings(max_examples=40)
@given(n_trials=st.integers(1, N_COMPARED), value=st.floats(0, 1), percentile=st.sampled_from([10.0, 25.0, 50.0]))
def test_a_study_that_is_not_long_is_pruned_as_optuna_does(n_trials: int, value: float, percentile: float) -> None:
    def decision(pruner: optuna.pruners.BasePruner) -> bool:
        trial = study_of(spread(n_trials), pruner=pruner).ask()
        trial.report(value, 2)
        return trial.should_prune()

    assert decision(BoundedPercentile(percentile)) == decision(optuna.pruners.PercentilePruner(percentile))


@pytest.mark.parametrize(("value", "is_pruned"), [(0.49, False), (0.51, True)])
def test_a_long_study_is_judged_by_an_even_sample_of_it(value: float, *, is_pruned: bool) -> None:
    pruner = BoundedPercentile(50.0)
    trial = study_of([place / 5000 for place in range(5000)], pruner=pruner).ask()
    trial.report(value, 2)
    assert trial.should_prune() == is_pruned
    assert len(pruner._excerpt.get_trials(states=(TrialState.COMPLETE,))) == N_COMPARED


def test_more_startup_trials_than_are_compared_are_waited_for_all_the_same() -> None:
    def decision(n_startup_trials: int) -> bool:
        trial = study_of(spread(1000), pruner=BoundedPercentile(50.0, n_startup_trials=n_startup_trials)).ask()
        trial.report(2.0, 2)
        return trial.should_prune()

    assert (decision(900), decision(1001)) == (True, False)


def test_the_median_is_the_percentile_of_50() -> None:
    pruners = [build_pruner(config("study.pruner_options={n_warmup_steps:1}")), optuna.pruners.MedianPruner()]
    decisions = []
    for pruner in pruners:
        for value in (0.4, 0.6):
            trial = study_of(spread(99), pruner=pruner).ask()
            trial.report(value, 2)
            decisions.append(trial.should_prune())
    assert decisions == [False, True] * 2


# ---------------------------------------------------------------- settings and parameters
def test_a_list_among_the_choices_is_kept_as_text_and_found_again() -> None:
    space = parse_space({"model.hidden": {"type": "categorical", "choices": [[64, 32], [8]]}})
    trial = optuna.create_study().ask()
    answers = draw(trial, space, lambda _: 1)
    assert answers["model.hidden"] in ([64, 32], [8])
    assert trial.params["model.hidden"] == as_parameter(answers["model.hidden"])
    assert answers_of(trial.params, space, lambda _: 1) == answers


@pytest.mark.parametrize("name", ["cma_es", "qmc"])
def test_what_a_sampler_draws_one_by_one_differs_from_trial_to_trial(name: str) -> None:
    plan = make_plan(["data=iris", "search=optimizers", f"study.sampler={name}"])
    study, optimizers, rates = optuna.create_study(), set[object](), set[object]()
    for number in range(24):
        study.sampler = build_sampler(plan.config.study, 0, number)
        trial = study.ask()
        answers = draw(trial, plan.space, plan.length)
        optimizers.add(answers["optimizer"])
        rates.add(answers["optimizer.lr"])
        study.tell(trial, (7919 * number) % 101)
    assert len(optimizers) > 3
    assert len(rates) == 24


def test_the_startup_trials_of_cma_es_differ() -> None:
    asked = load_config(
        ["data=iris", "search=mlp", "study.sampler=cma_es", "study.sampler_options={n_startup_trials:8}"],
        None,
        StudyConfig,
    ).study
    study, drawn = optuna.create_study(), set[float]()
    for number in range(8):
        study.sampler = build_sampler(asked, 0, number)
        trial = study.ask()
        drawn.add(trial.suggest_float("x", 0, 1))
        study.tell(trial, number)
    assert len(drawn) == 8


def test_as_many_values_as_n_min_trials_asks_for_are_compared() -> None:
    study = optuna.create_study(pruner=BoundedPercentile(50.0, n_min_trials=300))
    study.add_trials([optuna.trial.create_trial(value=0.0, intermediate_values={2: 0.0}) for _ in range(1000)])
    trial = study.ask()
    trial.report(1.0, 2)
    assert trial.should_prune()
