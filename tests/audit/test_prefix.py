"""Targets as prefixes: what comes back from good interpreters, and one clear line about bad ones."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.errors import TargetError
from audit.targets.prefix import PrefixTarget, find_python

Script = Callable[[str], str]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Writes a shell script that can be named as an interpreter."""

    def write(body: str) -> str:
        path = tmp_path / "python"
        path.write_text("#!/bin/sh\n" + body)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return write


def records(target: PrefixTarget) -> dict[str, object]:
    merged: dict[str, object] = {}
    for record in target.launch({"work": "facts", "machine": True}):
        merged.update(record)
    return merged


def test_a_wrapper_script_is_an_interpreter(script: Script) -> None:
    wrapper = script(f'echo banner; echo noise >&2; exec "{sys.executable}" "$@"\n')
    got = records(PrefixTarget([], wrapper))
    assert got["start"] == {"python": ".".join(map(str, sys.version_info[:3]))}
    assert "end" in got


def test_a_banner_without_a_newline_cannot_swallow_a_record(script: Script) -> None:
    wrapper = script(f'printf "audit-0000 not a record"; exec "{sys.executable}" "$@"\n')
    assert "end" in records(PrefixTarget([], wrapper))


def test_a_prefix_stands_in_front() -> None:
    got = records(PrefixTarget(["env", "TZ=Asia/Tokyo"], sys.executable))
    machine = got["machine"]
    assert isinstance(machine, dict)
    assert machine["variables.TZ"]["value"] == "Tokyo" or "Tokyo" in str(machine["variables.TZ"])


@pytest.mark.parametrize(
    ("prefix", "command"),
    [
        ("", "env -u TZ OMP_NUM_THREADS=1 python3"),
        ("ssh gpu02", "ssh gpu02 env -u TZ OMP_NUM_THREADS=1 python3"),
        ("/opt/qemu-x86_64 -cpu max", "env -u TZ OMP_NUM_THREADS=1 /opt/qemu-x86_64 -cpu max python3"),
        ("ssh gpu02 qemu-aarch64", "ssh gpu02 env -u TZ OMP_NUM_THREADS=1 qemu-aarch64 python3"),
    ],
)  # fmt: skip
def test_variables_are_put_in_where_they_reach_the_interpreter(prefix: str, command: str) -> None:
    target = PrefixTarget(prefix.split(), "python3")
    assert target.command() == [*prefix.split(), "python3"]
    assert target.under({"OMP_NUM_THREADS": "1", "TZ": ""}, {}).command() == command.split()


def test_variables_are_put_in_and_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    target = PrefixTarget(["env"], sys.executable).under({"OMP_NUM_THREADS": "1", "LC_ALL": "", "TZ": "UTC"}, {})
    machine = records(target)["machine"]
    assert isinstance(machine, dict)
    told = {name: machine[f"variables.{name}"].get("value") for name in ("OMP_NUM_THREADS", "LC_ALL", "TZ")}
    assert told == {"OMP_NUM_THREADS": "1", "LC_ALL": None, "TZ": "UTC"}


def test_the_working_directory_cannot_shadow_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numpy.py").write_text("raise RuntimeError('shadow')")
    (tmp_path / "json.py").write_text("raise RuntimeError('shadow')")
    monkeypatch.chdir(tmp_path)
    assert "end" in records(PrefixTarget([], sys.executable))
    assert sorted(os.listdir(tmp_path)) == ["json.py", "numpy.py"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("exit 7\n", "exit status 7"),
        ("cat >/dev/null; echo I am not Python >&2\n", "it said: I am not Python"),
        ("kill -SEGV $$\n", "SIGSEGV"),
    ],
)
def test_what_is_no_python_is_said_in_one_line(script: Script, body: str, words: str) -> None:
    with pytest.raises(TargetError, match=words) as caught:
        records(PrefixTarget([], script(body)))
    assert "\n" not in str(caught.value)


