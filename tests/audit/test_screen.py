"""The real `audit screen` on real cores, one of which is made wrong by a test double (tests/wrong_core.c)."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.wrong_core import CORES, FIRST, WRONG, WrongCore, missing

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory, lacking: Callable[[str], None]) -> Callable[..., str]:
    """A prefix for --via under which one core is wrong in one function of the C library: A TEST DOUBLE."""
    if missing():
        lacking(missing())
    double = WrongCore(tmp_path_factory.mktemp("double"))
    return lambda function, **variables: f"env {double(function, **variables)}"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "audit", "screen", "--python", sys.executable, *arguments]


def screen(*arguments: str, status: int, **more: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, check=False, cwd=ROOT, timeout=120, **more
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def found(*arguments: str, status: int, job: str = "operators") -> dict[str, Any]:
    done = screen("--format", "json", "--quiet", "-o", "/dev/stderr", "--job", job, *arguments, status=status)
    answer: dict[str, Any] = json.loads(done.stderr)
    assert answer["exit"] == status
    return answer


def test_the_cores_of_this_machine_agree() -> None:
    """Every core, twice, with the job; and it never says more than that."""
    done = screen("--rounds", "2", status=0)
    first, *_, last = done.stdout.splitlines()
    assert first.startswith(f"AGREES. {len(CORES)} cores gave the same bits in 2 rounds of ")
    assert first.endswith(" operators and the numpy job.")
    assert "Not covered GPUs (--device cuda); " in done.stdout
    assert last.startswith("Next, for longer and with other inputs:  audit screen --limit 600")
    assert last.endswith(" --seed 2")
    assert "health" not in done.stdout


@pytest.mark.parametrize("bit", [0, 3, 51])
def test_a_planted_wrong_core_is_found_and_only_it(wrong: Callable[..., str], bit: int) -> None:
    answer = found("--via", wrong("exp", FAULT="flip", BIT=bit), "--rounds", "1", status=1)
    (finding,) = answer["findings"]
    assert (answer["verdict"], finding["kind"], finding["cores"]) == ("wrong", "wrong", [WRONG])
    assert finding["components"] == ["libm"]
    assert (finding["unlike"], finding["runs"], finding["again"], finding["retests"]) == (3, 3, 2, 2)
    assert finding["evidence"] == "known answers" if bit or len(CORES) == 2 else "majority"
    operators = {one["operator"]: one for one in finding["operators"]}
    mask = f"0x{1 << bit:016x}"
    assert (operators["libm.exp"]["mask"], operators["libm.exp"]["differing"]) == (mask, 4099)
    assert operators["known.exp"]["mask"] == mask
    assert not [name for name in operators if name.startswith(("libm.sin", "known.sin", "fpu.", "ordering."))]


def test_one_wrong_result_in_thousands_is_seen(wrong: Callable[..., str]) -> None:
    """In one element, in few rounds, as failing cores mostly are."""
    prefix = wrong("exp", FAULT="flip", BIT=40, EVERY=15000)
    answer = found("--via", prefix, "--rounds", "4", status=1)
    (finding,) = answer["findings"]
    assert (finding["kind"], finding["cores"]) == ("intermittent", [WRONG])
    assert finding["unlike"] < finding["runs"]
    for one in finding["operators"]:
        assert one["differing"] == 1
        assert one["mask"]


def test_a_job_that_parts_names_its_first_row(wrong: Callable[..., str]) -> None:
    answer = found("--via", wrong("exp", FAULT="flip"), "--rounds", "1", job="python", status=1)
    (job,) = [one for one in answer["findings"][0]["operators"] if one["operator"] == "job python"]
    assert job["where"].startswith("step 0, forward, exp f64")
    assert answer["job"] == "python"


def test_every_format_names_it(wrong: Callable[..., str]) -> None:
    given = ["--via", wrong("exp", FAULT="flip", BIT=3), "--rounds", "1", "--job", "operators"]
    line = screen(*given, "--format", "line", status=1).stdout
    assert line == f"audit screen WRONG core {WRONG}: known.exp xor 0x8 (+15), again in 2 of 2 re-tests\n"
    page = screen(*given, status=1).stdout.splitlines()
    assert page[0].startswith(f"CORE {WRONG} IS WRONG. In exp, log, sin ... (libm): known.exp differs in bits 0x8 ")
    assert len(page) <= 25
    assert max(map(len, page[:-1])) <= 100
    assert screen(*given, "--format", "markdown", status=1).stdout.startswith(f"**CORE {WRONG} IS WRONG.** ")


def test_two_cores_that_disagree_where_nothing_tells(wrong: Callable[..., str]) -> None:
    cores = ["--cores", f"{FIRST},{WRONG}"]
    answer = found("--via", wrong("tanh", FAULT="flip"), "--rounds", "1", *cores, status=1)
    (finding,) = answer["findings"]
    assert (answer["verdict"], finding["kind"], finding["cores"]) == ("disagree", "disagree", [FIRST, WRONG])
    assert finding["groups"] == [[FIRST], [WRONG]]
    assert [(one["operator"], one["mask"]) for one in finding["operators"]] == [("libm.tanh", f"0x{1:016x}")]


def test_an_earlier_report_tells_which_is_wrong(wrong: Callable[..., str], tmp_path: Path) -> None:
    report = str(tmp_path / "before.json")
    before = [sys.executable, "-m", "audit", "run", "--quiet", "--python", sys.executable, "--job", "operators"]
    subprocess.run([*before, "--repeat", "1", "-o", report], check=True, cwd=ROOT)
    prefix = wrong("tanh", FAULT="flip")
    cores = ["--cores", f"{FIRST},{WRONG}"]
    answer = found("--via", prefix, "--rounds", "1", *cores, "--against", report, status=1)
    (finding,) = answer["findings"]
    assert (finding["kind"], finding["cores"], finding["evidence"]) == ("wrong", [WRONG], "the report")


def test_a_core_that_is_wrong_once(wrong: Callable[..., str], tmp_path: Path) -> None:
    once = tmp_path / "once"
    once.touch()
    answer = found("--via", wrong("tanh", FAULT="flip", ONCE=once), "--rounds", "1", status=1)
    (finding,) = answer["findings"]
    assert (finding["kind"], finding["cores"], finding["again"], finding["retests"]) == ("intermittent", [WRONG], 0, 2)
    assert finding["evidence"] == ("it changed" if len(CORES) == 2 else "majority")
    assert finding["operators"][0]["mask"] == f"0x{1:016x}"


def test_a_core_whose_process_is_killed(wrong: Callable[..., str]) -> None:
    answer = found("--via", wrong("exp", FAULT="kill"), "--rounds", "1", status=1)
    (finding,) = answer["findings"]
    assert (finding["kind"], finding["cores"], finding["reason"]) == ("died", [WRONG], "SIGKILL")
    assert (finding["again"], finding["retests"]) == (2, 2)


def test_a_core_that_hangs_ends_with_the_limit(wrong: Callable[..., str]) -> None:
    began = time.monotonic()
    answer = found("--via", wrong("exp", FAULT="hang"), "--limit", "15", status=3)
    assert time.monotonic() - began < 15
    assert (answer["verdict"], answer["rounds"]) == ("incomplete", 0)
    assert [one["core"] for one in answer["silent"]] == [WRONG]


@pytest.mark.parametrize("hostile", ["sleep 1000", "trap '' TERM; sleep 1000", "trap '' TERM; while :; do :; done"])
def test_an_interpreter_that_never_answers_ends_with_the_limit(hostile: str, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{hostile}\n")
    python.chmod(0o755)
    began = time.monotonic()
    answer = found("--python", str(python), "--limit", "5", status=3)
    assert time.monotonic() - began < 5
    assert (answer["verdict"], answer["reason"], answer["cores"]) == ("incomplete", "the time limit was reached", [])


def test_too_short_a_limit_is_incomplete() -> None:
    first = screen("--limit", "1", status=3).stdout.splitlines()[0]
    assert first == "INCOMPLETE. The limit of 1.0 s was reached before one whole round on all cores."


def test_one_core_has_none_to_compare_it_with() -> None:
    answer = found("--cores", str(FIRST), "--rounds", "1", status=3)
    assert (answer["verdict"], answer["findings"]) == ("incomplete", [])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--cores", f"{FIRST},4000"], "core 4000 may not be used here; allowed: "),
        (["--job", "jax", "--limit", "20"], "the process of every core died during its imports: "),
        (["--python", "/nowhere/python"], "no such command"),
        (["--via", " "], "--via is empty"),
        (["--against", "/nowhere/x.json"], "/nowhere/x.json: "),
        (["-o", "/nowhere/x"], "cannot write /nowhere/x"),
    ],
)
def test_what_cannot_be_done_is_one_line(arguments: list[str], words: str, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path)], check=True)  # it has no jax
    done = screen("--python", str(tmp_path / "bin/python"), "--quiet", *arguments, status=2)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("audit screen: ")
    assert words in line


def test_a_python_without_numpy_is_screened_too(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path)], check=True)
    answer = found("--python", str(tmp_path / "bin/python"), "--rounds", "1", job="auto", status=0)
    assert answer["job"] == "python"
    assert answer["operators"] > 100
    assert any(one.startswith("numpy: ") for one in answer["not_covered"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_no_process(number: signal.Signals) -> None:
    marker = secrets.token_hex(8)
    started = subprocess.Popen(
        command("--limit", "60"), cwd=ROOT, env={**os.environ, "MARKER": marker},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert started.stderr
    for line in started.stderr:
        if line.startswith("round 2"):
            break
    pinned = [status(pid) for pid in running(marker)]
    for core in CORES:  # all at once, each on its core, with a BLAS that made no more threads
        assert {"Cpus_allowed_list": str(core), "Threads": "1"} in pinned
    started.send_signal(number)
    out, errors = started.communicate(timeout=20)
    assert (started.returncode, out) == (2, "")
    assert errors.splitlines()[-1] == "audit screen: interrupted; nothing was written"
    assert running(marker) == []


def test_workers_end_with_the_process_that_asks_them() -> None:
    """It is killed, as by the kernel when memory is short: nobody tells its workers."""
    marker = secrets.token_hex(8)
    started = subprocess.Popen(
        command("--limit", "30", "--quiet"), cwd=ROOT, env={**os.environ, "MARKER": marker},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 20
    while len(running(marker)) < 2 + len(CORES) and time.monotonic() < deadline:
        time.sleep(0.02)
    (asking,) = [pid for pid in running(marker) if parent(pid) == started.pid]
    os.kill(asking, signal.SIGKILL)
    _, errors = started.communicate(timeout=20)
    assert started.returncode == 2, errors
    assert "cannot screen: SIGKILL" in errors
    assert running(marker) == []


def running(marker: str) -> list[int]:
    def marked(path: Path) -> bool:
        try:
            return marker.encode() in path.read_bytes()
        except OSError:
            return False

    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if marked(path)]


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    told = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return {name: told[name] for name in ("Cpus_allowed_list", "Threads")}


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
