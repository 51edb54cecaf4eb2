r"""The one gate for untrusted text: whatever comes out of a report passes here before a person or a terminal sees it.

A report is a file from another machine, so its labels, facts and reasons may hold terminal commands (ANSI), text that
runs backwards (bidirectional overrides), invisible characters, or markup. All of these are shown, not obeyed:
`\x1b`, `\u202e`. Every writer (terminal, markdown, html, json) calls exactly one function of this file on every text.
"""

from __future__ import annotations

import html as _html
import re

# Characters that Python counts as printable and that still show nothing: fillers, blanks, joiners and variation
# selectors (Unicode's Default_Ignorable_Code_Point beyond the category Cf, which `isprintable` covers).
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)

_MARKDOWN = re.compile(r"[\\`*_\[\]<>|~$&]|:(?=//)|(?<=www)\.|@(?=\w)|#(?=\d)")
"""Punctuation that Markdown or GitHub's extensions (tables, links, mentions, issue numbers, formulas) act upon."""

_BLOCK = re.compile(r"^(\d*)(?=\S)([-+#=]|(?<=\d)[.)])")
"""What Markdown takes for the beginning of a list, a heading or its underline, where a line begins with it."""


def visible(text: str) -> str:
    r"""`text` with every character that does not show as itself written as an escape: `\n`, `\x1b`, `\u202e`."""
    if text.isprintable() and (text.isascii() or not _INVISIBLE.search(text)):
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character.isprintable() and not _INVISIBLE.match(character):
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def cut(text: str, length: int) -> str:
    """At most `length` characters of `text`; where something is left out it ends in "..."."""
    return text if len(text) <= length else text[: max(0, length - 3)] + "..."


def markdown(text: str) -> str:
    """`text` made visible, and so that Markdown (with tables, mentions and links) shows it as it is."""
    return _MARKDOWN.sub(_markdown_escaped, visible(text))


def _markdown_escaped(match: re.Match[str]) -> str:
    # GitHub finds mentions and issue numbers after it has removed backslashes, so these two need a comment instead.
    character = match.group()
    return character + "<!-- -->" if character in "@#" else "\\" + character


def markdown_first(escaped: str) -> str:
    """What `markdown` gave, where a line begins with it: `-`, `#` or `1.` there would begin a list or a heading."""
    return _BLOCK.sub(r"\1\\\2", escaped.lstrip(" "))


def markdown_code(text: str, *, in_table: bool = False) -> str:
    """`text` made visible, as an inline code span. in_table: a pipe would end the cell, even within code."""
    shown = visible(text)
    if not shown.strip():
        return ""
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    edge = " " if "`" in (shown[0], shown[-1]) else ""
    span = f"{fence}{edge}{shown}{edge}{fence}"
    return span.replace("|", "\\|") if in_table else span


def html(text: str) -> str:
    """`text` made visible, and so that HTML and SVG show it as it is, between tags and within quoted attributes."""
    return _html.escape(visible(text))


def json(encoded: str) -> str:
    r"""JSON text with every unshowable character as `\uXXXX`: the same value, and nothing for a terminal to obey.

    Such characters stand only within strings there; newlines and spaces between tokens are kept.
    """
    if encoded.isascii() and "\x7f" not in encoded:
        return encoded
    return "".join(_json_escaped(character) for character in encoded)


def json_in_html(encoded: str) -> str:
    r"""What `json` gives, with nothing in it that could end a script element: `<`, `>` and `&` as `\uXXXX`."""
    return re.sub("[<>&]", lambda found: f"\\u{ord(found[0]):04x}", json(encoded))


def _json_escaped(character: str) -> str:
    if character == "\n" or (character.isprintable() and not _INVISIBLE.match(character)):
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
