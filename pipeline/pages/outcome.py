"""What a run reached, as parts of its page: test metrics, findings, curves, calibration, figures."""

import io
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pipeline.doctor.finding import DOCTOR, FINDINGS, Finding, from_json
from pipeline.metrics import Metric, compute_metrics, metrics_of, shown
from pipeline.pages.chart import line_chart
from pipeline.pages.document import Html, Part, callout, card, cell, filled, joined, note, picture, table, tag
from pipeline.pages.past import CONFIG, HEADLINES, MEMBER, PastRun
from pipeline.tested import TESTED, read_tested
from pipeline.types import Task

MOST_CARDS = 5
CONSTANT = {
    "regression": "the mean of the test rows",
    "binary": "the share of each class in the test rows",
    "multiclass": "the share of each class in the test rows",
}
CAPTIONS = {
    "confusion_matrix": "Which class was predicted for rows of which class",
    "roc": "True and false positives by threshold",
    "precision_recall": "Precision and recall by threshold",
    "calibration": "How often predictions of a probability are right",
    "importance": "How much worse the loss gets when a column is shuffled",
    "predicted_vs_actual": "Predicted against actual values",
    "residuals": "Errors by predicted value",
    "error_quantiles": "The error that a share of the rows stays below",
    "learning_curves": "Loss by epoch",
    "learning_rate": "Learning rate by epoch",
    "history": "Value of each trial, and the best so far",
    "importances": "Which settings matter",
    "parallel_coordinate": "Settings of every trial, by value",
    "slice": "Value by each setting",
    "contour": "Value by pairs of settings",
    "edf": "Share of trials at or below a value",
    "intermediate_values": "What trials reported while they trained",
    "timeline": "When trials ran",
    "pareto_front": "The trade-off between objectives",
    "health": "Gradients, steps and activations of each layer, by epoch",
    "curves": "Curves by epoch, mean and spread over seeds",
}
# metrics that curves and tables of their own, not cards, are for
SERIES = ("time/", "train/", "val/", "val_best/", "doctor/", "baseline/", "member_mean/")
LOSSES = {"train/loss": "training", "val/loss": "validation"}
DRAWN = {"learning_curves", "learning_rate"}  # as charts of the page's own, where the run has the numbers
WIDE = {"parallel_coordinate", "contour", "slice"}


def outcome_parts(run: PastRun) -> list[Part]:
    """The sections that the run has something for."""
    sections = {
        "Result": _result(run),
        "Baselines": _baselines(run),
        "Findings": _findings(run),
    }
    return filled(sections)


def figure_parts(run: PastRun) -> list[Part]:
    """The sections of curves and figures that the run has something for."""
    sections = {
        "Curves": _curves(run),
        "Calibration and coverage": _calibration(run),
        "Figures": _figures(run),
    }
    return filled(sections)


# ---------------------------------------------------------------- result
def _result(run: PastRun) -> Html:
    metrics = {name: metric for name, metric in _metrics(run).items() if f"test/{name}" in run.metrics}
    constant = _constant(run) if metrics else {}
    parts = [*_warnings(run), _cards(run, metrics, constant)]
    parts.append(note(run.tags.get("mlflow.note.content", ""), tables=not metrics))
    if metrics:
        parts.append(_tested(run, metrics, constant))
    return joined(parts)


def _warnings(run: PastRun) -> Iterator[Html]:
    if error := run.tags.get("error"):
        yield callout(f"The run failed: {error}", "failed")
    if run.status == "KILLED" and run.kind != "trial":
        yield callout("The run was stopped before its end; the numbers are those of the best epoch until then.")
    if run.tags.get("parity") == "failed":
        yield callout(f"The exported model must not be used: {run.tags.get('parity.fault', '')}", "failed")


def _metrics(run: PastRun) -> Mapping[str, Metric]:
    return metrics_of(_task(run)) if _task(run) in HEADLINES else {}


def _task(run: PastRun) -> Any:
    return run.tags.get("task", "")


