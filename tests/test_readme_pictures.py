"""The README's pictures are those that the recorded machines give today."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs import pictures

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return dict(pictures.pictures())


def test_the_pictures_are_as_committed(made: dict[str, str]) -> None:
    for name, drawn in made.items():
        assert drawn == (ROOT / "docs" / name).read_text("utf-8"), f"docs/{name} is stale; run: python docs/pictures.py"


def test_the_readme_shows_them_with_a_text_for_who_cannot_see_them(made: dict[str, str]) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    for name in made:
        (line,) = [line for line in readme.splitlines() if f"(docs/{name})" in line]
        assert line.startswith("![")
        assert len(line.partition("](")[0]) > 30
