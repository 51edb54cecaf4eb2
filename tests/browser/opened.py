"""A page that is open in the browser, and everything that it complains of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, Request

DESK, PHONE = (1440, 900), (390, 844)


@dataclass
class Opened:
    """A page in the browser. complaints: what it wrote to the console, what failed, and what it asked for."""

    page: Page
    folder: Path
    complaints: list[str] = field(default_factory=list)

    def run(self, script: str) -> Any:
        return self.page.evaluate(script)

    def turn(self, text: str) -> None:
        """Open another page in its place."""
        file = self.folder / "page.html"
        file.write_text(text, "utf-8")
        self.page.goto(file.as_uri())

    def asked(self, request: Request) -> None:
        if request.url != (self.folder / "page.html").as_uri():
            self.complaints.append(f"asks for {request.url}")


Open = Callable[..., Opened]
