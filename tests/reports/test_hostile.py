"""Every file of `fixtures/hostile.py`, given to the real command: refused in one line, or shown and not obeyed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from inert import assert_inert, assert_no_markup, assert_page

from audit.cli import main
from fixtures import hostile
from fixtures.hostile import Hostile
from reports import codec

ROOT = Path(__file__).parent.parent.parent

FORMATS = (["terminal"], ["terminal", "--all"], ["markdown"], ["markdown", "--all"], ["html"], ["json"])

MEMORY = 2 << 30
SECONDS = 20
"""What a process may take for a large hostile file; on an idle machine each takes about 2 seconds."""


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """A hostile file must not make a test wait for ever either."""
    signal.alarm(60)
    yield
    signal.alarm(0)


@contextlib.contextmanager
def without_rights() -> Iterator[None]:
    """As a user whom file modes bind (root may read everything)."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    yield
    if was == 0:
        os.seteuid(was)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that every user can enter; the current one is restored, where a file is given by a relative name."""
    monkeypatch.chdir(tmp_path)
    for part in (tmp_path, *tmp_path.parents[:2]):
        part.chmod(0o755)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    if "secret" in arguments[-1]:
        main([*arguments[:-1], os.devnull])  # what it imports, that user may not read
        capsys.readouterr()
    with without_rights() if "secret" in arguments[-1] else contextlib.nullcontext():
        status = main(arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def assert_refused(one: Hostile, words: str, found: tuple[int, str, str]) -> None:
    status, out, err = found
    assert (status, out) == (2, ""), err
    assert err.count("\n") == 1
    assert err.startswith("audit ")
    assert re.search(words, err), err
    assert len(err) < 1000
    assert_inert(err)


@pytest.mark.parametrize("one", hostile.FILES, ids=[one.name for one in hostile.FILES])
def test_show(one: Hostile, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = one.at(folder)
    for form, *more in FORMATS if not one.words else FORMATS[:1]:
        found = run(capsys, "show", "--format", form, *more, "--", path)
        if one.words:
            assert_refused(one, one.words, found)
        else:
            assert_harmless(found, form)


@pytest.mark.parametrize("one", hostile.FILES, ids=[one.name for one in hostile.FILES])
def test_diff(one: Hostile, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, good = one.at(folder), folder / "good.json"
    good.write_bytes(hostile.GOOD)
    for form, *more in FORMATS if not one.refused_by_diff else FORMATS[:1]:
        found = run(capsys, "diff", "--format", form, *more, "--", str(good), path)
        if one.refused_by_diff:
            assert_refused(one, one.refused_by_diff, found)
        else:
            assert_harmless(found, form, lines=0 if more or form != "terminal" else 25)


def assert_harmless(found: tuple[int, str, str], form: str, lines: int = 0) -> None:
    status, out, err = found
    assert status in (0, 1, 3), err
    assert err == ""
    assert_inert(out)
    assert not lines or len(out.splitlines()) <= lines
    if form == "markdown":
        assert_no_markup(out)
    if form == "html":
        assert_page(out)


def test_there_are_many_and_each_has_a_name() -> None:
    every = [*hostile.FILES, *hostile.LARGE]
    assert len(every) >= 60
    assert len({one.name for one in every}) == len(every)


LIMITED = """
import resource, sys, time
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
from audit.cli import main
began = time.perf_counter()
status = main(sys.argv[2:])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
print(f"{time.perf_counter() - began:.2f} s, {peak} MB", file=sys.stderr)
sys.exit(status)
"""


LARGE = [(one, command) for one in hostile.LARGE for command in ("show", "diff") if command == "show" or not one.words]


@pytest.mark.parametrize(("one", "command"), LARGE, ids=[f"{one.name}-{command}" for one, command in LARGE])
def test_large(one: Hostile, command: str, folder: Path) -> None:
    path, good = one.at(folder), folder / "good.json"
    good.write_bytes(hostile.GOOD)
    files = [path] if command == "show" else [str(good), path]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(MEMORY), command, *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    *said, cost = done.stderr.splitlines()
    print(f"{one.name:16} {command}  {cost}")
    if one.words:
        assert done.returncode == 2, done.stderr
        assert len(said) == 1
        assert_refused(one, one.words, (done.returncode, done.stdout, said[0] + "\n"))
    else:
        assert_harmless((done.returncode, done.stdout, "".join(said)), "terminal")


def test_standard_input_is_no_file(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "audit", "show", "/dev/stdin"],
        cwd=ROOT,
        input=hostile.GOOD,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    assert b"not a plain file; save the report to a file first" in done.stderr


def test_a_file_that_grows_is_read_as_far_as_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "r.json"
    path.write_bytes(hostile.GOOD)
    size = os.fstat

    def growing(handle: int) -> os.stat_result:
        found = size(handle)
        with path.open("ab") as file:
            file.write(b"x" * 100)
        return found

    monkeypatch.setattr(os, "fstat", growing)
    assert codec.read(str(path))[0].label == "small"


def test_a_file_that_vanishes_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "r.json"
    path.write_bytes(hostile.GOOD)
    found = os.stat

    def vanishing(name: str) -> os.stat_result:
        before = found(name)
        os.unlink(name)
        return before

    monkeypatch.setattr(os, "stat", vanishing)
    with pytest.raises(codec.CodecError, match="No such file"):
        codec.read(str(path))