def _constant(run: PastRun) -> dict[str, float]:
    """Test metrics of always answering what CONSTANT says; empty without the rows.

    The calibration error is left out: the constant's is 0 by its making, on the very rows it is learned from.
    """
    if TESTED not in run.files:
        return {}
    task: Task = _task(run)
    y, prediction = read_tested(io.BytesIO(run.files[TESTED]), task)
    best = y.mean(axis=0) if task == "regression" else np.bincount(y, minlength=prediction.shape[1]) / len(y)
    values = compute_metrics(task, y, np.broadcast_to(best, prediction.shape).copy())
    return {name: value for name, value in values.items() if not metrics_of(task)[name].biased}


def _cards(run: PastRun, metrics: Mapping[str, Metric], constant: Mapping[str, float]) -> Html:
    if not metrics:
        return _parent_cards(run)
    cards = [
        card(
            metrics[name].label,
            _told(run.metrics[f"test/{name}"]),
            _interval(run, name),
            f"a constant answer: {_told(constant[name])}" if name in constant else "",
        )
        for name in HEADLINES[_task(run)]
        if name in metrics
    ]
    return tag("div", *cards, *_coverage(run), class_="cards")


def _coverage(run: PastRun) -> Iterator[Html]:
    if "test/coverage" not in run.metrics:
        return
    asked = (run.yaml(CONFIG) or {}).get("predict", {}).get("coverage")
    if "test/mean_set_size" in run.metrics:
        size = f"sets of {shown(run.metrics['test/mean_set_size'])} classes on average"
    else:
        size = f"intervals {shown(run.metrics['test/mean_interval_width'])} wide on average"
    yield card("Coverage", f"{run.metrics['test/coverage']:.1%}", size, f"asked for: {asked:.0%}" if asked else "")


def _parent_cards(run: PastRun) -> Html:
    """Of a run without test metrics the numbers that it has once, the best first; many are a table, too."""
    single = [name for name in run.metrics if not name.startswith(SERIES)]
    told = sorted(single, key=lambda name: not name.startswith("best/"))
    cards = [card(_worded(name), cell(run.metrics[name])) for name in told[:MOST_CARDS]]
    rows = [[name, cell(run.metrics[name])] for name in told]
    rest = [table(["Metric", "Value"], rows, label="metrics", numbers=1)] if len(rows) > 2 * MOST_CARDS else []
    return joined([tag("div", *cards, class_="cards"), *rest]) if cards else Html("")


def _worded(name: str) -> str:
    """A metric's name as words: best/value is Best value, n_params Number of params."""
    return re.sub("[/_]", " ", re.sub(r"\bn_", "number of ", name)).capitalize()


def _told(value: float) -> str:
    """A test metric; one that is not defined on the rows, such as the ROC AUC of a single class, is –."""
    return "–" if math.isnan(value) else shown(value)


def _interval(run: PastRun, name: str) -> str:
    ends = [run.metrics.get(f"test/{name}_{end}", math.nan) for end in ("low", "high")]
    return "" if any(map(math.isnan, ends)) else f"{shown(ends[0])} to {shown(ends[1])}"


def _tested(run: PastRun, metrics: Mapping[str, Metric], constant: Mapping[str, float]) -> Html:
    headings = ["Test metric", "Better", "Value", "95 % interval", *(["Constant answer"] if constant else [])]
    rows = [
        [
            metric.label,
            "higher" if metric.higher_is_better else "lower",
            tag("strong", _told(run.metrics[f"test/{name}"])),
            _interval(run, name) or "–",
            *([_told(constant[name]) if name in constant else "–"] if constant else []),
        ]
        for name, metric in metrics.items()
    ]
    rows_tested = run.splits.get("test")
    told = f"On {rows_tested:,} rows that the network has not seen; intervals" if rows_tested else "Intervals"
    told += " by bootstrap over the rows."
    if constant:
        told += f" The constant answer is always {CONSTANT[_task(run)]}: what is reached without a look at the columns."
    return joined(
        [table(headings, rows, label="test metrics", numbers=len(headings) - 2), tag("p", told, class_="mute")]
    )


