"""Optuna's figures of a study: one interactive page that needs no network, and a PNG of each."""

import html
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from typing import Any

import optuna

MOST_AXES = 3  # objectives that a Pareto front can be drawn of
MOST_IMPORTANT = 4  # parameters shown in figures of pairs and slices
MOST_PARALLEL = 8  # parameters shown side by side
MOST_NAMED = 12  # trials in a legend
BAR_INCHES, BAR_PIXELS = 0.25, 22  # height of a parameter's bar
TITLES = {
    "history": "Value of each trial, and the best so far",
    "importances": "Which parameters matter (fANOVA)",
    "parallel_coordinate": "Parameters of every trial, by value",
    "slice": "Value by each parameter",
    "contour": "Value by pairs of parameters",
    "edf": "Share of trials at or below a value",
    "intermediate_values": "What trials reported while they trained",
    "timeline": "When trials ran",
    "pareto_front": "The trade-off between objectives",
}


def study_figures(study: optuna.Study, objectives: Sequence[str]) -> tuple[bytes, dict[str, bytes]]:
    """The page, and PNG files by stem; a figure that the trials are too few for is left out."""
    from optuna import visualization as interactive
    from optuna.visualization import matplotlib as still

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arguments = _arguments(study, objectives)
        figures = {name: figure for name, figure in _drawn(interactive, study, arguments).items() if figure.data}
        pictures = _drawn(still, study, {name: arguments[name] for name in figures})
        return _page(study.study_name, figures), {name: _png(picture) for name, picture in pictures.items()}


def _arguments(study: optuna.Study, objectives: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The figures that fit the study, each with what Optuna's function for it is given."""
    single = len(objectives) == 1
    first = {"target_name": objectives[0]} | ({} if single else {"target": _first})
    ranked = _ranked(study, first)
    chosen = first | {"params": ranked[:MOST_IMPORTANT] or None}
    figures: dict[str, dict[str, Any]] = {"history": first, "importances": first, "slice": chosen, "contour": chosen}
    figures |= {"parallel_coordinate": first | {"params": ranked[:MOST_PARALLEL] or None}, "edf": first, "timeline": {}}
    if single:
        return figures | {"intermediate_values": {}}
    return figures | ({"pareto_front": {"target_names": list(objectives)}} if len(objectives) <= MOST_AXES else {})


def _drawn(library: Any, study: optuna.Study, arguments: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The figures by one of Optuna's two libraries, but for those that the trials are too few for."""
    functions: dict[str, Callable[..., Any]] = {
        "history": library.plot_optimization_history,
        "importances": library.plot_param_importances,
        "parallel_coordinate": library.plot_parallel_coordinate,
        "slice": library.plot_slice,
        "contour": library.plot_contour,
        "edf": library.plot_edf,
        "intermediate_values": library.plot_intermediate_values,
        "timeline": library.plot_timeline,
        "pareto_front": library.plot_pareto_front,
    }
    drawn = {}
    for name, given in arguments.items():
        with suppress(ValueError, RuntimeError, ZeroDivisionError, IndexError):
            drawn[name] = functions[name](study, **given)
    return drawn


def _first(trial: optuna.trial.FrozenTrial) -> float:
    return float(trial.values[0])


def _ranked(study: optuna.Study, first: Mapping[str, Any]) -> list[str]:
    """Parameters that most trials have, the most important first; none where that cannot be told yet."""
    try:
        found = optuna.importance.get_param_importances(study, target=first.get("target"))
    except (ValueError, RuntimeError, ZeroDivisionError):
        return []
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    return [name for name in found if 2 * sum(name in trial.params for trial in complete) >= len(complete)]


def _page(name: str, figures: Mapping[str, Any]) -> bytes:
    """One page of all figures, with plotly in it once."""
    parts = [
        f"<h2>{html.escape(TITLES[key])}</h2>{_interactive(key, figure, with_library=position == 0)}"
        for position, (key, figure) in enumerate(figures.items())
    ]
    title = f"<title>Study {html.escape(name)}</title>"
    style = "<style>body{font-family:sans-serif;margin:2em auto;max-width:70em}</style>"
    return (
        f"<!doctype html><meta charset=utf-8>{title}{style}<h1>Study {html.escape(name)}</h1>{''.join(parts)}".encode()
    )


def _interactive(name: str, figure: Any, *, with_library: bool) -> str:
    """A figure as a part of the page, high enough for its labels."""
    n_bars = len(figure.data[0].y) if name == "importances" else 0
    figure.update_layout(title=None, height=max(900 if name == "contour" else 450, BAR_PIXELS * n_bars))
    return str(figure.to_html(full_html=False, include_plotlyjs=with_library))


def _png(drawn: Any) -> bytes:
    """What matplotlib drew, an axes or an array of them, as a PNG."""
    from matplotlib import pyplot

    first, n_axes = (drawn.flat[0], drawn.size) if hasattr(drawn, "flat") else (drawn, 1)
    figure, buffer = first.figure, BytesIO()
    least = (14, 12) if n_axes > MOST_IMPORTANT else (9, min(12, max(5, BAR_INCHES * len(first.patches))))
    figure.set_size_inches(*map(max, figure.get_size_inches(), least))
    legend = first.get_legend()
    if legend is not None and len(legend.get_texts()) > MOST_NAMED:
        legend.remove()
    figure.savefig(buffer, format="png", dpi=100, bbox_inches="tight")
    pyplot.close(figure)
    return buffer.getvalue()
