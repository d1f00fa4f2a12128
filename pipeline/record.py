"""What a run writes down: at its start what was asked and on which data, at its end what was reached."""

import getpass
import hashlib
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

from pipeline.compose import flatten, to_yaml
from pipeline.config import Config
from pipeline.data.datamodule import TableDataModule
from pipeline.evaluate import Evaluation, predictions_parquet
from pipeline.lr_range import RangeTest
from pipeline.metrics import metrics_of, shown
from pipeline.optim import rate_of
from pipeline.sending import Dataset
from pipeline.tested import TESTED
from pipeline.tracking import Tracker, config_file
from pipeline.types import Result, Table

PACKAGES = ("torch", "pytorch-lightning", "mlflow", "scikit-learn", "numpy", "pandas", "onnx", "onnxruntime")


def run_name(config: Config) -> str:
    """Model, optimizer, learning rate and a random end, such as mlp-adam-1e-3-k3f9."""
    lr = f"{rate_of(config.optimizer):.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{config.model.name}-{config.optimizer.name}-{lr}-{secrets.token_hex(2)}"


def experiment_note(table: Table) -> str:
    """Markdown for the experiment's page: the data, and how its runs compare."""
    return (
        f"**{table.name}**: {table.task}, {table.n_rows} rows, {table.frame.shape[1]} features, "
        f"target {', '.join(f'`{name}`' for name in table.targets)}.\n\n"
        f"Source: `{table.source}`. Compare runs by `test/…` (once a run, with 95 % intervals), "
        "`val/…` (once an epoch) and `val_best/…` (at the best epoch); the settings are the params."
    )


def record_start(
    tracker: Tracker, config: Config, data: TableDataModule, *, n_params: int, threads: int, ranged: RangeTest | None
) -> None:
    """Params, tags, data set and config of a run; the config also beside its checkpoint, to resume from."""
    if not tracker.run_id:
        return  # nobody keeps it: no need to ask git and the packages
    table, text = data.table, to_yaml(config)
    config_file(config.tracking.root, tracker.run_id).write_text(text)
    tracker.params(flatten(config.model_dump(mode="json")))
    asked = {"task": table.task, "data": table.name, "model": config.model.name, "optimizer": config.optimizer.name}
    tracker.tags(asked | {"status": "running", "digest": table.digest, "threads": str(threads)} | _provenance())
    columns = tuple((str(name), _mlflow_type(str(kind))) for name, kind in table.frame.dtypes.items())
    tracker.datasets(
        [
            Dataset(table.name, split_digest(table, rows), table.source, columns, len(rows), context)
            for rows, context in zip(data.splits, ("training", "validation", "test"), strict=True)
        ]
    )
    tracker.metrics({"n_params": n_params})
    tracker.file("config.yaml", text.encode())
    if ranged is not None:
        _record_range(tracker, ranged)


def _record_range(tracker: Tracker, found: RangeTest) -> None:
    """The curve of a learning-rate range test, and what follows from it."""
    from pipeline.canvas import to_png
    from pipeline.report import lr_range

    tracker.file("figures/lr_range.png", to_png(lr_range(found.rates, found.losses, found.rate)))
    tracker.tags({"lr": "auto", "lr.found": found.line})


