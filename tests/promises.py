"""README's table of loads, faults and bad inputs, from the tables that the tests run: `python -m tests.promises`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
BEGIN, END = "<!-- promises: made by python -m tests.promises -->", "<!-- end of promises -->"

LOADS = (
    ("1,000 full reports (1.9 GB)", "grouped in 3 s and 130 MB on two CPUs"),
    ("10,000 full reports (19 GB)", "grouped in 35 s and 200 MB on two CPUs"),
    ("more reports", "time grows with their number, memory hardly (the plot above)"),
    ("one report of 95,000 facts", "shown in a second"),
    ("gigabytes printed by an interpreter", "read in constant memory, given up after 1 GiB without a record"),
)


def table() -> str:
    """The section's body in Markdown."""
    from fixtures import hostile
    from tests.audit.test_faults import FAULTS

    files = (*hostile.FILES, *hostile.LARGE)
    refused = [one.what for one in files if one.words]
    accepted = [one.what for one in files if not one.words]
    lines = [
        BEGIN,
        "",
        "| load | what happens |",
        "| --- | --- |",
        *(f"| {load} | {what} |" for load, what in LOADS),
        "",
        f"<details><summary>{len(FAULTS)} faults of machines and interpreters, each a test</summary>",
        "",
        "| fault, and what happens | exit |",
        "| --- | --- |",
        *(f"| {_cell(fault.what_happens)} | {fault.status} |" for fault in FAULTS),
        "",
        "</details>",
        "",
        f"<details><summary>{len(files)} bad files, each a test</summary>",
        "",
        "| files | what happens | exit |",
        "| --- | --- | --- |",
        f"| {_cell('; '.join(refused))} | refused in one line: the file, the place in it, what to do | 2 |",
        f"| {_cell('; '.join(accepted))} | odd, and read as it is; what it holds is shown and never obeyed | 0, 1, 3 |",
        "",
        "</details>",
        "",
        END,
    ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    text = README.read_text("utf-8")
    start, stop = text.index(BEGIN), text.index(END) + len(END)
    README.write_text(text[:start] + table() + text[stop:], "utf-8")
