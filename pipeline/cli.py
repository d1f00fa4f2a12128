"""The command line. Heavy imports stand inside the commands, so that help and mistakes come at once."""

import gc
import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.console import listen, out, program, say_errors, say_lines, terminal

if TYPE_CHECKING:
    from pipeline.config import Config

STARTED = time.perf_counter()
TRAIN = "train"  # the file of conf/ that a training run starts from: unlike others, with a network for the table

A_RUN = "a run's id, its first digits, or its name"

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
        typer.Option(metavar="RUN", help=f"go on with a run that was cut off, from its last checkpoint: {A_RUN}"),
    ] = None,
    config_file: ConfigFile = None,
    config_dir: ConfigDir = None,
) -> None:
    """Train, evaluate and track one network."""
    overrides = _with_file(overrides, config_file)
    if resume is None:
        config = _load(overrides, config_dir, TRAIN)
    else:
        resume, config = _resumed(resume, overrides, config_dir)
    with _quick_imports():
        from pipeline.progress import ProgressReport
        from pipeline.tracking import connect
        from pipeline.train import train as run

        if config.tracking.name == "mlflow":
            connect(config.tracking.root)  # imports what it needs, too

    screen = terminal()
    listen(screen)
    is_first = "LOCAL_RANK" not in os.environ  # of the processes that DDP starts with this same command
    bars = [ProgressReport(screen, monitor=config.trainer.monitor)] if is_first else []
    result = run(config, bars, resume=resume, import_seconds=time.perf_counter() - STARTED)
    if is_first:
        from pipeline.closing import show_result

        show_result(config, result, program())
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
    from pipeline.studies.plan import make_plan
    from pipeline.studies.workers import Pool

    plan = make_plan(_with_file(overrides, config_file), config_dir)
    if dashboard:
        from pipeline.studies.dashboard import serve_dashboard

        serve_dashboard(plan, port, announce=typer.echo)
        return
    with Pool() as pool:  # its workers import while this process does
        with _quick_imports():
            from pipeline.studies.display import StudyTable
            from pipeline.studies.study import run_study
        screen = terminal()
        listen(screen)
        command = f"{program()} study {shlex.join(sys.argv[2:])}"
        try:
            with StudyTable(screen) as table:
                outcome = run_study(plan, pool, table)
        except KeyboardInterrupt:
            say_lines(f"stopped; go on with: {command}")
            raise typer.Exit(130) from None
    say_lines(*outcome.lines)


@app.command()
def compare(overrides: Overrides = None, config_file: ConfigFile = None, config_dir: ConfigDir = None) -> None:
    """Vary settings over seeds: curves, times, and which differences are more than noise; resumable."""
    from pipeline.comparisons.plan import make_plan
    from pipeline.studies.workers import Pool

    plan = make_plan(_with_file(overrides, config_file), config_dir)
    with Pool() as pool:  # as in `study`
        with _quick_imports():
            from pipeline.comparisons.display import show_comparison
        listen(screen := terminal())
        try:
            show_comparison(plan, pool, screen, out(), program())
        except KeyboardInterrupt:
            say_lines(f"stopped; go on with: {program()} compare {shlex.join(sys.argv[2:])}")
            raise typer.Exit(130) from None


@app.command()
def leaderboard(overrides: Overrides = None, config_file: ConfigFile = None, config_dir: ConfigDir = None) -> None:
    """Rank all models and baselines on one table or several, over splits: quality, time, size, latency; resumable."""
    from pipeline.leaderboards.plan import make_plan
    from pipeline.studies.workers import Pool

    plan = make_plan(_with_file(overrides, config_file), config_dir)
    with Pool() as pool:  # as in `study`
        with _quick_imports():
            from pipeline.leaderboards.display import show_leaderboard
        listen(screen := terminal())
        try:
            show_leaderboard(plan, pool, screen, out(), program())
        except KeyboardInterrupt:
            say_lines(f"stopped; go on with: {program()} leaderboard {shlex.join(sys.argv[2:])}")
            raise typer.Exit(130) from None


