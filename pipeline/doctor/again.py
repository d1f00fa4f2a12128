"""The findings of a run told again, and a run with what they advise beside it."""

from collections.abc import Sequence

from rich.table import Table

from pipeline.compose import load_config, overrides_of_values
from pipeline.config import Config
from pipeline.doctor.finding import FINDINGS, Finding, from_json
from pipeline.errors import TrackingError
from pipeline.metrics import CLASSIFICATION, REGRESSION, shown
from pipeline.pages.archive import read_files
from pipeline.pages.past import CONFIG, PastRun
from pipeline.types import Result


def look_up(root: str, run: str) -> tuple[PastRun, list[Finding]]:
    """A run by its id, its first digits or its name, and what the doctor found; raises TrackingError."""
    past = read_files(root, run, (CONFIG, FINDINGS))
    if FINDINGS not in past.files:
        raise TrackingError(f"run '{past.run_id}': was trained without the doctor; train it anew with doctor=on")
    return past, from_json(past.files[FINDINGS])


def advised(findings: Sequence[Finding]) -> list[str]:
    """All advice, causes first; of a setting that is advised twice the first."""
    chosen: dict[str, str] = {}
    for finding in findings:
        for override in finding.advice:
            chosen.setdefault(override.partition("=")[0], override)
    return list(chosen.values())


def fixed_config(past: PastRun, changes: Sequence[str]) -> Config:
    """The run's config with overrides, such as those advised."""
    before = overrides_of_values(past.yaml(CONFIG), changes)
    kept = [text for text in before if text.partition("=")[0] not in ("tracking.root", "tracking.run_name")]
    return load_config([*kept, *changes])


def side_by_side(past: PastRun, result: Result) -> Table:
    """Test metrics of the run and of the one with the advice; "–" for a run that was not tested."""
    labels = CLASSIFICATION | REGRESSION
    table = Table(title="test", title_justify="left")
    for heading in ("metric", past.name, result.run_name):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for name, interval in result.test.items():
        before = past.metrics.get(f"test/{name}")
        table.add_row(labels[name].label, "–" if before is None else shown(before), shown(interval.value))
    return table
