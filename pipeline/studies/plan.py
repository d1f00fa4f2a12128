"""What a study is to do: config, space, objectives; and how a trial's answers become a run's config."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pipeline.compose import list_groups, load_config
from pipeline.config import Config, choices_of
from pipeline.distributions import plain
from pipeline.errors import ConfigError
from pipeline.metrics import higher_is_better, monitors_of
from pipeline.mistakes import key_of
from pipeline.sections import Section
from pipeline.space import Answers, Space, ends, overrides_of, parse_space, space_for
from pipeline.study_config import StudyConfig
from pipeline.types import Task

C = TypeVar("C", bound=Config)
Direction = Literal["minimize", "maximize"]
MAY_CHANGE = {  # when a study goes on: how long, where and by whom, but not what is searched
    "name", "n_trials", "timeout", "workers", "enqueue", "storage", "heartbeat_seconds", "max_failures",
    "refit_seeds", "ensemble",
}  # fmt: skip
NOT_SEARCHED: dict[str, bool | set[str]] = {
    "tracking": True, "baselines": True, "doctor": True, "predict": True, "serve": True, "search": True,
    "study": MAY_CHANGE,
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """A study's config and space, and the overrides of the config that it starts from."""

    config: StudyConfig
    space: Space
    overrides: Sequence[str]
    config_dir: Path | None
    name: str
    objectives: tuple[str, ...]
    directions: tuple[Direction, ...]

    def default(self) -> Config:
        """The base config, as it is without the study."""
        return load_config(self.overrides, self.config_dir)

    def length(self, path: str) -> int:
        """Entries of a list in the base config."""
        value = value_at(self.config, path)
        if not isinstance(value, tuple):
            raise ConfigError(f"search.space: a length refers to {path}, which is no list, got {plain(value)}")
        return len(value)

    def trial_overrides(self, answers: Answers) -> list[str]:
        """The base overrides with a trial's; settings of a group that the trial chooses anew go."""
        chosen = {path for path in answers if "." not in path}
        return [*(text for text in self.overrides if group_of(text) not in chosen), *overrides_of(answers)]

    def trial_config(self, answers: Answers) -> Config:
        """A trial's config, through the very `load_config` of the command line."""
        return load_config(self.trial_overrides(answers), self.config_dir)

    def identity(self, digest: str) -> dict[str, Any]:
        """What trials must share to be comparable: everything but NOT_SEARCHED, and the data's digest."""
        values = self.config.model_dump(mode="json", exclude=NOT_SEARCHED)
        space = {path: part.model_dump(mode="json") for path, part in self.space.items()}
        values |= {"search": {"space": space}, "digest of the data": digest}
        return json.loads(json.dumps(values))  # type: ignore[no-any-return]

    def for_task(self, task: Task) -> Self:
        """The plan without what is for other tasks; raises ConfigError where an objective is none of this one's."""
        for objective in self.objectives:
            fitting = monitors_of(task)
            if objective not in (*fitting, "n_params", "seconds"):
                raise ConfigError(f"study.metric: {objective} does not fit {task}; choices: {', '.join(fitting)}")
        return replace(self, space=space_for(self.space, task))


def make_plan(overrides: Sequence[str], config_dir: Path | None = None) -> Plan:
    """Config and space of the overrides, every end of every range and every branch tried.

    Raises:
        ConfigError: with a line for every mistake, naming the path.
    """
    config = in_one_process(load_config(overrides, config_dir, StudyConfig))
    objectives = config.study.metrics or (config.study.metric or config.trainer.monitor,)
    plan = Plan(
        config=config,
        space=parse_space(config.search.space),
        overrides=[text for text in overrides if group_of(text) not in ("search", "study")],
        config_dir=config_dir,
        name=config.study.name or f"{config.data.name}-{config.search.name}",
        objectives=objectives,
        directions=tuple(config.study.direction or _direction(objective) for objective in objectives),
    )
    _check_ends(plan)
    return plan


def _check_ends(plan: Plan) -> None:
    mistakes: dict[str, None] = {}
    for answers in ends(plan.space, plan.length):
        try:
            in_one_process(plan.trial_config(answers))
        except ConfigError as error:
            mistakes |= dict.fromkeys(f"search.space: {line}" for line in error.lines)
    if mistakes:
        raise ConfigError(*(_of_another_network(plan.config) or mistakes))


def _of_another_network(config: StudyConfig) -> list[str]:
    """A line where a shipped space is of another network than is searched, which has a space of its own."""
    spaces, name, model = list_groups()["search"], config.search.name, config.model.name
    made_for = name if name in choices_of("model") else "mlp"
    if name not in spaces or model not in spaces or model == made_for:
        return []
    return [f"search: {name} is made for model={made_for}, got model={model}; use search={model} or model={made_for}"]


def in_one_process(config: C) -> C:
    """The config of one run of many; raises ConfigError where several processes are to train its network."""
    if config.trainer.devices != 1 or config.trainer.strategy == "ddp":
        raise ConfigError("trainer.devices: of many runs each is trained in one process; use 1, and strategy=auto")
    return config


def _direction(objective: str) -> Direction:
    return "maximize" if higher_is_better(objective) else "minimize"


def group_of(override: str) -> str:
    """The group, or the section, that an override is about."""
    return key_of(override).partition(".")[0].partition("@")[0]


def value_at(config: Config, path: str) -> Any:  # any value a config holds
    """The value at a dotted path; of a group the name of its choice; None where there is nothing."""
    value: Any = config
    for name in path.split("."):
        value = getattr(value, name, None)
    return getattr(value, "name", None) if isinstance(value, Section) else value
