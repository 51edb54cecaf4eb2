"""What text must be that is printed, pasted or opened: nothing that a terminal, a Markdown page or a browser obeys."""

from __future__ import annotations

import re
import unicodedata
from html.parser import HTMLParser

from markdown_it import MarkdownIt

MARKDOWN = MarkdownIt("gfm-like", {"html": True, "linkify": False})
"""CommonMark with GitHub's tables and strikethrough, by a parser that is not ours."""

ALLOWED = {
    *("paragraph_open", "paragraph_close", "inline", "text", "strong_open", "strong_close", "code_inline", "softbreak"),
    *("heading_open", "heading_close", "bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close"),
    *("table_open", "table_close", "thead_open", "thead_close", "tbody_open", "tbody_close"),
    *("tr_open", "tr_close", "th_open", "th_close", "td_open", "td_close", "html_inline"),
}
"""What our own pages are made of."""


def assert_inert(text: str) -> None:
    """Nothing in it but what shows as itself, and line feeds."""
    for character in set(text) - {"\n", " "}:
        assert character.isprintable(), hex(ord(character))
        assert unicodedata.category(character)[0] not in "CZ", hex(ord(character))
        assert character not in "\u3164\u115f\u2800\ufe0f", hex(ord(character))


def assert_no_markup(text: str) -> None:
    """No link, image, HTML, quotation, or code but ours; every row of a table has as many cells as its header."""
    for token in MARKDOWN.parse(text):
        for part in [token, *(token.children or [])]:
            assert part.type in ALLOWED, (part.type, part.content)
            # A comment parts @ from a name, and # from a number.
            assert part.type != "html_inline" or part.content == "<!-- -->", part.content
    for block in text.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 1, rows


TAGS = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "footer", "section", "div", "span", "p", "b"),
    *("h1", "h2", "h3", "dl", "dt", "dd", "table", "thead", "tbody", "tr", "th", "td", "code", "details", "summary"),
    *("figure", "figcaption", "svg", "g", "path", "rect", "circle", "text", "button", "label", "input", "script"),
}
"""What our own pages are made of in HTML: nothing that loads, embeds, links or submits."""

VOID = {"meta", "input"}

ATTRIBUTES = {
    *("class", "id", "lang", "charset", "content", "http-equiv", "name", "hidden", "role", "scope", "type", "viewbox"),
    *("x", "y", "cx", "cy", "r", "rx", "d", "width", "height", "opacity", "transform", "text-anchor", "tabindex"),
    *("placeholder", "autocomplete", "spellcheck", "aria-label", "aria-live", "aria-pressed"),
    *("data-said", "data-band", "data-across", "data-label"),
}


class _Tree(HTMLParser):
    """Checks elements and attributes, and that every element is closed where it was opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.scripts: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS, tag
        named = dict(attrs)
        assert len(named) == len(attrs), attrs
        assert set(named) <= ATTRIBUTES, attrs
        if tag == "script":
            assert set(named) <= {"type", "id"}
            self.scripts.append(named.get("type") or "")
        self.ids += [named["id"] or ""] if "id" in named else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag


def assert_page(text: str) -> None:
    """A whole HTML page of ours: nothing in it that is loaded or run, but the one script that the page allows."""
    tree = _Tree()
    tree.feed(text)
    tree.close()
    assert tree.open == []
    assert tree.scripts.count("") == 1
    assert set(tree.scripts) <= {"", "application/json"}
    assert len(set(tree.ids)) == len(tree.ids)
    assert re.search(r"default-src 'none'; style-src 'sha256-[^']+'; script-src 'sha256-[^']+'; base-uri", text)


def without_assets(text: str) -> str:
    """A page without its style and script, which are files of their own, their digests, and the JSON in it."""
    text = re.sub("<style>.*?</style>", "<style></style>", text, flags=re.DOTALL)
    text = re.sub("<script>.*?</script>", "<script></script>", text, flags=re.DOTALL)
    text = re.sub('(<script type="application/json" id="json">).*?</script>', r"\1</script>", text, flags=re.DOTALL)
    return re.sub("'sha256-[^']*'", "'sha256-...'", text)
