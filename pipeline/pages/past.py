"""A run as its tracking store has it, in plain values."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import yaml

CONFIG, BEST = "config.yaml", "best.yaml"  # whole configs among the artifacts
MEMBER = "one of its networks, on average"  # of an ensemble
HEADLINES = {  # the test metrics that matter most, by task
    "binary": ("accuracy", "roc_auc", "log_loss"),
    "multiclass": ("accuracy", "roc_auc", "log_loss"),
    "regression": ("rmse", "mae", "r2"),
}


@dataclass(frozen=True)
class PastRun:
    """What a run left; moments in milliseconds since 1970."""

    run_id: str
    name: str
    status: str  # MLflow's, such as FINISHED
    start: int
    end: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)  # the last value of each
    history: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)  # (step, value) of some
    source: str = ""  # where the table was read from
    splits: Mapping[str, int] = field(default_factory=dict)  # rows by what they were for
    files: Mapping[str, bytes] = field(default_factory=dict)  # artifacts by path, those that a page shows
    left_out: Sequence[str] = ()  # paths of those too large for it
    defaults: Mapping[str, Mapping[str, object]] = field(default_factory=dict)  # of a config's file, by dotted path
    children: Sequence["PastRun"] = ()  # nested under it, without files
    registered: str = ""  # as what its model is in the registry

    @property
    def kind(self) -> str:
        """What the run is of: "run" is one training."""
        return self.tags.get("kind", "run")

    @property
    def seconds(self) -> float | None:
        """How long it took; None where it has not ended."""
        return None if self.end is None else (self.end - self.start) / 1000

    @cached_property
    def schema(self) -> Mapping[str, Any]:
        """What its bundle says of the data; empty where it has none."""
        found = [content for path, content in self.files.items() if path.endswith("bundle/bundle.json")]
        return json.loads(found[0])["schema"] if found else {}

    def yaml(self, path: str) -> Any:
        """The values in a YAML artifact; None where there is none."""
        return yaml.safe_load(self.files[path]) if path in self.files else None

    def pictures(self, folder: str) -> dict[str, bytes]:
        """PNG artifacts of a folder by stem."""
        inside = {path: content for path, content in self.files.items() if path.startswith(f"{folder}/")}
        return {path.rpartition("/")[2][:-4]: png for path, png in inside.items() if path.endswith(".png")}
