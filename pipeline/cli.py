"""The command line. Heavy imports stand inside the commands, so that help and mistakes come at once."""

import gc
import logging
import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.config import Config
    from pipeline.types import Result

STARTED = time.perf_counter()

app = typer.Typer(
    help="A table goes in; a trained, evaluated and tracked neural network comes out.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="OVERRIDE", help="group=choice or section.field=value; see `pipeline options`"),
]
ConfigDir = Annotated[
    Path | None,
    typer.Option("--config-dir", metavar="DIR", help="a folder of further config groups: DIR/optimizer/mine.yaml"),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="start from a whole config, such as a study's best.yaml"),
]


@app.command()
def train(
    overrides: Overrides = None,
    resume: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="go on with a run that was cut off, from its last checkpoint"),
    ] = None,
    config_file: ConfigFile = None,
    config_dir: ConfigDir = None,
) -> None:
    """Train, evaluate and track one network."""
    overrides = _with_file(overrides, config_file)
    config = _load(overrides, config_dir) if resume is None else _resumed(resume, overrides, config_dir)
    with _quick_imports():
        from pipeline.progress import ProgressReport
        from pipeline.tracking import connect
        from pipeline.train import train as run

        if config.tracking.name == "mlflow":
            connect(config.tracking.root)  # imports what it needs, too

    console = _console()
    _listen(console)
    is_first = "LOCAL_RANK" not in os.environ  # of the processes that DDP starts with this same command
    bars = [ProgressReport(console, monitor=config.trainer.monitor)] if is_first else []
    result = run(config, bars, resume=resume, import_seconds=time.perf_counter() - STARTED)
    if is_first:
        _show(console, config, result)
        if result.status == "KILLED":
            raise typer.Exit(130)


@app.command()
def study(
    overrides: Overrides = None,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="open optuna-dashboard on the study's storage instead")
    ] = False,
    port: Annotated[int, typer.Option(min=1, max=65535, help="port of the dashboard on this machine")] = 8080,
    config_file: ConfigFile = None,
    config_dir: ConfigDir = None,
) -> None:
    """Search settings with Optuna: pruned, parallel, resumable; the winner is trained anew and tested."""
    from pipeline.studies.workers import Pool

    overrides = _with_file(overrides, config_file)
    if dashboard:
        _open_dashboard(overrides, config_dir, port)
        return
    with Pool() as pool:  # the workers import while the space is checked
        from pipeline.studies.plan import make_plan

        plan = make_plan(overrides, config_dir)
        with _quick_imports():
            from pipeline.studies.display import StudyTable
            from pipeline.studies.study import run_study
        console = _console()
        _listen(console)
        command = f"{_program()} study {shlex.join(sys.argv[2:])}"
        try:
            with StudyTable(console) as table:
                outcome = run_study(plan, pool, table)
        except KeyboardInterrupt:
            _say_lines(f"stopped; go on with: {command}")
            raise typer.Exit(130) from None
    _say_lines(*outcome.lines)


@app.command()
def config(overrides: Overrides = None, config_file: ConfigFile = None, config_dir: ConfigDir = None) -> None:
    """Print the config that the overrides compose, as YAML."""
    from pipeline.compose import to_yaml

    typer.echo(to_yaml(_load(_with_file(overrides, config_file), config_dir)), nl=False)


@app.command()
def options(
    group: Annotated[str | None, typer.Argument(help="a config group, such as optimizer")] = None,
    config_dir: ConfigDir = None,
) -> None:
    """List config groups and their choices; of one group, the fields with range, unit and default."""
    from pipeline.options import describe_group, describe_groups

    typer.echo(describe_groups(config_dir) if group is None else describe_group(group, config_dir))


@app.command()
def ui(
    overrides: Overrides = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="port on this machine")] = 5000,
) -> None:
    """Open the MLflow UI on the tracked runs."""
    from pipeline.ui import serve_ui

    serve_ui(_load(overrides).tracking.root, port, announce=typer.echo)


@app.command()
def sync(overrides: Overrides = None) -> None:
    """Write to the tracking store what could not be written while it was away."""
    from pipeline.tracking import sync as write

    done = write(_load(overrides).tracking.root)
    typer.echo(f"written: {', '.join(done)}" if done else "nothing waits to be written")


