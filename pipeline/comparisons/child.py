"""One run of a comparison: what is kept of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

import numpy as np

from pipeline.metrics import higher_is_better, shown
from pipeline.types import Result


@dataclass(frozen=True)
class Child:
    """A run that is over: its epochs, its best one, and what the test gave; or that it diverged."""

    history: Sequence[Mapping[str, float]] = ()  # a row an epoch
    val: Mapping[str, float] = field(default_factory=dict)  # at the best epoch
    test: Mapping[str, float] = field(default_factory=dict)
    best_epoch: int = 0
    seconds: float = 0.0
    row_seconds: float = float("nan")  # to answer one row; of a leaderboard's alone, as is the size
    n_bytes: float = float("nan")
    error: str = ""  # why there is nothing of it

    @classmethod
    def of(cls, result: Result) -> Self:
        """What is kept of a run's result."""
        return cls(
            history=[dict(row) for row in result.history],
            val=dict(result.val),
            test={name: interval.value for name, interval in result.test.items()},
            best_epoch=result.best_epoch,
            seconds=result.seconds,
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """A child as `to_json` wrote it."""
        values: dict[str, Any] = json.loads(text)
        return cls(**values)

    def to_json(self) -> str:
        """As text."""
        return json.dumps(asdict(self))

    @property
    def fit_seconds(self) -> float:
        """Seconds that fitting took: of a network all its epochs, of a baseline, which has none, the whole."""
        return float(self.curve("time/epoch").sum()) if self.history else self.seconds

    @property
    def told(self) -> str:
        """How it went, in a few words."""
        if self.error or not self.history:
            return self.error or f"fitted in {self.seconds:.2g} s"
        return f"val/loss {shown(self.val['val/loss'])} in epoch {self.best_epoch}"

    def curve(self, name: str) -> np.ndarray:
        """A metric at the end of each epoch, (n_epochs,)."""
        return np.array([row.get(name, np.nan) for row in self.history], dtype=float)

    def value(self, name: str, epoch: Literal["best", "last"]) -> float:
        """A validation metric at the best or the last epoch."""
        return self.val[name] if epoch == "best" else float(self.curve(name)[-1])

    def reached(self, name: str, quality: float) -> tuple[int, float] | None:
        """Epochs and seconds until a metric was as good; None if never."""
        curve = self.curve(name)
        good = np.flatnonzero(curve >= quality if higher_is_better(name) else curve <= quality)
        if not len(good):
            return None
        return int(good[0]) + 1, float(self.curve("time/epoch")[: good[0] + 1].sum())
