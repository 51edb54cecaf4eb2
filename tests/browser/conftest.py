"""A headless Chromium, the pages that are opened in it, and axe-core.

Chromium is Debian's. axe-core comes from npm once and is kept; another file than the one named here is refused.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opened import DESK, Open, Opened
from playwright.sync_api import Browser, sync_playwright

AXE = ("4.14.1", "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==")
"""The version of axe-core, and the SHA-512 of its package."""

OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="session")
def browser(lacking: Callable[[str], None]) -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        lacking("no chromium here; on Debian: apt-get install --no-install-recommends chromium")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=list(OPTIONS))
        yield found
        found.close()


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """A function that opens the text of a page as a file, in a fresh profile."""
    contexts = []

    def open_page(text: str, size: tuple[int, int] = DESK, scheme: str = "light", **options: Any) -> Opened:
        viewport = {"width": size[0], "height": size[1]}
        context = browser.new_context(viewport=viewport, color_scheme=scheme, **options)  # type: ignore[arg-type]
        context.set_default_timeout(10_000)
        contexts.append(context)
        found = Opened(context.new_page(), tmp_path)
        found.page.on("request", found.asked)
        found.page.on("console", lambda message: found.complaints.append(message.text))
        found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
        found.page.on("dialog", lambda dialog: found.complaints.append(f"dialog: {dialog.message}"))
        found.turn(text)
        return found

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory, lacking: Callable[[str], None]) -> str:
    """The source of axe-core."""
    version, wanted = AXE
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "audit-tests"
    package = cache / f"axe-core-{version}.tgz"
    if not package.exists():
        if shutil.which("npm") is None:
            lacking("no npm here, which brings axe-core")
        folder = tmp_path_factory.mktemp("npm")
        command = ["npm", "pack", "--silent", "--pack-destination", str(folder), f"axe-core@{version}"]
        subprocess.run(command, check=True, capture_output=True, cwd=folder, timeout=120)
        cache.mkdir(parents=True, exist_ok=True)
        made = folder / "new"
        shutil.copy(folder / package.name, made)
        shutil.move(made, package)
    found = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
    assert found == wanted, f"{package} is not the axe-core that is named here"
    with tarfile.open(package) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member
        return member.read().decode("utf-8")


@pytest.fixture
def serious(axe: str) -> Callable[[Opened], list[str]]:
    """A function that gives what axe-core finds in an open page that bars somebody from reading it."""

    def find(opened: Opened) -> list[str]:
        opened.run(axe)
        found = json.loads(opened.run("axe.run().then(found => JSON.stringify(found.violations))"))
        return [
            f"{one['id']}: {one['help']}: {[node['html'][:120] for node in one['nodes'][:3]]}"
            for one in found
            if one["impact"] in ("serious", "critical")
        ]

    return find