def main() -> None:
    """Run the command line; an error the user can act upon is shown as its lines alone."""
    from pipeline.errors import ConfigError, PipelineError

    try:
        sys.exit(app(sys.argv[1:] or ["--help"], standalone_mode=False))  # typer makes 130 of Ctrl-C
    except typer.TyperException as error:  # a wrong option or command
        message: str = error.format_message()
        _say_errors(f"{message}{'' if message[-1] in '.?' else '.'} Try `pipeline --help`")
        sys.exit(2)
    except PipelineError as error:
        _say_errors(*(error.lines if isinstance(error, ConfigError) else [str(error)]))
        sys.exit(error.exit_code)


def _say_errors(*lines: str) -> None:
    for line in lines:
        print("error:", " ".join(line.split()), file=sys.stderr)  # noqa: T201  # a column's name may hold line ends


@contextmanager
def _quick_imports() -> Iterator[None]:
    """Keep the garbage collector from searching, again and again, what stays anyway: a fifth of the imports' time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _load(overrides: list[str] | None, config_dir: Path | None = None) -> "Config":
    from pipeline.compose import load_config

    return load_config(overrides or [], config_dir)


def _resumed(run_id: str, overrides: list[str], config_dir: Path | None) -> "Config":
    """The config a run was started with; only where to look for it can be said."""
    import yaml

    from pipeline.compose import validate
    from pipeline.errors import ConfigError
    from pipeline.tracking import run_config

    others = [override for override in overrides if not override.startswith("tracking.root=")]
    others += ["--config-dir"] if config_dir else []
    if others:
        raise ConfigError(
            f"--resume: goes on with the run's own settings, got {others[0]}; leave it out, or start a new run"
        )
    root = _load(overrides).tracking.root
    values = yaml.safe_load(run_config(root, run_id))
    values["tracking"]["root"] = root
    return validate(values)


def _console() -> "Console":
    from rich.console import Console

    return Console(stderr=True, highlight=False, quiet="LOCAL_RANK" in os.environ)


def _listen(console: "Console") -> None:
    """Show what the package logs, a line each; keep the libraries' chatter away."""
    import warnings

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            prefix = "warning: " if record.levelno >= logging.WARNING else ""
            console.print(f"{prefix}{record.getMessage()}", soft_wrap=True, markup=False)

    own = logging.getLogger("pipeline")
    own.setLevel(logging.INFO)
    own.handlers, own.propagate = [Lines()], False
    warnings.filterwarnings("ignore")


def _program() -> str:
    """This command, as it can be typed again."""
    return "python -m pipeline" if sys.argv[0].endswith("__main__.py") else sys.argv[0]


def _say_lines(*lines: str) -> None:
    from rich.console import Console

    for line in lines:
        Console(highlight=False).print(line, soft_wrap=True, markup=False)


def _with_file(overrides: list[str] | None, file: Path | None) -> list[str]:
    """The overrides, after those that a config file stands for."""
    if file is None:
        return overrides or []
    from pipeline.compose import overrides_of_file

    return [*overrides_of_file(file, overrides or []), *(overrides or [])]


def _open_dashboard(overrides: list[str], config_dir: Path | None, port: int) -> None:
    from pipeline.studies.dashboard import serve_dashboard
    from pipeline.studies.plan import make_plan

    serve_dashboard(make_plan(overrides, config_dir), port, announce=typer.echo)


def _show(console: "Console", config: "Config", result: "Result") -> None:
    """The closing table: test metrics with intervals, time, where to look."""
    from rich.console import Console
    from rich.table import Table

    from pipeline.metrics import CLASSIFICATION, REGRESSION, shown
    from pipeline.record import trust_line
    from pipeline.tracking import root_override

    root = root_override(config.tracking.root)
    labels = CLASSIFICATION | REGRESSION
    table = Table(title=f"{result.run_name}: test", title_justify="left")
    for heading in ("metric", "value", "95 % interval"):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for name, (value, low, high) in result.test.items():
        table.add_row(labels[name].label, shown(value), f"{shown(low)} to {shown(high)}")
    out = Console(highlight=False)
    out.print(table)
    out.print(
        f"best epoch {result.best_epoch} of {result.n_epochs}, {result.n_params} parameters, {result.seconds:.1f} s"
    )
    out.print(trust_line(config.predict.coverage, result.trust), soft_wrap=True)
    program = _program()
    if result.status == "KILLED" and result.run_id:
        out.print(f"stopped early; go on with: {program} train --resume {result.run_id}{root}", soft_wrap=True)
    if result.run_id:
        out.print(f"run {result.run_id}; look at it with: {program} ui{root}", soft_wrap=True)
