"""What a study may be asked: the sections that `pipeline study` has beside those of a training run."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from pipeline.config import Config
from pipeline.sections import FolderName, Name, Number, Section, Whole
from pipeline.trainer_config import Monitor

Count = Annotated[Whole, Field(ge=1)]
Objective = Literal[Monitor, "n_params", "seconds"]
Direction = Literal["minimize", "maximize"]
Options = dict[str, Whole | Number | bool]

SAMPLER_OPTIONS: dict[str, tuple[str, ...]] = {
    "tpe": ("n_startup_trials", "n_ei_candidates"),
    "random": (),
    "gp": ("n_startup_trials", "deterministic_objective"),
    "cma_es": ("n_startup_trials",),
    "nsga2": ("population_size", "mutation_prob", "crossover_prob"),
    "grid": (),
    "qmc": ("scramble",),
}
PRUNER_OPTIONS: dict[str, tuple[str, ...]] = {
    "median": ("n_startup_trials", "n_warmup_steps", "interval_steps", "n_min_trials"),
    "hyperband": ("min_resource", "max_resource", "reduction_factor"),
    "successive_halving": ("min_resource", "reduction_factor", "min_early_stopping_rate"),
    "percentile": ("percentile", "n_startup_trials", "n_warmup_steps", "interval_steps", "n_min_trials"),
    "patient": ("patience", "min_delta"),
    "threshold": ("lower", "upper", "n_warmup_steps", "interval_steps"),
    "none": (),
}


class Search(Section):
    """A search space: dotted config paths, each with a distribution.

    {type: float|int, low, high, log, step}; {type: categorical, choices, branches}, where branches open further paths
    for single choices; {type: list, length, each, shared} for lists such as model.hidden; {type: switch, branches}.
    """

    name: Name = Field(description="name of the space")
    space: dict[str, Any] = Field(description="dotted config path: distribution; nested mappings join to paths")


class Study(Section):
    """How the space is searched, by Optuna."""

    name: FolderName | None = Field(description="name of the study, under which it goes on; null: DATA-SEARCH")
    n_trials: Count = Field(description="finished trials in all, those of earlier starts included")
    timeout: Annotated[Number, Field(gt=0)] | None = Field(
        description="seconds after which no further trial starts; null: no limit"
    )
    metric: Monitor | None = Field(description="validation metric to optimize; null: trainer.monitor")
    metrics: tuple[Objective, ...] = Field(description="several objectives at once, instead of one metric")
    direction: Direction | None = Field(description="of study.metric; null: the metric's own")
    sampler: Literal["tpe", "random", "gp", "cma_es", "nsga2", "grid", "qmc"] = Field(
        description="Optuna's sampler; grid: every combination of finite ranges"
    )
    sampler_options: Options = Field(description="settings of the sampler, by Optuna's names")
    pruner: (
        Literal["median", "hyperband", "successive_halving", "percentile", "patient", "threshold", "none"] | None
    ) = Field(description="Optuna's pruner; null: median, or none with several objectives")
    pruner_options: Options = Field(description="settings of the pruner, by Optuna's names; steps are epochs")
    n_reports: Count = Field(description="values of a trial that the pruner is told, at most: every so many epochs")
    enqueue: tuple[dict[str, Any], ...] = Field(
        description="settings known to be good, each {path: value}, tried after the default"
    )
    workers: Annotated[Whole, Field(ge=1, le=1024)] | Literal["auto"] = Field(
        description="processes that run trials; auto: one a core for small networks"
    )
    storage: Name | None = Field(
        description="an Optuna storage URL, which any number of machines may share; null: a journal under ROOT/studies"
    )
    heartbeat_seconds: Count = Field(
        description="seconds between two signs of life of a trial in a shared storage; four without one mean it died"
    )
    max_failures: Count = Field(description="failed trials in a row that end the study")
    refit_seeds: Annotated[Whole, Field(ge=0)] = Field(
        description="seeds with which the best and the default settings are trained anew and tested; 0: neither"
    )
    ensemble: Annotated[Whole, Field(ge=0)] = Field(description="best trials whose predictions are averaged; 0: none")

    @model_validator(mode="after")
    def _objectives_fit(self) -> Self:
        if self.metrics and self.metric:
            raise ValueError(f"metric: and study.metrics are two ways to say one thing, got {self.metric}; leave one")
        if len(self.metrics) == 1:
            raise ValueError(f"metrics: takes two or more, got {self.metrics[0]}; use study.metric")
        if len(set(self.metrics)) < len(self.metrics):
            raise ValueError(f"metrics: must differ, got {','.join(self.metrics)}")
        if self.metrics and self.direction:
            raise ValueError("direction: goes with study.metric; each of study.metrics has its own")
        if self.metrics and self.sampler == "cma_es":
            raise ValueError("sampler: cma_es searches by one metric only; use another, as study.sampler=nsga2")
        if self.metrics and self.pruner not in (None, "none"):
            raise ValueError(f"pruner: Optuna prunes by one metric only, got {self.pruner}; leave it out")
        return self

    @model_validator(mode="after")
    def _options_are_the_chosen_ones(self) -> Self:
        chosen = {"sampler": (self.sampler, SAMPLER_OPTIONS), "pruner": (self.chosen_pruner, PRUNER_OPTIONS)}
        for field, (choice, table) in chosen.items():
            unknown = sorted({*getattr(self, f"{field}_options")} - {*table[choice]})
            if unknown:
                known = f"choices: {', '.join(table[choice])}" if table[choice] else "it has none"
                raise ValueError(f"{field}_options: {choice} has no {unknown[0]}; {known}")
        if self.chosen_pruner == "threshold" and not {"lower", "upper"} & {*self.pruner_options}:
            raise ValueError("pruner_options: threshold needs lower or upper, as study.pruner_options={upper:1.5}")
        return self

    @property
    def chosen_pruner(self) -> str:
        """The pruner, where none is named the one that fits."""
        return self.pruner or ("none" if self.metrics else "median")


class StudyConfig(Config):
    """A training run's config, and how to search about it."""

    root: ClassVar[str] = "study"
    search: Search
    study: Study
