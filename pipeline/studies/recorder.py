"""What a study writes to MLflow: one run for the study, one nested under it for each trial."""

from collections.abc import Iterator
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from pipeline.compose import flatten, to_yaml
from pipeline.config import Config
from pipeline.sending import Point, Status, WholeRun
from pipeline.studies.plan import MAY_CHANGE, Plan
from pipeline.tracking import Tracker
from pipeline.types import Result

STATUS: dict[str, Status] = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}
STATES = {"FAIL": "FAILED"}  # as users call it
CURVES = ("train/loss", "train/lr")  # of an epoch, beside what was validated


@dataclass(frozen=True)
class Recorder:
    """Tells a tracker of the study, and of each trial when it is over."""

    tracker: Tracker
    plan: Plan

    def start(self, digest: str) -> None:
        """What is asked of the study."""
        config = self.plan.config
        asked = config.study.model_dump(mode="json", exclude=MAY_CHANGE) | {"name": self.plan.name}
        self.tracker.params(flatten({"study": asked, "search": config.search.model_dump(mode="json")}))
        self.tracker.tags(
            {"kind": "study", "data": config.data.name, "digest": digest, "study": self.plan.name, "status": "running"}
        )
        self.tracker.file("study.yaml", to_yaml(config).encode())

    def ended(self, trial: FrozenTrial, result: Result | None, config: Config | None) -> None:
        """A trial is over: a run of its own, with config, curves, what was reported, and its state."""
        assert trial.datetime_start is not None
        assert trial.datetime_complete is not None
        start, end = (int(1000 * moment.timestamp()) for moment in (trial.datetime_start, trial.datetime_complete))
        points = [Point("value", value, end, 0) for value in (trial.values or ())[:1]]
        points += [Point("reported", value, end, epoch) for epoch, value in trial.intermediate_values.items()]
        run = WholeRun(
            name=f"trial {trial.number}",
            tags=self._tags(trial),
            params=flatten(config.model_dump(mode="json")) if config else dict(trial.params),
            metrics=[*points, *(_curves(result, start) if result else ())],
            start=start,
            end=end,
            status=STATUS[trial.state.name],
        )
        self.tracker.run(run)

    def _tags(self, trial: FrozenTrial) -> dict[str, str]:
        tags = {"kind": "trial", "study": self.plan.name, "trial": str(trial.number)}
        tags["state"] = STATES.get(trial.state.name, trial.state.name)
        return tags | ({"error": trial.user_attrs["error"]} if "error" in trial.user_attrs else {})


def _curves(result: Result, start: int) -> Iterator[Point]:
    """Every epoch's metrics, at the time the epoch ended."""
    moment = float(start)
    for row in result.history:
        moment += 1000 * row["time/epoch"]
        for name, value in row.items():
            if name in CURVES or name.startswith("val/"):
                yield Point(name, value, int(moment), int(row["epoch"]))
    yield Point("n_params", result.n_params, int(moment), 0)
    yield Point("best_epoch", result.best_epoch, int(moment), 0)
