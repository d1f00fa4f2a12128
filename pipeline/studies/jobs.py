"""What passes between the process that leads a study and its workers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline.config import Config
from pipeline.types import Result, Task


@dataclass(frozen=True, eq=False)
class Probe:
    """Prepare the table and train the config for one epoch."""

    config: Config


@dataclass(frozen=True, eq=False)
class Trial:
    """Train and validate, reporting the metric at the best epoch so far, every so many epochs."""

    config: Config
    number: int
    metric: str
    sign: int  # −1 where the monitored metric is better when higher
    every: int  # epochs between two reports; 0: none


@dataclass(frozen=True, eq=False)
class Run:
    """A whole run, tested, and tracked under the run `parent`."""

    config: Config
    parent: str | None
    tags: dict[str, str] = field(default_factory=dict)
    baselines: bool = False  # whether the config's are fitted, too: once is enough


@dataclass(frozen=True, eq=False)
class Fit:
    """Fit a baseline on the config's table and score it as a run is scored."""

    config: Config
    name: str


Job = Probe | Trial | Run | Fit


class Report(NamedTuple):
    """A trial's value at an epoch. The worker waits for a word on it."""

    epoch: int
    value: float


class Probed(NamedTuple):
    """What a probe found of the table and of the network: torch threads, and seconds an epoch."""

    name: str
    digest: str
    task: Task
    notes: tuple[str, ...]
    threads: int
    epoch_seconds: float


class Fitted(NamedTuple):
    """A baseline's test metrics by name, and what it costs: seconds to fit and to answer one row, pickled bytes."""

    test: Mapping[str, float]
    seconds: float
    row_seconds: float
    n_bytes: int


class Ended(NamedTuple):
    """How a job ended: with a result, pruned or not, or with an error."""

    result: Result | Probed | Fitted | None
    pruned: bool = False
    error: str = ""
    diverged: bool = False  # the error is that the loss is no number any more: it would be so again


class Died(NamedTuple):
    """The process of a job is gone."""

    why: str


Event = Report | Ended | Died
