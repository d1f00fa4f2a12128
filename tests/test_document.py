"""Parts of a page: what is written, and that nothing but markup is markup."""

import pytest

from pipeline.pages.document import (
    Html,
    Part,
    callout,
    card,
    cell,
    code,
    document,
    escaped,
    facts,
    filled,
    note,
    picture,
    table,
    tag,
)
from tests.past import SCRIPT, png


def test_text_in_an_element_is_escaped_and_markup_is_not() -> None:
    assert tag("p", "a < b", tag("b", "c & d")) == "<p>a &lt; b<b>c &amp; d</b></p>"


def test_attributes_are_escaped_and_left_out_where_they_are_none() -> None:
    assert (
        tag("td", 1, class_='"x"', aria_label="<", title=None) == '<td class="&quot;x&quot;" aria-label="&lt;">1</td>'
    )


def test_an_element_without_content_is_not_closed() -> None:
    assert tag("img", src="x") == '<img src="x">'


def test_markup_put_together_as_text_is_text_again() -> None:
    assert escaped(Html("<b>") + "x") == "&lt;b&gt;x"


@pytest.mark.parametrize(
    "part",
    [
        table([SCRIPT], [[SCRIPT]], label=SCRIPT),
        facts({SCRIPT: SCRIPT}),
        card(SCRIPT, SCRIPT, SCRIPT),
        code(SCRIPT, SCRIPT),
        callout(SCRIPT, SCRIPT),
        picture(png(), SCRIPT, SCRIPT),
        note(f"{SCRIPT}\n\n- {SCRIPT}\n\n| {SCRIPT} |\n|---|\n| `{SCRIPT}` |\n\n# {SCRIPT}\n\n**{SCRIPT}**"),
    ],
)
def test_no_part_lets_a_name_become_markup(part: Html) -> None:
    assert isinstance(part, Html)
    assert "<script" not in part
    assert "&lt;script&gt;" in part


def test_the_last_columns_of_a_table_are_numbers() -> None:
    made = table(["name", "value"], [["x", 1]], label="values", numbers=1)
    assert '<th scope="col">name</th><th class="number" scope="col">value</th>' in made
    assert '<td>x</td><td class="number">1</td>' in made
    assert made.startswith('<div class="scroll" role="region" aria-label="values" tabindex="0">')


def test_facts_that_say_nothing_are_left_out() -> None:
    assert facts({"User": "", "Seed": "0", "Commit": None}) == (
        '<dl class="facts"><div><dt>Seed</dt><dd>0</dd></div></dl>'
    )


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (3, "3"),
        (3.0, "3"),
        (0.123456, "0.1235"),
        (1234.5678, "1235"),
        (-0.00001234, "-1.234e-05"),
        (1e300, "1e+300"),
        (float("inf"), "inf"),
        ("text", "text"),
        ("x" * 200, "x" * 159 + "…"),
        (True, "True"),
    ],
)
def test_values_are_told_for_people(value: object, told: str) -> None:
    assert cell(value) == told


def test_a_description_is_read_as_markdown() -> None:
    made = note("mlp, **best**\nepoch `2`.\n\n- one\n- two\n\n| test | value |\n|---|---|\n| RMSE | 5 |")
    assert "<p>mlp, <strong>best</strong> epoch <code>2</code>.</p>" in made
    assert "<ul><li>one</li><li>two</li></ul>" in made
    assert '<td>RMSE</td><td class="number">5</td>' in made


def test_tables_of_a_description_can_be_left_out() -> None:
    assert note("words\n\n| a |\n|---|\n| b |", tables=False) == "<p>words</p>"


def test_sections_without_anything_in_them_are_left_out() -> None:
    assert filled({"Data": tag("p", "so"), "Runs": Html("")}) == [Part("Data", tag("p", "so"))]


def test_a_page_lists_its_parts_and_names_them() -> None:
    page = document("a & b", tag("h1", "a"), [Part("Run it again", tag("p", "so"))], "foot").decode()
    assert page.startswith("<!doctype html>\n<html")
    assert "<title>a &amp; b</title>" in page
    assert '<a href="#run-it-again">Run it again</a>' in page
    assert '<section aria-labelledby="run-it-again"><h2 id="run-it-again">Run it again</h2><p>so</p></section>' in page


def test_a_page_asks_nobody_and_runs_nothing() -> None:
    page = document("x", Html(""), [], "").decode()
    assert "default-src &#x27;none&#x27;; img-src data:; style-src &#x27;unsafe-inline&#x27;" in page
    assert not [word for word in ("http:", "https:", "<script", "@import", "url(") if word in page]
