"""The page of a run as a whole, and how it looks in a real browser."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.pages.archive import publish
from pipeline.pages.sheet import duration, sheet
from tests.models import trained
from tests.past import SCRIPT, past
from tests.test_ui import CHROMIUM, FLAGS

if TYPE_CHECKING:
    from playwright.sync_api import Page


def head(page: bytes) -> str:
    header = page.decode().partition("<header>")[2].partition("</header>")[0]
    return " ".join(re.sub("<[^>]*>", " ", header).split())


def test_the_head_has_data_task_status_and_time() -> None:
    assert head(sheet(past(registered="shop-binary version 2, champion"))) == (
        "shop finished classification in 2 classes · mlp-adam-1e-3-k3f9 "
        "26 November 2026, 03:58 UTC · took 2.5 s · shop-binary version 2, champion"
    )


def test_the_head_of_another_kind_has_its_name() -> None:
    run = past(name="mine", status="RUNNING", end=None, tags={"kind": "study", "data": "shop"})
    assert head(sheet(run)) == "Study mine running shop 26 November 2026, 03:58 UTC · not ended"


def test_the_head_of_a_trial_has_its_study_and_optunas_word_for_how_it_ended() -> None:
    run = past(name="trial 3", status="KILLED", tags={"kind": "trial", "study": "mine", "state": "PRUNED"})
    assert head(sheet(run)) == "Trial 3 pruned of study mine 26 November 2026, 03:58 UTC · took 2.5 s"


def test_nothing_from_a_run_becomes_markup() -> None:
    tags = {"task": SCRIPT, "data": SCRIPT, "error": SCRIPT, "mlflow.note.content": SCRIPT, "mlflow.user": SCRIPT}
    page = sheet(past(name=SCRIPT, tags=tags, params={SCRIPT: SCRIPT}, metrics={SCRIPT: 1.0}, registered=SCRIPT))
    assert b"<script" not in page
    assert page.count(b"&lt;script&gt;") >= 8


def test_sections_come_in_the_order_they_are_read() -> None:
    run = past(
        metrics={"lines": 1.0},
        history={"train/loss": [(1, 1.0)]},
        params={"seed": "0"},
        splits={"test": 3},
        children=[past(tags={"kind": "refit"})],
    )
    titles = re.findall(r'<h2 id="[^"]*">([^<]*)</h2>', sheet(run).decode())
    assert titles == ["Result", "Runs", "Curves", "Data", "Settings", "Run it again"]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.04, "0.0 s"), (2.5, "2.5 s"), (42.4, "42 s"), (60, "1 min"), (125, "2 min 5 s"), (4320, "1 h 12 min")],
)
def test_lengths_of_time_are_told_for_people(seconds: float, told: str) -> None:
    assert duration(seconds) == told


# ---------------------------------------------------------------- in a browser
@pytest.fixture(scope="module")
def file() -> Path:
    """The page of a run."""
    return publish(*map(str, trained()))


@pytest.fixture(scope="module")
def chromium() -> "Iterator[Page]":
    """A page of a browser without a network, with what it asked for in its `strange`."""
    if CHROMIUM is None or not shutil.which("chromium"):
        pytest.skip("Debian's chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser.new_page()
        browser.close()


@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_the_screen_and_asks_nobody(chromium: "Page", file: Path, width: int, scheme: str) -> None:
    asked: list[str] = []
    chromium.on("request", lambda request: asked.append(request.url))
    chromium.on("console", lambda message: asked.append(message.text))
    chromium.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    chromium.set_viewport_size({"width": width, "height": 800})
    chromium.goto(file.resolve().as_uri())
    assert chromium.evaluate("document.documentElement.scrollWidth") == width
    assert chromium.evaluate("[...document.images].every(image => image.alt && image.naturalWidth > 300)")
    assert chromium.evaluate("document.images.length") >= 4
    background = chromium.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(21, 24, 28)" if scheme == "dark" else "rgb(255, 255, 255)")
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []


@pytest.mark.slow
def test_the_contents_lead_to_the_sections_and_tables_scroll_by_themselves(chromium: "Page", file: Path) -> None:
    chromium.set_viewport_size({"width": 400, "height": 800})
    chromium.goto(file.resolve().as_uri())
    for link in chromium.locator("nav a").all():
        assert chromium.locator(str(link.get_attribute("href"))).inner_text() == link.inner_text()
    box = chromium.get_by_role("region", name="columns")
    assert box.evaluate("box => box.scrollWidth > box.clientWidth && box.clientWidth <= 400")
