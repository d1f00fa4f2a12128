"""What a terminal shows when a run is over: test metrics with intervals, the model, where to look."""

from collections.abc import Iterator
from itertools import chain

from rich.console import Console
from rich.table import Table

from pipeline.config import Config
from pipeline.metrics import CLASSIFICATION, REGRESSION, shown
from pipeline.pages.past import HEADLINES, MEMBER
from pipeline.record import trust_line
from pipeline.tracking import root_override
from pipeline.types import Result


def show_result(config: Config, result: Result, program: str) -> None:
    """Print the closing table and the lines under it; `program` is how the command is typed."""
    out = Console(highlight=False)
    out.print(_table(result))
    if result.baselines or result.alone:
        out.print(_beside(result))
    for line in _lines(config, result, program):
        out.print(line, soft_wrap=True, markup=False)


def _table(result: Result) -> Table:
    labels = CLASSIFICATION | REGRESSION
    table = Table(title=f"{result.run_name}: test", title_justify="left")
    for heading in ("metric", "value", "95 % interval"):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for name, (value, low, high) in result.test.items():
        table.add_row(labels[name].label, shown(value), f"{shown(low)} to {shown(high)}")
    return table


def _beside(result: Result) -> Table:
    """The network, those that it averages, and its baselines, by the metrics that matter most."""
    labels = CLASSIFICATION | REGRESSION
    told = [name for name in result.test if name in {*chain(*HEADLINES.values())}]
    table = Table("model", title="test: beside the baselines", title_justify="left")
    for name in told:
        table.add_column(labels[name].label, justify="right")
    table.add_row("network", *(shown(result.test[name].value) for name in told))
    if result.alone:
        table.add_row(MEMBER, *(shown(result.alone[name]) for name in told))
    for model, scores in result.baselines.items():
        table.add_row(model, *(shown(scores[f"test/{name}"]) for name in told))
    return table


def _lines(config: Config, result: Result, program: str) -> Iterator[str]:
    root = root_override(config.tracking.root)
    if result.verdict:
        yield result.verdict
    yield trust_line(config.predict.coverage, result.trust)
    yield from (f"found: {finding}" for finding in result.findings)
    yield f"best epoch {result.best_epoch} of {result.n_epochs}, {result.n_params} parameters, {result.seconds:.1f} s"
    if result.registered:
        yield result.registered
    if result.status == "KILLED" and result.run_id:
        yield f"stopped early; go on with: {program} train --resume {result.run_id}{root}"
    if result.run_id:
        yield f"run {result.run_id}; look at it with: {program} ui{root}"
