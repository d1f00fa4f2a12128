"""Optuna's figures of a study, as a page and as pictures."""

import io
import re

import optuna
import pytest
from optuna.distributions import FloatDistribution
from PIL import Image

from pipeline.studies import figures
from pipeline.studies.figures import TITLES, study_figures

SINGLE = {
    "history", "importances", "parallel_coordinate", "slice", "contour", "edf", "intermediate_values", "timeline",
}  # fmt: skip


def study_of(n_objectives: int, n_trials: int = 8, n_params: int = 2) -> optuna.Study:
    study = optuna.create_study(study_name="a <b> study", directions=["minimize"] * n_objectives)
    for number in range(n_trials):
        params = {f"p{place}": (number * (place + 3)) % 7 / 7 for place in range(n_params)}
        values = [sum(params.values()) + number % 3, -params["p0"], params["p1"]][:n_objectives]
        distributions = dict.fromkeys(params, FloatDistribution(0, 1))
        trial = optuna.trial.create_trial(
            values=values, params=params, distributions=dict(distributions),
            intermediate_values={1: values[0]} if n_objectives == 1 else {},
        )  # fmt: skip
        study.add_trial(trial)
    return study


@pytest.fixture(scope="module")
def drawn() -> dict[int, tuple[bytes, dict[str, bytes]]]:
    """Page and pictures by number of objectives: drawing takes a second."""
    return {n: study_figures(study_of(n), ["val/loss", "n_params"][:n]) for n in (1, 2)}


@pytest.mark.parametrize(
    ("n_objectives", "names"),
    [(1, SINGLE), (2, SINGLE - {"intermediate_values"} | {"pareto_front"})],
)
def test_a_study_has_every_figure_of_its_kind_as_a_picture_and_in_the_page(
    drawn: dict[int, tuple[bytes, dict[str, bytes]]], n_objectives: int, names: set[str]
) -> None:
    page, pictures = drawn[n_objectives]
    assert {*pictures} == names
    for png in pictures.values():
        width, height = Image.open(io.BytesIO(png)).size
        assert min(width, height) > 200
    text = page.decode()
    assert {*re.findall("<h2>(.*?)</h2>", text)} == {TITLES[name] for name in names}
    assert text.count('class="plotly-graph-div"') == len(names)
    assert "a &lt;b&gt; study" in text


def test_the_page_needs_no_network(drawn: dict[int, tuple[bytes, dict[str, bytes]]]) -> None:
    text = drawn[1][0].decode()
    assert text.count("plotly.js v") == 1  # the library is in it, once
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=.https?:", text)


def test_of_too_few_trials_there_are_fewer_figures_and_no_error() -> None:
    study = optuna.create_study()
    study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    page, pictures = study_figures(study, ["val/loss"])
    assert "timeline" in pictures
    assert "importances" not in pictures
    assert TITLES["importances"] not in page.decode()


@pytest.mark.filterwarnings("ignore:The number of trials is too small")
@pytest.mark.parametrize(("n_objectives", "has_front"), [(3, True), (4, False)])
def test_a_front_is_drawn_of_three_objectives_at_most(*, n_objectives: int, has_front: bool) -> None:
    study = optuna.create_study(directions=["minimize"] * n_objectives)
    assert ("pareto_front" in figures._arguments(study, [*"abcd"[:n_objectives]])) == has_front


def test_many_parameters_stay_legible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "_arguments", lambda *_: {"importances": {}})
    few, many = (study_figures(study_of(1, n_params=n), ["val/loss"])[1]["importances"] for n in (2, 40))
    assert Image.open(io.BytesIO(many)).height > 1.5 * Image.open(io.BytesIO(few)).height
