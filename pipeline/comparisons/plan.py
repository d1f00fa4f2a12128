"""What a comparison is to run: its cases, each the config of the command line with some settings varied."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from pipeline.comparison_config import ComparisonConfig
from pipeline.compose import flatten, load_config
from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.metrics import LOSS_METRIC, monitors_of
from pipeline.mistakes import key_of, shown
from pipeline.studies.plan import in_one_process
from pipeline.types import Task

CASES = "cases"  # the key of `vary` under which labels stand for overrides that belong together
NOT_COMPARED = {  # may change as it goes on
    "tracking", "baselines", "predict", "serve", "seed", "comparison", "vary", "seeds",
}  # fmt: skip
NOT_VARIED = {
    "seed": "is varied by seeds=N",
    "baselines": "changes no training",
    "data": "runs on other rows cannot be compared",
    "predict": "changes no training",
    "serve": "changes no training",
    "tracking": "changes no training",
}
Key = tuple[str, int]  # a case's label and a seed
N_SEEDS = 2**32  # that numpy's generators take

FEW = "vary: has nothing to compare; write vary.optimizer=[sgd,adam], or comparison=NAME for a ready one"


@dataclass(frozen=True)
class Plan:
    """A comparison: what is asked of it, and the config of each case by its label."""

    config: ComparisonConfig
    base: Config
    cases: Mapping[str, Config]
    name: str
    varied: tuple[str, ...]  # paths, or groups

    @property
    def seeds(self) -> list[int]:
        return seeds_of(self.config.seed, self.config.seeds)

    def runs(self) -> dict[Key, Config]:
        """The config of every run, all cases of one seed before the next seed."""
        return {
            (label, seed): config.model_copy(update={"seed": seed})
            for seed in self.seeds
            for label, config in self.cases.items()
        }

    def identity(self, digest: str) -> dict[str, Any]:
        """What all runs of one name share: the settings around those varied, and the data's digest."""
        values = self.config.model_dump(mode="json", exclude=NOT_COMPARED) | {"digest of the data": digest}
        return json.loads(json.dumps(values))  # type: ignore[no-any-return]

    def metric(self, task: Task) -> str:
        """The metric that cases are ranked by."""
        if self.config.comparison.metric:
            return self.config.comparison.metric
        return f"val/{LOSS_METRIC[task]}" if len({case.loss for case in self.cases.values()}) > 1 else "val/loss"

    def curves(self, task: Task) -> tuple[str, ...]:
        """What is drawn."""
        return self.config.comparison.curves or (self.metric(task),)

    def check(self, task: Task) -> None:
        """Raise ConfigError where a metric asked for is none of the task's."""
        asked = {"comparison.metric": [self.metric(task)], "comparison.curves": self.curves(task)}
        fitting = monitors_of(task)
        mistakes = [
            f"{setting}: {name} does not fit {task}; choices: {', '.join(fitting)}"
            for setting, names in asked.items()
            for name in names
            if name not in (*fitting, "train/loss", "train/lr")
        ]
        if mistakes:
            raise ConfigError(*mistakes)


def make_plan(overrides: Sequence[str], config_dir: Path | None = None) -> Plan:
    """The plan that overrides ask for, the config of each case composed and checked.

    Raises:
        ConfigError: with a line for every mistake, naming the path.
    """
    config = load_config(overrides, config_dir, ComparisonConfig)
    seeds_of(config.seed, config.seeds)
    vary = dict(config.vary)
    cases, paths = vary.pop(CASES, {}), flatten(vary)
    given = set(map(key_of, overrides))
    _refuse(_misvaried(paths, given) + _miscased(cases))
    parts = _parts(paths, cases)
    if len(parts) < 2:
        raise ConfigError(FEW)
    return Plan(
        config=config,
        base=_of_a_run(config),
        cases=_composed(parts, overrides, config_dir),
        name=config.comparison.name or "-".join([config.data.name, *paths, *([CASES] if cases else [])]),
        varied=tuple(paths),
    )


def seeds_of(first: int, n: int) -> list[int]:
    """So many seeds from the first on; raises ConfigError where there are not so many."""
    if first + n > N_SEEDS:
        raise ConfigError(f"seeds: the last of {n} from {first} on must be less than {N_SEEDS}; use a smaller seed")
    return list(range(first, first + n))


def _refuse(mistakes: Sequence[str]) -> None:
    if mistakes:
        raise ConfigError(*mistakes)


def _misvaried(paths: Mapping[str, object], given: set[str]) -> list[str]:
    """A line for each path that cannot be varied, or not so."""
    mistakes = []
    for path, values in paths.items():
        written = [shown(value) for value in values] if isinstance(values, list | tuple) else []
        twice = [value for value in written if written.count(value) > 1]
        if path.partition(".")[0] in NOT_VARIED:
            mistakes.append(f"vary.{path}: {NOT_VARIED[path.partition('.')[0]]}; leave it out")
        elif not written:
            mistakes.append(f"vary.{path}: must be a list of values, got {shown(values)}; write vary.{path}=[…]")
        elif twice:
            mistakes.append(f"vary.{path}: must differ, got {twice[0]} twice")
        elif path in given:
            mistakes.append(f"{path}: is varied by vary.{path}; leave one of them out")
    return mistakes


def _miscased(cases: object) -> list[str]:
    if not isinstance(cases, Mapping):
        return [f"vary.{CASES}: must be labels with a list of overrides each, got {shown(cases)}"]
    return [
        f"vary.{CASES}.{label}: must be a list of overrides, got {shown(overrides)}"
        for label, overrides in cases.items()
        if not isinstance(overrides, list | tuple) or not all(isinstance(text, str) for text in overrides)
    ]


def _parts(paths: Mapping[str, Any], cases: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Every combination: its label, and its overrides."""
    axes = [[(str(label), list(overrides)) for label, overrides in cases.items()]] if cases else []
    for path, values in paths.items():
        short = _short(path, list(paths))
        axes.append([(_label(short, value, len(paths)), [f"{path}={shown(value)}"]) for value in values])
    return {
        ", ".join(label for label, _ in chosen): [text for _, overrides in chosen for text in overrides]
        for chosen in product(*axes)
        if chosen
    }


def _short(path: str, paths: Sequence[str]) -> str:
    """The last name of a path, where no other path ends with it; nothing for a group, whose choices speak."""
    last = path.rpartition(".")[2]
    if "." not in path:
        return ""
    return last if sum(other.rpartition(".")[2] == last for other in paths) == 1 else path


def _label(short: str, value: object, n_paths: int) -> str:
    """A value with what it is of, where it does not speak for itself."""
    if isinstance(value, str) and (not short or n_paths == 1):
        return value
    text = value if isinstance(value, str) else shown(value)
    return f"{short}={text}" if short else text


def _composed(
    parts: Mapping[str, Sequence[str]], overrides: Sequence[str], config_dir: Path | None
) -> dict[str, Config]:
    """Each case's config, through the very `load_config` of the command line."""
    cases, mistakes = {}, dict[str, None]()
    for label, own in parts.items():
        try:
            cases[label] = in_one_process(_of_a_run(load_config([*overrides, *own], config_dir, ComparisonConfig)))
        except ConfigError as error:
            mistakes |= dict.fromkeys(f"vary: {line}" for line in error.lines)
    _refuse(list(mistakes))
    return cases


def _of_a_run(config: ComparisonConfig) -> Config:
    """The sections of a training run alone."""
    return Config(**{name: getattr(config, name) for name in Config.model_fields})
