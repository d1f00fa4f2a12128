"""What a leaderboard may be asked: what `pipeline leaderboard` has beside the sections of a training run."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pipeline.config import Config
from pipeline.sections import FolderName, Section, Whole

Metric = Literal[
    "accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "log_loss", "brier", "ece",
    "rmse", "mae", "r2", "median_absolute_error",
]  # fmt: skip


class Leaderboard(Section):
    """Who is ranked, on what, and by what."""

    name: FolderName | None = Field(description="name, under which the leaderboard goes on; null: the tables' names")
    models: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        description="choices of the group model; null: all but auto. The baselines are the config's, with lightgbm, "
        "xgboost and catboost where they are installed; baselines=[]: none"
    )
    tables: tuple[str, ...] = Field(
        description="the overrides that make each table, such as 'data=iris'; []: the config's own data"
    )
    metric: Metric | None = Field(description="test metric that is ranked by; null: log_loss or rmse")
    workers: Annotated[Whole, Field(ge=1, le=1024)] | Literal["auto"] = Field(
        description="processes that train, where more than one slow each other; auto: one a core for small networks"
    )


class LeaderboardConfig(Config):
    """A training run's config, who is ranked, and over how many seeds."""

    root: ClassVar[str] = "leaderboard"
    leaderboard: Leaderboard
    seeds: Annotated[Whole, Field(ge=1)] = Field(
        description="fits of each entrant: seed, seed+1, …, each on a split of its own, data.split_seed moving along"
    )
