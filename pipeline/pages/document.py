"""One HTML file of plain parts: text, tables, pictures, code. It needs no script, no host and no other file.

Whatever is not `Html` is escaped where it enters an element, so that a name from a table cannot become markup.
"""

import html
import math
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

STYLE = Path(__file__).with_name("document.css")
# nothing is fetched and nothing runs, whatever gets into the page
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
LONGEST = 160  # characters of a value
VOID = {"img", "meta", "link", "br"}


class Html(str):
    """Markup; other text is escaped before it becomes a part of one."""

    __slots__ = ()


class Part(NamedTuple):
    """A section of a page."""

    title: str
    content: Html

    @property
    def anchor(self) -> str:
        """What a link to it names."""
        return re.sub(r"\W+", "-", self.title.lower())


def escaped(content: object) -> Html:
    """`content` as markup."""
    return content if isinstance(content, Html) else Html(html.escape(str(content)))


def tag(name: str, /, *content: object, **attributes: object) -> Html:
    """An element; the attribute `class_` is written class, `aria_label` aria-label, and one that is None left out."""
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    opening = "".join(f' {key}="{html.escape(str(value))}"' for key, value in given.items())
    return Html(f"<{name}{opening}>" + ("" if name in VOID else f"{joined(content)}</{name}>"))


def joined(content: Iterable[object]) -> Html:
    """Parts one after the other."""
    return Html("".join(map(escaped, content)))


# ---------------------------------------------------------------- parts
def table(headings: Sequence[object], rows: Iterable[Sequence[object]], *, label: str, numbers: int = 0) -> Html:
    """A table that scrolls within itself; its last `numbers` columns are aligned to the right."""
    first = len(headings) - numbers

    def line(kind: str, cells: Sequence[object], **scope: str) -> Html:
        styled = [tag(kind, cell, class_="number" if at >= first else None, **scope) for at, cell in enumerate(cells)]
        return tag("tr", *styled)

    head = tag("thead", line("th", headings, scope="col"))
    return _scrolling(tag("table", head, tag("tbody", *(line("td", row) for row in rows))), label)


def _scrolling(content: Html, label: str) -> Html:
    """A box that can be scrolled by keyboard too, so it needs a name."""
    return tag("div", content, class_="scroll", role="region", aria_label=label, tabindex=0)


def cell(value: object) -> str:
    """A value for people: missing is –, four digits of what is no whole number, the beginning of a long text."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if not isinstance(value, float):
        return text if len(text := str(value)) <= LONGEST else f"{text[: LONGEST - 1]}…"
    if value.is_integer() or abs(value) >= 1000:
        return f"{value:.0f}" if abs(value) < 1e15 else f"{value:.4g}"
    return f"{value:.4g}"


def facts(pairs: Mapping[str, object]) -> Html:
    """Names with a value each; those with nothing to say are left out."""
    kept = {name: value for name, value in pairs.items() if value not in ("", None)}
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in kept.items()), class_="facts")


def card(name: str, value: str, *details: str) -> Html:
    """A figure that matters, large."""
    told = [tag("small", detail) for detail in details if detail]
    return tag("div", tag("span", name), tag("strong", value), *told, class_="card")


def picture(png: bytes, title: str, alt: str) -> Html:
    """A PNG within the page."""
    image = tag("img", src=f"data:image/png;base64,{b64encode(png).decode()}", alt=alt)
    return tag("figure", image, tag("figcaption", title))


def code(text: object, label: str) -> Html:
    """Lines to be read or copied as they are."""
    return _scrolling(tag("pre", tag("code", text)), label)


def callout(text: object, kind: str = "warning") -> Html:
    """A line that must not be overlooked."""
    return tag("p", text, class_=f"callout {kind}", role="note")


def note(markdown: str, *, tables: bool = True) -> Html:
    """Of Markdown what descriptions are written in: paragraphs, lists, tables, **bold**, `code`."""
    blocks = [block.splitlines() for block in re.split(r"\n\s*\n", markdown.strip()) if block.strip()]
    return joined(_block(lines) for lines in blocks if tables or not _is_table(lines))


def _is_table(lines: Sequence[str]) -> bool:
    return len(lines) >= 2 and all(line.lstrip().startswith("|") for line in lines)


def _block(lines: Sequence[str]) -> Html:
    if _is_table(lines):
        head, _, *rows = ([_inline(cell.strip()) for cell in line.strip().strip("|").split("|")] for line in lines)
        return table(head, rows, label="table of the description", numbers=len(head) - 1)
    if all(re.match(r"\s*[-*] ", line) for line in lines):
        return tag("ul", *(tag("li", _inline(line.strip()[2:])) for line in lines))
    if heading := re.fullmatch(r"#+ (.*)", lines[0]):
        return joined([tag("h3", _inline(heading[1])), *([_block(lines[1:])] if lines[1:] else [])])
    return tag("p", _inline(" ".join(lines)))


def _inline(text: str) -> Html:
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped(text))
    return Html(re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", marked))


# ---------------------------------------------------------------- the whole
def filled(sections: Mapping[str, Html]) -> list[Part]:
    """The sections, by title, that have something in them."""
    return [Part(title, content) for title, content in sections.items() if content]


def document(title: str, head: Html, parts: Sequence[Part], foot: str) -> bytes:
    """The file: a header, a short list of contents, the parts."""
    links = [tag("a", part.title, href=f"#{part.anchor}") for part in parts]
    sections = [
        tag("section", tag("h2", part.title, id=part.anchor), part.content, aria_labelledby=part.anchor)
        for part in parts
    ]
    meta = [
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("title", title),
        tag("link", rel="icon", href="data:,"),
        tag("style", Html(STYLE.read_text())),
    ]
    navigation = tag("nav", *links, aria_label="Contents")
    body = tag("body", tag("header", head), navigation, tag("main", *sections), tag("footer", foot))
    return f"<!doctype html>\n{tag('html', tag('head', *meta), body, lang='en')}\n".encode()
