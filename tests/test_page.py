"""The page of a served model, in a real browser."""

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.models import frame
from tests.test_serve import folder, serving
from tests.test_ui import CHROMIUM, FLAGS

if TYPE_CHECKING:
    from playwright.sync_api import Page


def csv_column(file: Path, place: int) -> Iterator[str]:
    """The cells of a column."""
    return (line[place] for line in [*csv.reader(file.read_text().splitlines())][1:])


@pytest.fixture
def page() -> "Iterator[tuple[Page, list[str]]]":
    """A page on a served model, and the addresses it asked that are not the server's."""
    if CHROMIUM is None or not shutil.which("chromium"):
        pytest.skip("Debian's chromium is not installed")
    from playwright.sync_api import sync_playwright

    with serving(folder()) as (address, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        opened, strange = browser.new_page(), list[str]()
        opened.on("request", lambda asked: strange.append(asked.url))
        opened.on("pageerror", lambda error: strange.append(str(error)))
        opened.goto(address)
        opened.wait_for_function("document.querySelectorAll('#effects .name').length > 0")
        yield opened, strange
        assert not [url for url in strange if not url.startswith((address, "blob:", "data:"))]
        browser.close()


@pytest.mark.slow
def test_the_form_predicts_explains_and_scores_a_table(page: "tuple[Page, list[str]]", tmp_path: Path) -> None:
    opened, _ = page
    assert opened.title() == "shop"
    assert opened.locator("#best").inner_text() in ("yes", "no")
    labels = opened.locator("#form label").all_inner_texts()
    assert labels == ["x", "gappy", "count", "colour", "city", "member", "joined"]
    assert opened.get_by_label("colour").locator("option").all_inner_texts() == ["blue", "green", "red"]

    before = opened.locator("#bars .value").all_inner_texts()
    opened.get_by_label("x", exact=True).focus()  # by keyboard alone
    opened.keyboard.press("Control+A")
    opened.keyboard.type("-3")
    opened.wait_for_function("before => document.querySelector('#bars .value').innerText !== before", arg=before[0])
    assert opened.get_by_label("x, slider").input_value() != ""

    opened.get_by_label("x", exact=True).fill("")
    opened.wait_for_function("document.getElementById('error').innerText.includes('x: expected a number')")
    opened.get_by_label("x", exact=True).fill("0.5")
    opened.wait_for_function("document.getElementById('error').innerText === ''")

    table = frame().head(30).rename(columns={"amount": 'id, "quoted"'})  # the target and others are left alone
    table.to_csv(tmp_path / "rows.csv", index=False)
    with opened.expect_download() as download:
        opened.get_by_label("Drop a CSV here, or choose one:").set_input_files(tmp_path / "rows.csv")
    lines = list(csv.reader(Path(download.value.path()).read_text().splitlines()))
    assert download.value.suggested_filename == "rows.predictions.csv"
    assert lines[0] == [*table.columns, "predicted", "probability of no", "probability of yes", "set"]
    assert [line[1] for line in lines[1:]] == list(csv_column(tmp_path / "rows.csv", 1))
