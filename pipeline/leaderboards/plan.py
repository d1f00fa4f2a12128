"""What a leaderboard is to run: each entrant on each table, as configs of the command line."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline.auto import AUTO
from pipeline.baselines import BOOSTING, check_installed
from pipeline.comparisons.plan import seeds_of
from pipeline.compose import list_groups, load_config
from pipeline.config import Config
from pipeline.data.sources import name_of
from pipeline.errors import ConfigError
from pipeline.leaderboard_config import LeaderboardConfig
from pipeline.metrics import LOSS_METRIC, metrics_of
from pipeline.mistakes import key_of
from pipeline.studies.plan import group_of, in_one_process
from pipeline.types import Task

NOT_SHARED = {"tracking", "baselines", "predict", "serve", "seed", "leaderboard", "seeds"}  # may change as it goes on
Key = tuple[str, int]  # an entrant on a table, and a seed


@dataclass(frozen=True)
class Entry:
    """An entrant on a table: a network where `baseline` is empty."""

    table: str
    entrant: str
    config: Config
    baseline: str = ""

    @property
    def label(self) -> str:
        return f"{self.entrant} on {self.table}"


@dataclass(frozen=True)
class Plan:
    """A leaderboard: what is asked of it, and its entries."""

    config: LeaderboardConfig
    name: str
    entries: Sequence[Entry]

    @property
    def seeds(self) -> list[int]:
        return seeds_of(self.config.seed, self.config.seeds)

    @property
    def tables(self) -> dict[str, Config]:
        """A config that has the table, by the table's name."""
        return {entry.table: entry.config for entry in self.entries}

    def runs(self) -> dict[Key, Config]:
        """The config of every fit, all of one seed before the next; each seed has a split of its own."""
        return {(entry.label, seed): _seeded(entry.config, seed) for seed in self.seeds for entry in self.entries}

    def identity(self, digests: Mapping[str, str]) -> dict[str, Any]:
        """What all fits of one name share, for a file."""
        values = self.config.model_dump(mode="json", exclude=NOT_SHARED) | {"digests of the data": dict(digests)}
        return json.loads(json.dumps(values))  # type: ignore[no-any-return]

    def metric(self, task: Task) -> str:
        """The test metric of a task that is ranked by."""
        return self.config.leaderboard.metric or LOSS_METRIC[task]

    def check(self, tasks: Mapping[str, Task]) -> None:
        """Raise ConfigError where the metric asked for is none of a table's."""
        mistakes = [
            f"leaderboard.metric: {self.metric(task)} does not fit {table} ({task}); "
            f"choices: {', '.join(metrics_of(task))}"
            for table, task in tasks.items()
            if self.metric(task) not in metrics_of(task)
        ]
        if mistakes:
            raise ConfigError(*mistakes)


def make_plan(overrides: Sequence[str], config_dir: Path | None = None) -> Plan:
    """The plan that overrides ask for, the config of each entry composed and checked.

    Raises:
        ConfigError: with a line for every mistake.
    """
    config = in_one_process(load_config(overrides, config_dir, LeaderboardConfig))
    check_installed(config.baselines)
    seeds_of(config.data.split_seed + config.seed, config.seeds)  # of the splits, which are not less
    asked = config.leaderboard
    if "model" in map(key_of, overrides):
        raise ConfigError("model: who is ranked is said by leaderboard.models; write leaderboard.models=[mlp]")
    networks = dict.fromkeys(asked.models or [name for name in list_groups(config_dir)["model"] if name != AUTO])
    baselines = baselines_of(config)
    entries, mistakes = list[Entry](), dict[str, None]()
    for text in asked.tables or [""]:
        words, found = _words(text), dict[str, Config]()
        for model in networks:
            try:
                found[model] = _composed([*overrides, *words, f"model={model}"], config_dir)
            except ConfigError as error:
                mistakes |= dict.fromkeys(
                    f"leaderboard, {' '.join([text, model]).strip()}: {line}" for line in error.lines
                )
        entries += [Entry(name_of(config.data), model, config) for model, config in found.items()]
        if baselines and not mistakes:
            others = [text for text in (*overrides, *words) if group_of(text) != "model"]
            plain = _composed(others, config_dir)  # with the preprocessing of no network
            entries += [_of_baseline(plain, name) for name in baselines]
    mistakes |= dict.fromkeys(_twice(entries))
    if mistakes:
        raise ConfigError(*mistakes)
    return Plan(config, asked.name or "-".join(dict.fromkeys(entry.table for entry in entries)), entries)


def baselines_of(config: Config) -> list[str]:
    """The config's baselines, with those boosted trees that are installed; none where it has none."""
    installed = [name for name in BOOSTING if find_spec(name)]
    return list(dict.fromkeys([*config.baselines, *installed])) if config.baselines else []


def _words(text: str) -> list[str]:
    """The overrides of a table."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"leaderboard.tables: cannot be read, got {text}: {error}") from error


def _composed(overrides: Sequence[str], config_dir: Path | None) -> Config:
    """The sections of a training run alone, without baselines, which are entrants here."""
    config = in_one_process(load_config(overrides, config_dir, LeaderboardConfig))
    parts = {name: getattr(config, name) for name in Config.model_fields}
    return Config(**parts | {"baselines": ()})


def _of_baseline(config: Config, name: str) -> Entry:
    return Entry(name_of(config.data), name, config.model_copy(update={"baselines": (name,)}), name)


def _twice(entries: Sequence[Entry]) -> list[str]:
    labels = [entry.label for entry in entries]
    tables = dict.fromkeys(entry.table for entry in entries if labels.count(entry.label) > 1)
    return [f"leaderboard.tables: must have names that differ, got {table} twice; leave one out" for table in tables]


def _seeded(config: Config, seed: int) -> Config:
    data = config.data.model_copy(update={"split_seed": config.data.split_seed + seed})
    return config.model_copy(update={"seed": seed, "data": data})
