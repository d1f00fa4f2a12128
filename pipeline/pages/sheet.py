"""The page of a run, study or comparison: its head, and its sections in the order they are read."""

from datetime import UTC, datetime

from pipeline.pages.background import background_parts
from pipeline.pages.document import Html, document, joined, tag
from pipeline.pages.nested import nested_parts
from pipeline.pages.outcome import figure_parts, outcome_parts
from pipeline.pages.past import PastRun

TASKS = {"binary": "classification in 2 classes", "multiclass": "classification", "regression": "regression"}


def sheet(run: PastRun) -> bytes:
    """The page as an HTML file; a section that the run has nothing for is left out."""
    parts = [*outcome_parts(run), *nested_parts(run), *figure_parts(run), *background_parts(run)]
    return document(
        f"{_title(run)}: {run.name}", _head(run), parts, f"pipeline report {run.run_id}, {_moment(run.start)}"
    )


def _title(run: PastRun) -> str:
    """Of a training its data set; of others the name, after the kind where it does not say that itself."""
    if run.kind == "run":
        return run.tags.get("data", run.name)
    return run.name.capitalize() if run.name.startswith(run.kind) else f"{run.kind.capitalize()} {run.name}"


def _head(run: PastRun) -> Html:
    status = run.tags.get("state", run.status).lower()  # of a trial Optuna's word
    of_study = f"of study {run.tags['study']}" if "study" in run.tags and run.kind != "study" else ""
    name = run.name if run.kind == "run" else run.tags.get("data", "")
    took = f"took {duration(run.seconds)}" if run.seconds is not None else "not ended"
    about = filter(None, [TASKS.get(run.tags.get("task", ""), ""), name, of_study])
    when = filter(None, [_moment(run.start), took, run.registered])
    badge = tag("span", status, class_=f"badge {run.status.lower()}")
    return joined([tag("h1", _title(run)), tag("p", badge, " · ".join(about)), tag("p", " · ".join(when))])


def _moment(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%-d %B %Y, %H:%M} UTC"


def duration(seconds: float) -> str:
    """A length of time for people: 0.6 s, 2 min 5 s, 1 h 12 min."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, seconds = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s" if seconds else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