@app.command()
def config(overrides: Overrides = None, config_file: ConfigFile = None, config_dir: ConfigDir = None) -> None:
    """Print the config that the overrides compose, as YAML."""
    from pipeline.compose import to_yaml

    typer.echo(to_yaml(_load(_with_file(overrides, config_file), config_dir, TRAIN)), nl=False)


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
def predict(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help=f"{A_RUN}; a registered model's name, models:/NAME@ALIAS, or a folder"),
    ],
    source: Annotated[str, typer.Argument(metavar="INPUT", help="CSV or Parquet; - for CSV on standard input")],
    output: Annotated[str, typer.Option("-o", "--output", help="CSV or Parquet; - for standard output")],
    keep: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="a column of INPUT to keep; repeatable")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Score the rows of a file; those that cannot be scored are listed in OUTPUT.errors.csv."""
    from pipeline.bundle import Bundle
    from pipeline.registry import bundle_folder
    from pipeline.scoring import counting, score

    bundle = Bundle.load(bundle_folder(_load(overrides).tracking.root, model))
    with counting(terminal()) as progress:
        done = score(bundle, source, output, keep=keep or [], progress=progress)
    if done.errors is not None:
        say_errors(f"{done.n_faulty} of {done.n_rows} rows could not be scored; see {done.errors}")
        raise typer.Exit(1)


@app.command()
def serve(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="as for predict; the champion by default")
    ] = None,
    overrides: Overrides = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="port to listen on")] = 8000,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    token_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="environment variable with the token that requests need")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="serve a new champion as soon as there is one")] = False,
) -> None:
    """Serve a model over HTTP, with a page for people."""
    model, overrides = _model_or_override(model, overrides or [])
    config = _load(overrides)
    with _quick_imports():
        from pipeline.serving.finding import marker, resolver
        from pipeline.serving.run import serve as run

    root = config.tracking.root
    seen = marker(root, model) if watch else None
    run(resolver(root, model), config.serve, host=host, port=port, token_env=token_env, watch=seen, announce=typer.echo)


@app.command()
def register(
    run: Annotated[str, typer.Argument(metavar="RUN", help=A_RUN)],
    overrides: Overrides = None,
) -> None:
    """Enter a run's model in the registry; it becomes champion where it is better on the same test rows."""
    from pipeline.registry import register as enter

    typer.echo(enter(_load(overrides).tracking.root, run).line)


@app.command()
def models(overrides: Overrides = None) -> None:
    """List the registered models: versions, champions and challengers, test metric, run."""
    from rich.table import Table

    from pipeline.registry import models as registered

    rows = registered(_load(overrides).tracking.root)
    if not rows:
        typer.echo("no model is registered yet; `pipeline train` does it at its end")
        return
    table = Table()
    for heading in rows[0]:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    out().print(table)


@app.command()
def report(
    run: Annotated[str, typer.Argument(metavar="RUN", help=A_RUN)],
    overrides: Overrides = None,
    show: Annotated[bool, typer.Option("--open", help="open the page in a browser")] = False,
) -> None:
    """Write what a run, study or comparison left as one HTML page, and keep it with the run."""
    import webbrowser

    from pipeline.pages.archive import publish

    file = publish(_load(overrides).tracking.root, run)
    typer.echo(f"the report is {file}")
    if show:
        webbrowser.open(file.resolve().as_uri())


@app.command()
def doctor(
    run: Annotated[str, typer.Argument(metavar="RUN", help=A_RUN)],
    overrides: Overrides = None,
    fix: Annotated[bool, typer.Option("--fix", help="train once more with what is advised, and show both")] = False,
) -> None:
    """Tell again what the doctor found in a run."""
    from pipeline.doctor.again import advised, fixed_config, look_up, side_by_side

    past, findings = look_up(_load(overrides).tracking.root, run)
    say_lines(*(f"found: {finding.line}" for finding in findings) if findings else ["nothing is wrong with this run"])
    advice = advised(findings)
    if not fix or not advice:
        return
    from pipeline.train import train

    listen(terminal())
    say_lines(f"training with {' '.join(advice)}")
    result = train(fixed_config(past, [*advice, *(overrides or [])]), tags={"fixes": past.run_id})
    out().print(side_by_side(past, result))
    say_lines(*(f"found: {finding}" for finding in result.findings))


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
        say_errors(f"{message}{'' if message[-1] in '.?' else '.'} Try `pipeline --help`")
        sys.exit(2)
    except PipelineError as error:
        say_errors(*(error.lines if isinstance(error, ConfigError) else [str(error)]))
        sys.exit(error.exit_code)


@contextmanager
def _quick_imports() -> Iterator[None]:
    """Keep the garbage collector from searching, again and again, what stays anyway: a fifth of the imports' time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _model_or_override(model: str | None, overrides: list[str]) -> tuple[str | None, list[str]]:
    """A first word with `=` in it is an override, as no model is called so."""
    return (None, [model, *overrides]) if model and "=" in model else (model, overrides)


def _load(overrides: list[str] | None, config_dir: Path | None = None, root: str | None = None) -> "Config":
    from pipeline.compose import load_config

    return load_config(overrides or [], config_dir, root=root)


def _resumed(run: str, overrides: list[str], config_dir: Path | None) -> tuple[str, "Config"]:
    """The id of a run and the config it was started with; only where to look for it can be said."""
    import yaml

    from pipeline.compose import validate
    from pipeline.errors import ConfigError
    from pipeline.tracking import run_to_resume

    others = [override for override in overrides if not override.startswith("tracking.root=")]
    others += ["--config-dir"] if config_dir else []
    if others:
        raise ConfigError(
            f"--resume: goes on with the run's own settings, got {others[0]}; leave it out, or start a new run"
        )
    root = _load(overrides).tracking.root
    run_id, text = run_to_resume(root, run)
    values = yaml.safe_load(text)
    values["tracking"]["root"] = root
    return run_id, validate(values)


def _with_file(overrides: list[str] | None, file: Path | None) -> list[str]:
    """The overrides, after those that a config file stands for."""
    if file is None:
        return overrides or []
    from pipeline.compose import overrides_of_file

    return [*overrides_of_file(file, overrides or []), *(overrides or [])]
