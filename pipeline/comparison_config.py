"""What a comparison may be asked: what `pipeline compare` has beside the sections of a training run."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from pipeline.config import Config
from pipeline.sections import FolderName, Number, Section, Whole
from pipeline.trainer_config import Monitor

Curve = Literal[Monitor, "train/loss", "train/lr"]


class Comparison(Section):
    """What of the runs is compared and drawn."""

    name: FolderName | None = Field(description="name, under which the comparison goes on; null: DATA-SETTINGS")
    metric: Monitor | None = Field(
        description="validation metric that settings are ranked and tested by; null: val/loss, or where losses are "
        "varied val/log_loss or val/rmse, which all of them share"
    )
    epoch: Literal["best", "last"] = Field(
        description="epoch of a run at which comparison.metric is taken: the best, whose weights are kept, or the last"
    )
    curves: tuple[Curve, ...] = Field(max_length=4, description="what is drawn by epoch; []: comparison.metric")
    quality: Number | None = Field(
        description="value of comparison.metric that the time is taken to; null: what half of the settings reach"
    )
    workers: Annotated[Whole, Field(ge=1, le=1024)] | Literal["auto"] = Field(
        description="processes that train; auto: one a core for small networks"
    )


class ComparisonConfig(Config):
    """A training run's config, which of its settings are varied, and over how many seeds."""

    root: ClassVar[str] = "compare"
    comparison: Comparison
    vary: dict[str, Any] = Field(
        description="dotted config path, or group: list of values; every combination is run. cases: a label each with "
        "the overrides that belong together"
    )
    seeds: Annotated[Whole, Field(ge=1)] = Field(description="runs of each setting: seed, seed+1, …, on the same split")