def test_a_program_that_does_not_exist() -> None:
    with pytest.raises(TargetError, match="cannot start"):
        records(PrefixTarget(["/does/not/exist"], "python3"))
    with pytest.raises(TargetError, match="no such command"):
        find_python("/does/not/exist")


def test_a_child_that_hangs_is_ended(script: Script) -> None:
    before = time.monotonic()
    with pytest.raises(TargetError, match="no progress for 1 s"):
        records(PrefixTarget([], script("sleep 1000\n"), seconds=1))
    assert time.monotonic() - before < 10


def test_gigabytes_of_noise_are_given_up(script: Script) -> None:
    """Their memory is measured in `test_faults.py`."""
    with pytest.raises(TargetError, match="it printed 1 GiB and no record"):
        records(PrefixTarget([], script("cat /dev/zero\n")))


def test_noise_is_read_as_fast_as_it_comes(script: Script) -> None:
    """300 MB in lines took a minute when each reading was followed by a pause."""
    before = time.monotonic()
    wrapper = script(f'yes a line of noise | head -c 300000000 >&2; exec "{sys.executable}" "$@"\n')
    assert "end" in records(PrefixTarget([], wrapper))
    assert time.monotonic() - before < 15


def test_a_record_in_many_pieces_among_noise(script: Script) -> None:
    """What stands before, between and after records, and what only looks like one, is passed over."""
    body = "import re, sys; token = re.search(rb'audit-[0-9a-f]{16}', sys.stdin.buffer.read()).group().decode()\n"
    body += "import os, time\nfor piece in ('noise', '\\n' + token[:9], token[9:] + ' {\"a\":', '1}', '\\nnoise\\n', "
    body += "token + ' [1]\\n', token + ' {\\n', '\\n' + token + ' {\"end\": 0}\\n'):\n"
    body += "    os.write(1, piece.encode()); time.sleep(0.02)\n"
    (Path(wrapper := script("")).parent / "body.py").write_text(body)
    Path(wrapper).write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(wrapper).parent}/body.py"\n')
    assert list(PrefixTarget([], wrapper).launch({"work": "facts"})) == [{"a": 1}, {"end": 0}]


@pytest.mark.parametrize("version", ["3.6", "3.7"])
def test_an_old_python_says_that_it_is_too_old(version: str, interpreter: Callable[[str], str]) -> None:
    with pytest.raises(TargetError, match=f"is Python {version}.*; the probes need 3.8 or newer"):
        records(PrefixTarget([], interpreter(version)))


def test_python_2_is_no_python_3(interpreter: Callable[[str], str]) -> None:
    with pytest.raises(TargetError, match=r"python is no Python 3; the probes need 3\.8 or newer"):
        records(PrefixTarget([], interpreter("2.7")))


def test_a_shell_on_the_way_takes_nothing_apart() -> None:
    """As ssh does: the arguments are joined by spaces and read again by a shell, here twice."""
    remote = ["sh", "-c", 'exec sh -c "$*"', "ssh"]
    got = records(PrefixTarget([*remote, *remote[:2], "'exec sh -c \"$*\"'", "ssh"], sys.executable))
    assert "end" in got


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10", "3.12", "3.13"])
def test_every_supported_python_runs_the_probes(version: str, interpreter: Callable[[str], str]) -> None:
    got = []
    for record in PrefixTarget([], interpreter(version)).launch({"work": "operators", "machine": True}):
        got.append(record)
    operators = [record["operator"] for record in got if "operator" in record]
    assert len(operators) > 50
    assert not [one for one in operators if one.get("status") == "failed"]


def test_nothing_is_left_running_or_on_disk(tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    wrapper = script(f'sleep 987 & "{sys.executable}" "$@"\n')
    records(PrefixTarget([], wrapper))
    assert os.listdir(tmp_path / "tmp") == []
    assert subprocess.run(["pgrep", "-f", "sleep 987"], capture_output=True, check=False).returncode == 1
