"""What text must be that is printed, or pasted: nothing that a terminal or a Markdown page obeys."""

from __future__ import annotations

import re
import unicodedata

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