# ---------------------------------------------------------------- baselines
def _baselines(run: PastRun) -> Html:
    """The network beside those that it averages and the models that it has to beat, by the metrics that matter most."""
    found = dict.fromkeys(name.split("/")[1] for name in run.metrics if name.startswith("baseline/"))
    metrics = {name: metric for name, metric in _metrics(run).items() if name in HEADLINES[_task(run)]}
    if not found or not metrics:
        return Html("")
    member = {MEMBER: "member_mean/test"} if any(name.startswith("member_mean/") for name in run.metrics) else {}
    models = {"network": "test", **member, **{name: f"baseline/{name}/test" for name in found}}
    rows = [
        [name, *(_told(run.metrics.get(f"{place}/{metric}", math.nan)) for metric in metrics)]
        for name, place in models.items()
    ]
    headings = ["Model", *(metric.label for metric in metrics.values())]
    verdict = run.tags.get("verdict", "")
    shown_table = table(headings, rows, label="baselines", numbers=len(metrics))
    return joined([shown_table, *([tag("p", f"{verdict[:1].upper()}{verdict[1:]}.")] if verdict else [])])


# ---------------------------------------------------------------- findings
def _findings(run: PastRun) -> Html:
    """What the doctor found; nothing where it was not asked."""
    if FINDINGS not in run.files:
        return Html("")
    pictures = [_shown_picture(run, stem, png) for stem, png in run.pictures(DOCTOR).items()]
    told = [*map(_finding, from_json(run.files[FINDINGS]))] or [callout("No findings: training looks healthy.", "good")]
    return joined([*told, *([tag("div", *pictures, class_="figures")] if pictures else [])])


def _finding(finding: Finding) -> Html:
    name = finding.name.replace("_", " ").capitalize()
    told = f"measured: {finding.measured}; threshold: {finding.threshold}; {finding.source}"
    steps = [joined([tag("code", step), " "]) for step in finding.advice]
    parts = [tag("h3", name), tag("p", finding.what), tag("p", told, class_="mute")]
    return tag("div", *parts, *([tag("p", "Try: ", *steps)] if steps else []), class_="finding")


# ---------------------------------------------------------------- curves and figures
def _curves(run: PastRun) -> Html:
    loss = {label: run.history[name] for name, label in LOSSES.items() if run.history.get(name)}
    charts = [line_chart("Loss", loss, y_label="loss", best=run.metrics.get("best_epoch"))]
    if rate := run.history.get("train/lr"):
        charts.append(line_chart("Learning rate", {"learning rate": rate}, y_label="learning rate"))
    drawn = [chart for chart in charts if chart]
    return tag("div", *drawn, class_="figures") if drawn else Html("")


def _calibration(run: PastRun) -> Html:
    """What calibration did to a classification; its figure stands here, not among the others."""
    rows = [
        [label, shown(run.metrics[f"test/{name}"]), shown(run.metrics[f"test/{name}_calibrated"])]
        for name, label in (("log_loss", "Log loss"), ("ece", "Calibration error"))
        if f"test/{name}_calibrated" in run.metrics
    ]
    if not rows:
        return Html("")
    told = (
        "The model answers with temperature-scaled probabilities, learned on the validation rows. "
        "What that does to the test rows; lower is better:"
    )
    text = tag("div", tag("p", told), table(["", "Network", "Calibrated"], rows, label="calibration", numbers=2))
    png = run.pictures("figures").get("calibration")
    return tag("div", text, *([_shown_picture(run, "calibration", png)] if png else []), class_="figures")


def _figures(run: PastRun) -> Html:
    apart = {"calibration"} if "test/log_loss_calibrated" in run.metrics else set()
    apart |= DRAWN if any(name in run.history for name in LOSSES) else set()
    found = {stem: png for stem, png in run.pictures("figures").items() if stem not in apart}
    drawn = [_shown_picture(run, stem, png) for stem, png in sorted(found.items(), key=_place)]
    left = [tag("code", path) for path in run.left_out]
    told = (
        [tag("p", "Too large for this page, among the run's artifacts: ", joined(left), class_="mute")] if left else []
    )
    return joined([tag("div", *drawn, class_="figures"), *told]) if drawn or told else Html("")


def _place(figure: tuple[str, bytes]) -> tuple[int, str]:
    """Known figures in the order of CAPTIONS, others after them."""
    known = [*CAPTIONS]
    return (known.index(figure[0]) if figure[0] in known else len(known)), figure[0]


def _shown_picture(run: PastRun, stem: str, png: bytes) -> Html:
    caption = CAPTIONS.get(stem, stem.replace("_", " ").capitalize())
    shape = "wide" if stem in WIDE else None
    return tag("div", picture(png, caption, f"{caption} ({run.name})"), class_=shape)