def record_end(
    tracker: Tracker,
    config: Config,
    data: TableDataModule,
    history: Sequence[Mapping[str, float]],
    evaluation: Evaluation,
    result: Result,
) -> None:
    """Figures, predictions, test metrics with their intervals, and a description of what was reached."""
    if not tracker.run_id:
        return  # figures nobody keeps are not drawn
    from pipeline import report
    from pipeline.canvas import to_png

    table, targets = data.table, tuple(str(name) for name in data.table.targets)
    figures = report.run_figures(
        table.task,
        evaluation.y,
        evaluation.prediction,
        classes=table.classes,
        targets=targets,
        history=history,
        best_epoch=result.best_epoch,
    )
    figures["importance"] = report.importance(*evaluation.importance, loss_label=f"{config.loss.name} loss")
    for name, figure in figures.items():
        tracker.file(f"figures/{name}.png", to_png(figure))
    parquet = predictions_parquet(evaluation, data.splits.test, classes=table.classes, targets=targets)
    tracker.file(TESTED, parquet)
    for end, field in (("", "value"), ("_low", "low"), ("_high", "high")):
        tracker.metrics({f"test/{name}{end}": getattr(interval, field) for name, interval in result.test.items()})
    tracker.metrics({f"test/{name}": value for name, value in result.trust.items()})
    tracker.metrics({f"member_mean/test/{name}": value for name, value in result.alone.items()})
    for name, scores in result.baselines.items():
        tracker.metrics({f"baseline/{name}/{metric}": value for metric, value in scores.items()})
    if result.verdict:
        tracker.tags({"verdict": result.verdict})
    at_best = {f"val_best/{name.removeprefix('val/')}": value for name, value in result.val.items()}
    tracker.metrics(at_best | {"best_epoch": result.best_epoch})
    tracker.tags({"status": result.status.lower(), "mlflow.note.content": _run_note(config, table, result)})


def trust_line(coverage: float, trust: Mapping[str, float]) -> str:
    """What sets or intervals made for a coverage reached on the test rows."""
    if "mean_set_size" in trust:
        what, size = "sets", f"{shown(trust['mean_set_size'])} classes on average"
    else:
        what, size = "intervals", f"{shown(trust['mean_interval_width'])} wide on average"
    return f"{what} made to hold {coverage:.0%} of the truth hold {trust['coverage']:.1%} in the test, {size}"


def _run_note(config: Config, table: Table, result: Result) -> str:
    """Markdown for the run's page: what was asked and what was reached."""
    labels = metrics_of(table.task)
    rows = [
        f"| {labels[name].label} | {shown(value)} | {shown(low)} to {shown(high)} |"
        for name, (value, low, high) in result.test.items()
    ]
    asked = f"{config.model.name} {config.model.shape}, {config.optimizer.name} at {rate_of(config.optimizer):g}"
    head = f"{asked}, seed {config.seed}: best epoch {result.best_epoch} of {result.n_epochs}."
    trusted = trust_line(config.predict.coverage, result.trust)
    told = [result.verdict, "", trusted] if result.verdict else [trusted]
    return "\n".join([head, "", "| test | value | 95 % interval |", "|---|---|---|", *rows, "", *told])


def split_digest(table: Table, rows: np.ndarray) -> str:
    """A digest of which rows of which table, 32 hex digits: runs with the same one can be compared."""
    return hashlib.blake2b(table.digest.encode() + rows.tobytes(), digest_size=16).hexdigest()


def _mlflow_type(kind: str) -> str:
    for part, name in (("bool", "boolean"), ("int", "long"), ("float", "double"), ("datetime", "datetime")):
        if part in kind.lower():
            return name
    return "string"


def _provenance() -> dict[str, str]:
    """Where the run comes from: user, command, git commit and state, package versions."""
    tags = {f"version.{package}": number for package, number in versions().items()} | {
        "mlflow.source.type": "LOCAL",
        "mlflow.user": getpass.getuser(),
    }
    tags["mlflow.source.name"] = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return tags | _git()


@cache
def versions() -> dict[str, str]:
    """Versions of the packages that a run's numbers come from."""
    return {package: version(package) for package in PACKAGES}


def _git() -> dict[str, str]:
    """The commit that is checked out and whether tracked files differ from it; nothing outside a repository."""
    command = ["git", "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    lines = done.stdout.splitlines()
    commits = [line.removeprefix("# branch.oid ") for line in lines if line.startswith("# branch.oid ")]
    if done.returncode != 0 or commits in ([], ["(initial)"]):
        return {}
    changed = any(not line.startswith("#") for line in lines)
    return {"mlflow.source.git.commit": commits[0], "mlflow.source.git.dirty": str(changed).lower()}
